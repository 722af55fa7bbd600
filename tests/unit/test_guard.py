"""What an engine's process finds in its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engines import guard


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_a_way_out_that_an_engine_without_one_does_not_have(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:3128")

    def found(*, offline: bool) -> bool:
        return name in guard.environment(tmp_path, allowed=(), device=None, offline=offline)

    assert (found(offline=True), found(offline=False)) == (False, True)


@pytest.mark.parametrize("name", ["SECRET_KEY", "metrics_token", "FASHN_API_KEY", "DATABASE_URL"])
def test_a_secret_is_kept_from_an_engine_that_does_not_name_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv(name, "secret")

    def found(*allowed: str) -> bool:
        return name in guard.environment(tmp_path, allowed=allowed, device=None, offline=True)

    assert (found(), found(name)) == (False, True)
