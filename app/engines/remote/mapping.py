"""What a service calls things: a mapping, read from TOML and checked. docs/engines.md has the form.

Values in a body are texts with `{names}` in them; a text that is one name alone becomes that value,
of its own type.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.engines import CATEGORIES, MODES, PHOTO_TYPES, Category, Mode, Need, PhotoType
from app.errors import FailureCode, SettingsError

FOLDER = Path(__file__).parent

_NAME = re.compile(r"\{([a-z_]+)\}")
_GIVEN = ("person", "garment", "category", "photo_type", "mode", "seed", "key", "id")


@dataclass(frozen=True)
class Service:
    """A mapping, made whole. Paths into answers are keys and indices with dots between.

    refused: statuses of an answer to a run at which surely nothing was started.
    idempotency: the header under which the service knows a run again; empty where it has none.
    errors: what a failure of it is here, by its own name. again: names of those that another
        attempt may mend.
    hosts: where pictures may lie, beside data URIs; their subdomains too.
    cost_times: what one unit of `cost_field` costs, of `cost_unit`.
    """

    name: str
    version: str
    title: str
    licence: str
    commercial: bool | None
    base_url: str
    purpose: str
    key_variable: str
    headers: Mapping[str, str]
    run_path: str
    body: Mapping[str, Any]
    id_at: str
    run_error_at: str
    refused: frozenset[int]
    idempotency: str
    status_path: str
    state_at: str
    waiting: frozenset[str]
    done: frozenset[str]
    picture_at: str
    error_at: str
    cancel_path: str
    errors: Mapping[str, FailureCode]
    again: frozenset[str]
    words: Mapping[str, Mapping[str, str]]
    hosts: tuple[str, ...]
    cost_header: str
    cost_field: str
    cost_times: str
    cost_unit: str
    categories: tuple[Category, ...]
    modes: tuple[Mode, ...]
    photo_types: tuple[PhotoType, ...]
    needs: tuple[Need, ...]
    min_side: int
    max_side: int
    timeout_s: float | None

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    def word(self, kind: str, ours: str) -> str:
        """The service's word for one of ours."""
        return self.words.get(kind, {}).get(ours, ours)


def read_mapping(name: str, *, base_url: str, values: Mapping[str, Any]) -> Service:
    """A built-in mapping, or a file. Raises SettingsError."""
    built_in = sorted(file.stem for file in FOLDER.glob("*.toml"))
    if not name:
        raise SettingsError(
            f"say which service: options = {{ mapping = … }}, {', '.join(built_in)}, or a file"
        )
    file = FOLDER / f"{name}.toml" if name in built_in else Path(name)
    try:
        table = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"the mapping cannot be read: {type(exc).__name__}: {exc}") from exc
    try:
        service = _service(table, base_url)
    except (KeyError, TypeError, ValueError) as exc:
        raise SettingsError(f"the mapping lacks or misspells {exc}") from exc
    return _filled(service, values)


def _service(table: Mapping[str, Any], base_url: str) -> Service:
    auth, run, status = table.get("auth", {}), table["run"], table["status"]
    cost = table.get("cost", {})
    named = {name: str(code) for name, code in table.get("errors", {}).items()}
    return Service(
        name=table["name"],
        version=table["version"],
        title=table["title"],
        licence=table["licence"],
        commercial=table.get("commercial"),
        base_url=(base_url or table["base_url"]).rstrip("/"),
        purpose=table.get("purpose", "the picture is made there"),
        key_variable=auth.get("variable", ""),
        headers=auth.get("headers", {}),
        run_path=run["path"],
        body=run["body"],
        id_at=run["id"],
        run_error_at=run.get("error", ""),
        refused=frozenset(run.get("refused", (429,))),
        idempotency=run.get("idempotency", ""),
        status_path=status["path"],
        state_at=status["state"],
        waiting=frozenset(status["waiting"]),
        done=frozenset(status["done"]),
        picture_at=status["picture"],
        error_at=status.get("error", ""),
        cancel_path=table.get("cancel", {}).get("path", ""),
        errors={name: FailureCode(code) for name, code in named.items() if code != "again"},
        again=frozenset(name for name, code in named.items() if code == "again"),
        words=table.get("words", {}),
        hosts=tuple(status.get("hosts", ())),
        cost_header=cost.get("header", ""),
        cost_field=cost.get("field", ""),
        cost_times=str(cost.get("times", "1")),
        cost_unit=cost.get("unit", ""),
        categories=_known(table, "categories", CATEGORIES),
        modes=_known(table, "modes", MODES),
        photo_types=_known(table, "photo_types", PHOTO_TYPES),
        needs=tuple(table.get("needs", ())),
        min_side=table.get("min_side", 64),
        max_side=table.get("max_side", 2048),
        timeout_s=table.get("timeout_s"),
    )


def _known(table: Mapping[str, Any], key: str, known: tuple[Any, ...]) -> tuple[Any, ...]:
    found = tuple(table.get(key, known))
    if not set(found) <= set(known):
        raise ValueError(key)
    return found


def _filled(service: Service, values: Mapping[str, Any]) -> Service:
    """The operator's values put in; every other name must be one that a run has."""
    left = service
    for name, value in values.items():
        left = replace(
            left,
            run_path=left.run_path.replace(f"{{{name}}}", str(value)),
            body=fill(left.body, {name: value}),
        )
    texts = [left.run_path, left.status_path, left.cancel_path, *_texts(left.body)]
    missing = {name for text in texts for name in _NAME.findall(text)} - set(_GIVEN)
    if missing:
        raise SettingsError(f"give values for {', '.join(sorted(missing))}: options.values")
    scheme = urlsplit(left.base_url).scheme
    if scheme not in ("https", "http") or not left.host:
        raise SettingsError("base_url must be a URL of https, or of http inside your network")
    return left


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """The template with these values; names that are not among them stay."""
    if isinstance(template, Mapping):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, list):
        return [fill(value, values) for value in template]
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    if whole and whole[1] in values:
        return values[whole[1]]
    return _NAME.sub(lambda found: str(values.get(found[1], found[0])), template)


def _texts(template: Any) -> list[str]:
    if isinstance(template, Mapping):
        return [text for value in template.values() for text in _texts(value)]
    if isinstance(template, list):
        return [text for value in template for text in _texts(value)]
    return [template] if isinstance(template, str) else []


def dig(answer: Any, path: str) -> Any:
    """What lies at a path into an answer; None where nothing does."""
    for part in path.split(".") if path else ():
        if isinstance(answer, Mapping):
            answer = answer.get(part)
        elif isinstance(answer, list) and part.isdecimal() and int(part) < len(answer):
            answer = answer[int(part)]
        else:
            return None
    return answer if path else None
