"""What is documented exists, and what exists is documented, with the same default."""

from __future__ import annotations

import re
from pathlib import Path

from app import errors
from app.config import Settings
from app.errors import FailureCode, RequestError, ServiceError, TryOnError

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
