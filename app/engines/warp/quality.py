"""How good the picture is, and what the shopper should know about it.

No stage looks at the finished picture: each says what it had to guess, stretch or paint, and the
figure is what is left of 1 after that. The weights were chosen on 146 pictures that a person had
rated good, flawed a little, or wrong (2026-11-22): rank correlation 0.46, and
0.35 with the stricter ratings of a day later (docs/engines.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from types import MappingProxyType

from app.engines import Caution

MESSAGES = MappingProxyType(
    {
        "sleeves_shortened": "The arms are not in the photo as far as the sleeves reach.",
        "stretched": "The garment was made longer or shorter to fit; its print may look different.",
        "old_hem_visible": "The old garment is longer than the new one: part of it is a guess.",
        "old_garment_left": "A little of the old clothes still shows beside the new garment.",
        "skin_painted": "The old garment hid skin that shows now; it is painted, not photographed.",
        "hips_out_of_frame": "The hips are not in the photo: the garment's length is a guess.",
        "turned_aside": "The person is turned to the side: the garment may sit a little askew.",
        "garment_unclear": "The garment's outline was not clear everywhere.",
        "person_unclear": "The person's outline was not clear everywhere.",
        "open_front": "The garment hangs open: what you wear in your photo shows under it.",
    }
)
"""Every code that a stage may raise, and its sentence for the shopper."""

_STRETCH_SEEN = 0.10
_SKIN_SEEN, _GROUND_SEEN, _BELOW_SEEN = 0.05, 0.10, 0.02
"""From where on something is worth a sentence: the stretch, and areas in parts of the garment's."""
_LEFT_SEEN, _BESIDE_SEEN = 0.008, 0.004
_UNSURE, _UNTRUSTED = 0.75, 0.5


@dataclass(frozen=True)
class Noticed:
    """What the stages noticed.

    skin, ground, below: as in `composition.Bared`. stretch: how much longer the garment was made.
    cut: the part of the sleeves for which there was no arm. sure: 0–1, of the garment's points.
    trust: 0–1, of the person's parts. left, beside: as in `composition.Bared`. uneven: how much
    the garment's two sleeves differ in length, 0–1.
    """

    skin: float
    ground: float
    below: float
    stretch: float
    cut: float
    sure: float
    trust: float
    left: float = 0.0
    beside: float = 0.0
    uneven: float = 0.0


def judge(noticed: Noticed) -> tuple[float, tuple[str, ...]]:
    """The figure, 0–1, and the codes of what the shopper should know."""
    lost = (
        0.3 * min(noticed.skin, 0.4)
        + 0.2 * min(noticed.ground, 0.4)
        + 0.2 * min(noticed.below, 0.4)
        + 0.2 * abs(noticed.stretch - 1)
        + 0.5 * noticed.cut
        + 0.1 * (1 - noticed.sure)
        + 0.4 * (1 - noticed.trust)
        + 12 * min(noticed.left, 0.05)
        + 35 * min(noticed.beside, 0.02)
        + 0.05 * noticed.uneven
    )
    return round(max(0.0, 1 - lost), 2), tuple(_codes(noticed))


def _codes(noticed: Noticed) -> Iterable[str]:
    if noticed.cut > 0.1:
        yield "sleeves_shortened"
    if abs(noticed.stretch - 1) > _STRETCH_SEEN:
        yield "stretched"
    if noticed.below > _BELOW_SEEN:
        yield "old_hem_visible"
    if noticed.skin > _SKIN_SEEN:
        yield "skin_painted"
    if noticed.left > _LEFT_SEEN or noticed.beside > _BESIDE_SEEN:
        yield "old_garment_left"
    if noticed.sure < _UNSURE:
        yield "garment_unclear"
    if noticed.trust < _UNTRUSTED:
        yield "person_unclear"


def caution(code: str) -> Caution:
    return Caution(code, MESSAGES.get(code, "This picture may not be right everywhere."))
