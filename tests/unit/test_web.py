"""What the page's files are served with."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from app import web

SCRIPT = "\n  document.title = 'dark';\n"


def policy_of(folder: Path, page: str, *, newline: str = "\n") -> str:
    (folder / "index.html").write_text(page, encoding="utf-8", newline=newline)
    files = web.read_build(folder)
    assert files
    return files["index.html"].headers["Content-Security-Policy"]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_policy_allows_the_script_that_stands_in_the_page_and_no_other(
    tmp_path: Path, newline: str
) -> None:
    page = f"<script>{SCRIPT}</script><script src='/a.js'></script>"

    policy = policy_of(tmp_path, page, newline=newline)

    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert scripts == f"script-src 'self' 'sha256-{digest}'"
    assert "unsafe" not in policy


@pytest.mark.parametrize("page", ["", "<script type='module' src='/a.js'></script>"])
def test_a_page_without_scripts_of_its_own_allows_none(tmp_path: Path, page: str) -> None:
    assert policy_of(tmp_path, page).endswith("script-src 'self'")
