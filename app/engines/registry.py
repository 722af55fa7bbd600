"""How an engine is found by a word of `ENGINES`, and whether what it says of itself holds together.

A word is a table of `ENGINES_FILE`, a built-in engine, an entry point of the group
`tryonai.engines`, or `package.module:Class`; whichever there is, in this order.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from app.engines import (
    CATEGORIES,
    MODES,
    NEEDS,
    PHOTO_TYPES,
    Egress,
    EngineInfo,
    EngineSpec,
    Licence,
    Weight,
    licences,
)
from app.engines.warp import weights as preflight_weights
from app.errors import SettingsError

BUILT_IN = MappingProxyType(
    {
        "warp": "app.engines.warp:WarpEngine",
        "mock": "app.engines.mock:MockEngine",
        "remote": "app.engines.remote:RemoteEngine",
        "fashn": "app.engines.fashn:FashnEngine",
    }
)
"""Engines of this package, by name; imported only when asked for."""

ENTRY_POINTS = "tryonai.engines"

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Table:
    """What `ENGINES_FILE` says of one engine. engine: a built-in, an entry point, a dotted path."""

    engine: str
    options: Mapping[str, Any] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    concurrency: int | None = None
    memory_mb: int | None = None
    timeout_s: float | None = None


@dataclass(frozen=True)
class OfferedEngine:
    """spec.name and info.name are the name in the API."""

    spec: EngineSpec
    info: EngineInfo


def read_tables(file: Path | None) -> dict[str, Table]:
    """The engines that the operator has written down, by name. Raises SettingsError."""
    if file is None:
        return {}
    try:
        tables = tomllib.loads(file.read_text("utf-8"))
    except OSError as exc:
        raise SettingsError(f"ENGINES_FILE cannot be read: {exc.strerror}.") from exc
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"ENGINES_FILE is no TOML: {exc}.") from exc
    return {name: _table(name, values) for name, values in tables.items()}


_KINDS: Mapping[str, tuple[type, ...]] = {
    "engine": (str,),
    "options": (dict,),
    "secrets": (list,),
    "uses": (list,),
    "devices": (list,),
    "concurrency": (int,),
    "memory_mb": (int,),
    "timeout_s": (int, float),
}


def _table(name: str, values: object) -> Table:
    def wrong(what: str) -> SettingsError:
        return SettingsError(f"ENGINES_FILE: [{name}] {what}.")

    if not NAME.fullmatch(name):
        raise wrong("is no name for an engine: use a–z, 0–9 and . _ -")
    if not isinstance(values, dict):
        raise wrong("must be a table")
    for key, value in values.items():
        if key not in _KINDS:
            raise wrong(f"has no {key}; there are {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[key]) or isinstance(value, bool):
            raise wrong(f"{key} must be of type {_KINDS[key][0].__name__}")
        if isinstance(value, list) and not all(isinstance(one, str) for one in value):
            raise wrong(f"{key} must be a list of texts")
        if isinstance(value, int | float) and value <= 0:
            raise wrong(f"{key} must be above 0")
    found: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    for device in found.get("devices", ()):
        if not _DEVICE.fullmatch(device):
            raise wrong(f'devices: "{device}" is none; write cpu, cuda or cuda:0')
    return Table(**{"engine": name, **found})


def find(
    word: str,
    options: Mapping[str, Any] | None = None,
    *,
    tables: Mapping[str, Table] = MappingProxyType({}),
    preflight: Path | None = None,
) -> EngineSpec:
    """The engine that a word means. Its name is the word, until `offer` has looked at it.

    options: what the constructor gets besides the table's. Raises SettingsError, with the words
    that there are.
    """
    table = tables.get(word, Table(word))
    return EngineSpec(
        name=word,
        target=_target(table.engine),
        options={**(options or {}), **table.options},
        secrets=table.secrets,
        uses=table.uses,
        devices=table.devices,
        preflight=preflight,
        concurrency=table.concurrency,
        memory_mb=table.memory_mb,
        timeout_s=table.timeout_s,
    )


def _target(word: str) -> str:
    if word in BUILT_IN:
        return BUILT_IN[word]
    if ":" in word:
        return word
    points = {one.name: one.value for one in metadata.entry_points(group=ENTRY_POINTS)}
    if word in points:
        return points[word]
    known = ", ".join([*BUILT_IN, *points])
    raise SettingsError(
        f'there is no engine "{word}"; there are {known}, tables of ENGINES_FILE, '
        "and any other as package.module:Class"
    )


def offer(spec: EngineSpec, *, named: bool = False) -> OfferedEngine:
    """Make the engine, look at what it says of itself, and give it its name in the API.

    named: by a table of the operator's; otherwise by itself. Raises SettingsError.
    """
    info = getattr(spec.make(), "info", None)
    if named and isinstance(info, EngineInfo):
        info = replace(info, name=spec.name)
    if fault := _fault(info):
        raise SettingsError(f'engine "{spec.name}": {fault}.')
    assert isinstance(info, EngineInfo)
    if info.needs:  # the pre-flight step's files are part of what makes the picture
        more = (one for one in preflight_weights.STATED if one not in info.weights)
        info = replace(info, weights=(*info.weights, *more))
    return OfferedEngine(
        replace(
            spec,
            name=info.name,
            concurrency=spec.concurrency or info.concurrency,
            memory_mb=spec.memory_mb or info.memory_mb,
            timeout_s=spec.timeout_s or info.timeout_s,
            abroad=info.egress is not None,
        ),
        info,
    )


CHAIN = "chain"


def chain(
    name: str, table: Table, steps: Sequence[OfferedEngine], *, timeout_s: float
) -> OfferedEngine:
    """Engines in order, as one. timeout_s: of those that have none of their own.

    Raises SettingsError.
    """
    if len(steps) < 2:
        raise SettingsError(f'engine "{name}": give options = {{ engines = ["first", "second"] }}')
    infos = [step.info for step in steps]
    sending = {info.egress.host: info.egress for info in infos if info.egress is not None}
    if len(sending) > 1:
        hosts = ", ".join(sending)
        raise SettingsError(
            f'engine "{name}": its engines send photos to {hosts}; one chain, one host'
        )
    info = EngineInfo(
        name=name,
        version="+".join(f"{one.name}-{one.version}" for one in infos),
        title=", else ".join(one.title for one in infos),
        licences=tuple(dict.fromkeys(one for info in infos for one in info.licences)),
        weights=tuple(dict.fromkeys(one for info in infos for one in info.weights)),
        categories=tuple(one for one in CATEGORIES if any(one in i.categories for i in infos)),
        photo_types=tuple(one for one in PHOTO_TYPES if any(one in i.photo_types for i in infos)),
        modes=tuple(one for one in MODES if any(one in i.modes for i in infos)),
        min_side=max(one.min_side for one in infos),
        egress=next(iter(sending.values()), None),
        deterministic=all(one.deterministic for one in infos),
    )
    spec = EngineSpec(
        name,
        CHAIN,
        steps=tuple((step.spec, step.info) for step in steps),
        concurrency=table.concurrency,
        memory_mb=table.memory_mb,
        timeout_s=table.timeout_s or sum(step.spec.timeout_s or timeout_s for step in steps),
    )
    return OfferedEngine(spec, info)


def check_licences(offered: OfferedEngine) -> None:
    """Raises SettingsError where commercial use is not allowed, with the file that says so."""
    reason = licences.objection(offered.info)
    if reason is not None:
        raise SettingsError(
            f'engine "{offered.info.name}": {reason.subject} is under {reason.licence}, which is '
            "not known to allow commercial use. Take the engine out of ENGINES, or set "
            "ALLOW_NONCOMMERCIAL=true if your use is none."
        )


_ABOVE_0 = ("min_side", "max_side", "concurrency", "memory_mb", "timeout_s")


def _fault(info: object) -> str | None:
    """What is wrong with an engine's info, as a sentence without its end."""
    if not isinstance(info, EngineInfo):
        return "its info is no EngineInfo"
    if not NAME.fullmatch(info.name):
        return f'"{info.name}" is no name: use a–z, 0–9 and . _ -, at most 63'
    if not (info.version and info.title):
        return "its info lacks a version or a title"
    lists: dict[str, tuple[str, ...]] = {
        "categories": CATEGORIES,
        "photo_types": PHOTO_TYPES,
        "modes": MODES,
        "needs": NEEDS,
    }
    for name, known in lists.items():
        found = getattr(info, name)
        if not isinstance(found, tuple) or not set(found) <= set(known):
            return f"info.{name} must be a tuple of {', '.join(known)}"
        if not found and name != "needs":
            return f"info.{name} is empty"
    if info.egress is not None and not isinstance(info.egress, Egress):
        return "info.egress is no Egress"
    if not isinstance(info.uses, tuple) or not all(isinstance(one, str) for one in info.uses):
        return "info.uses must be a tuple of texts"
    for one in fields(info):
        value = getattr(info, one.name)
        if one.name in _ABOVE_0 and (
            isinstance(value, bool) or (value is not None and not value > 0)
        ):
            return f"info.{one.name} must be above 0"
    return _licence_fault(info)


def _licence_fault(info: EngineInfo) -> str | None:
    if not info.licences:
        return "info.licences is empty: state the licence of its code"
    if not all(isinstance(one, Licence) and one.subject and one.licence for one in info.licences):
        return "info.licences must be a tuple of Licence(subject, licence)"
    for weight in info.weights:
        if not isinstance(weight, Weight) or not (weight.file and weight.licence):
            return "info.weights must be a tuple of Weight(file, sha256, licence)"
        if not _SHA256.fullmatch(weight.sha256):
            return f"info.weights: the sha256 of {weight.file} must be 64 hexadecimal digits"
    return None
