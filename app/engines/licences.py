"""Which licences allow commercial use, as far as their names tell."""

from __future__ import annotations

from app.engines import EngineInfo, Licence

COMMERCIAL = frozenset(
    {
        *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "MIT-0"),
        *("MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "HPND", "MIT-CMU", "LGPL-3.0"),
        *("LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later"),
        *("CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CDLA-Permissive-2.0", "OFL-1.1"),
    }
)
"""SPDX names. Whatever is not here is not known to allow it: its author's own terms, a licence of
research, anything with NC in it. Licences with conditions on the use of a model (OpenRAIL and the
like) have to be read: who has, says `commercial=True`."""


def of(info: EngineInfo) -> tuple[Licence, ...]:
    """All of an engine's, those of its weight files included."""
    weights = (Licence(one.file, one.licence, one.commercial) for one in info.weights)
    return (*info.licences, *weights)


def is_commercial(one: Licence) -> bool:
    return one.licence in COMMERCIAL if one.commercial is None else one.commercial


def objection(info: EngineInfo) -> Licence | None:
    """The first that does not allow commercial use, or is not known to."""
    return next((one for one in of(info) if not is_commercial(one)), None)
