"""What is documented exists, and what exists is documented, with the same default."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app import errors
from app.config import Settings
from app.errors import FailureCode, RequestError, ServiceError, TryOnError
from app.metrics import REGISTRY
from app.services import gauges

ROOT = Path(__file__).resolve().parent.parent

_ROW = re.compile(r"^\|(.+)\|$", re.MULTILINE)
_CODE = re.compile(r"^`([^`]+)`$")
_ENV_LINE = re.compile(r"^#? ?([A-Z][A-Z0-9_]*)=(.*)$", re.MULTILINE)


def written(value: object) -> str:
    """A default as one writes it in `.env`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


SETTINGS = {name.upper(): written(field.default) for name, field in Settings.model_fields.items()}


def rows(file: str, heading: str) -> list[list[str]]:
    """The cells of the table below a heading of this name."""
    _, _, rest = (ROOT / file).read_text().partition(f"\n## {heading}\n")
    assert rest, f"{file} has no heading {heading}"
    table = rest.partition("\n## ")[0]
    return [[cell.strip() for cell in row.split("|")] for row in _ROW.findall(table)][2:]


def in_code(cell: str) -> str:
    found = _CODE.match(cell)
    assert found, f"{cell} does not stand in code"
    return found[1]


def test_env_example_has_every_setting_with_its_default_and_no_other() -> None:
    found = dict(_ENV_LINE.findall((ROOT / ".env.example").read_text()))

    assert found == SETTINGS


def test_the_readme_has_every_setting_with_its_default_and_no_other() -> None:
    found = {
        in_code(name): "" if default == "empty" else in_code(default)
        for name, default, *_ in rows("README.md", "Settings")
    }

    assert found == SETTINGS


def test_every_answer_is_documented_with_its_status_and_no_other() -> None:
    # The root stands for what nobody has foreseen: a 500.
    raised = {TryOnError} | {
        one
        for one in vars(errors).values()
        if isinstance(one, type) and issubclass(one, RequestError | ServiceError)
    }

    found = {
        (status, in_code(code))
        for status, code, *_ in rows("docs/errors.md", "Answers to a request")
    }

    assert found == {(str(one.status), one.code) for one in raised}


def test_every_failure_is_documented_and_no_other() -> None:
    found = [in_code(code) for code, *_ in rows("docs/errors.md", "How a session fails")]

    assert sorted(found) == sorted(FailureCode)


def test_every_failure_has_a_sentence() -> None:
    assert set(errors.SENTENCES) == set(FailureCode)


def test_every_metric_is_documented_and_no_other() -> None:
    counted = {family.name + "_total" * (family.type == "counter") for family in REGISTRY.collect()}

    documented = " ".join(name for name, *_ in rows("docs/operations.md", "Metrics"))

    assert set(re.findall(r"`(tryonai_\w+)", documented)) == counted | set(gauges.NAMES)


def test_the_tables_of_capacity_are_those_of_the_script() -> None:
    command = [sys.executable, str(ROOT / "scripts/capacity.py")]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    tables = printed.strip().split("\n\n")

    assert len(tables) == 2
    assert [one for one in tables if one not in (ROOT / "docs/operations.md").read_text()] == []


_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
_MARK = re.compile(r"\[\^([a-z-]+)\]")
_NOTE = re.compile(r"^\[\^([a-z-]+)\]: (.+)$", re.MULTILINE)
_CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_TABLE_HEAD = re.compile(r"^\|.*\n\|[-|]+\|\n", re.MULTILINE)
_UNIT = re.compile(r"\n\s*\n|\n(?=- |\d[.] |\|)")
_SENTENCE = re.compile(r"([^.]+[.])((?:\[\^[a-z-]+\])*)")
PRIVACY = (ROOT / "docs/privacy.md").read_text()
# These say what the page is, how something is done, or what is not promised.
WITHOUT_PROMISES = {
    *("Privacy", "What a receipt proves, and what it cannot"),
    *("How to check a receipt", "What it cannot do"),
}


def sections_of_privacy() -> dict[str, str]:
    text = _NOTE.sub("", _CODE_BLOCK.sub("", PRIVACY))
    parts = [part.partition("\n") for part in re.split(r"^##? ", text, flags=re.MULTILINE)[1:]]
    return {heading: body for heading, _, body in parts}


def promises(body: str) -> Iterator[tuple[str, str]]:
    """Each sentence and each row of a table, with its notes; what ends with a colon is none."""
    for unit in _UNIT.split(_TABLE_HEAD.sub("", body)):
        if unit.strip().startswith("|"):
            yield unit, "".join(_MARK.findall(unit))
            continue
        plain = re.sub(r"`[^`]*`|\]\([^)]*\)", "", unit.strip())
        plain = re.sub(r"^\d[.] |(?<=\d)[.](?=\d)", "", plain)
        yield from _SENTENCE.findall(" ".join(plain.split()))


@pytest.mark.parametrize("heading", sorted(sections_of_privacy().keys() - WITHOUT_PROMISES))
def test_every_promise_of_the_privacy_page_names_a_test(heading: str) -> None:
    found = list(promises(sections_of_privacy()[heading]))

    assert len(found) >= 5, "or nothing was looked at"
    assert [promise for promise, notes in found if not notes] == []


def test_a_promise_without_a_note_is_noticed() -> None:
    body = "One.[^a] Two is 7.5 and `x.y`.[^b][^c]\n- Three.\n| h |\n|---|\n| four |\n\nSo:"

    found = [(text.strip(), bool(notes)) for text, notes in promises(body)]

    assert [marked for _, marked in found] == [True, True, False, False]


@cache
def existing_tests() -> set[str]:
    return {
        f"{file.relative_to(ROOT / 'tests').as_posix()}::{name}"
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in _TEST.findall(file.read_text("utf-8"))
    }


def test_every_test_that_the_privacy_page_names_is_there() -> None:
    notes = dict(_NOTE.findall(PRIVACY))
    named = {name: re.findall(r"`([^`]+)`", text) for name, text in notes.items()}

    assert all(named.values()), "a note without a test"
    assert {one for tests in named.values() for one in tests} <= existing_tests()


def test_every_note_of_the_privacy_page_is_used_and_every_used_one_is_there() -> None:
    assert set(_MARK.findall(_NOTE.sub("", PRIVACY))) == set(dict(_NOTE.findall(PRIVACY)))


WORDS = (ROOT / "frontend/lib/messages.ts").read_text("utf-8")
PROMISES: dict[str, list[str]] = json.loads((ROOT / "frontend/promises.json").read_text("utf-8"))


@pytest.mark.parametrize("section", ["hero", "erase", "privacy"])
def test_every_promise_of_the_browser_page_names_its_tests(section: str) -> None:
    block = re.search(rf"^  {section}: {{\n(.*?)^  }},", WORDS, re.MULTILINE | re.DOTALL)
    assert block is not None
    facts = re.search(r"facts: \[(.*?)\],\n    (?=\w|$)|facts: \[(.*)\],", block[1], re.DOTALL)
    assert facts is not None
    said = re.findall(r'"([^"]+)"', facts[1] or facts[2])
    sentences = said[1::2] if section == "privacy" else said  # there each has a title

    assert len(sentences) >= 3
    assert [one for one in sentences if not PROMISES.get(one)] == []


def test_what_the_browser_page_promises_is_said_there_and_held_by_tests_that_exist() -> None:
    assert [one for one in PROMISES if f'"{one}"' not in WORDS] == []
    assert {one for tests in PROMISES.values() for one in tests} <= existing_tests()
