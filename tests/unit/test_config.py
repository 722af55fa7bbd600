"""Settings: how they are read, what is refused, and that no value is ever told."""

from __future__ import annotations

import errno
import os
import stat
import sys
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from app import runtime
from app.config import ROOT, Settings, load_settings, with_driver
from app.errors import SettingsError
from app.runtime import offered_engines, storage_of

LONG = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from where the tests run."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def settings(**values: object) -> Settings:
    return load_settings(_env_file=None, **values)


@pytest.mark.parametrize(
    "scheme",
    [
        *("postgres", "postgresql", "pgsql", "POSTGRES", "PostgreSQL"),
        *("postgresql+psycopg2", "postgresql+psycopg", "postgresql+asyncpg", "postgres+pg8000"),
    ],
)
def test_every_spelling_of_a_database_is_understood(scheme: str) -> None:
    url = make_url(with_driver(f" {scheme}://u:p%40ss@db.example:6432/shop?sslmode=require\n"))

    assert url.drivername == "postgresql+psycopg2"
    assert (url.username, url.password, url.host, url.port) == ("u", "p@ss", "db.example", 6432)
    assert (url.database, url.query["sslmode"]) == ("shop", "require")


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "sqlite:///secret.db", "secret", "://"])
def test_another_database_is_refused_without_telling_its_url(url: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        with_driver(url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://me:secret@host:54x2/name", "port"),
        ("postgresql://me:secret@host:/name", "port"),
        ("postgresql://me:sec@ret@host/name", "%40"),
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_telling_it(url: str, said: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        with_driver(url)

    assert said in caught.value.detail
    assert "sec" not in caught.value.detail
    assert "ret" not in caught.value.detail


def test_an_empty_setting_is_one_that_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "SECRET_KEY", "METRICS_TOKEN", "PORT", "ENGINES"):
        monkeypatch.setenv(name, "")

    found = settings()

    assert found.database_url is None
    assert found.sqlalchemy_url is None
    assert found.secret_key is None
    assert found.port == 8000


def test_relative_paths_begin_at_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    found = settings(data_dir="some/data", storage="some/uploads")

    assert found.data_dir == ROOT / "some" / "data"
    assert found.storage_folder == ROOT / "some" / "uploads"
    assert settings(storage=str(tmp_path)).storage_folder == tmp_path


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=9001\nHOST=0.0.0.0\nUNKNOWN=1\n")
    monkeypatch.setenv("PORT", "9002")

    found = load_settings(_env_file=file)

    assert (found.port, found.host) == (9002, "0.0.0.0")


def test_a_secret_is_made_once_and_kept_to_its_owner(tmp_path: Path) -> None:
    first = settings(data_dir=tmp_path / "data").secrets
    again = settings(data_dir=tmp_path / "data").secrets

    assert first == again
    assert len(first[0]) >= 32
    kept = tmp_path / "data" / "secret_key"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [file.name for file in kept.parent.iterdir()] == ["secret_key"]


def test_with_a_database_of_ones_own_the_secret_must_be_given() -> None:
    found = settings(database_url="postgresql://h/d")

    with pytest.raises(SettingsError, match="SECRET_KEY is not set"):
        _ = found.secrets


@pytest.mark.parametrize("secret", ["short", f"{LONG},short", ",", " , "])
def test_a_short_secret_is_refused_and_not_told(secret: str) -> None:
    found = settings(secret_key=secret)

    with pytest.raises(SettingsError, match="SECRET_KEY is too short") as caught:
        _ = found.secrets

    assert "short," not in str(caught.value)
    assert LONG not in str(caught.value)


def test_several_secrets_are_kept_in_their_order() -> None:
    assert settings(secret_key=f" {LONG}new , {LONG}old,").secrets == (f"{LONG}new", f"{LONG}old")


def test_no_secret_shows_where_settings_are_printed() -> None:
    found = settings(
        secret_key=SecretStr(LONG),
        metrics_token="the-token",
        database_url="postgresql://u:the-password@h/d",
    )

    for text in (repr(found), str(found), str(found.model_dump())):
        assert LONG not in text
        assert "the-token" not in text
        assert "the-password" not in text


def test_an_engine_that_is_not_offered_is_replaced_by_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A logger keeps what it was configured with when it first spoke, in another test perhaps.
    monkeypatch.setattr(runtime, "log", structlog.get_logger())
    found = settings(engine="gone", engines="mock")

    with capture_logs() as logs:
        offered = offered_engines(found)

    assert list(offered) == ["mock"]
    assert logs == [
        {"event": "engine.replaced", "engine": "gone", "by": "mock", "log_level": "warning"}
    ]


def test_the_default_engine_comes_first() -> None:
    assert list(offered_engines(settings(engine="mock", engines="warp, mock,warp"))) == [
        "mock",
        "warp",
    ]


def test_an_engine_that_does_not_exist_is_named() -> None:
    with pytest.raises(SettingsError, match="warp9"):
        offered_engines(settings(engine="warp9", engines="warp9"))


def test_without_engines_nothing_starts() -> None:
    with pytest.raises(SettingsError, match="ENGINES"):
        offered_engines(settings(engines=" , "))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "the-value"),
        ("port", "70000"),
        ("mock_failure_rate", "1.5"),
        ("log_level", "the-value"),
        ("rate_limit_create", "the-value"),
        ("storage", "ftp://the-value"),
        ("worker_concurrency", "-1"),
        ("trusted_proxies", "the-value"),
        ("database_pool_size", "0"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings(**{name: value})

    assert str(caught.value).startswith(f"{name.upper()}: ")
    assert value not in str(caught.value)


def test_every_wrong_setting_is_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        settings(port="x", lease_seconds="y")

    assert "PORT: " in str(caught.value)
    assert "LEASE_SECONDS: " in str(caught.value)


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORS_ORIGINS", " https://a.example, https://b.example ,")

    assert settings().cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize("rate", ["10/minute", "5 per 2 hours", "1/second", "100/day"])
def test_a_rate_is_read(rate: str) -> None:
    assert settings(rate_limit_create=rate).rate_limit_create == rate


def test_ten_megabytes_are_10_485_760_bytes() -> None:
    assert settings().max_file_bytes == 10_485_760


def test_a_secret_is_made_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)

    first = settings(data_dir=tmp_path).secrets
    second = settings(data_dir=tmp_path).secrets

    assert first == second
    (file,) = tmp_path.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("secret_key", 0o600)


@pytest.mark.parametrize(
    "storage",
    ["s3://", "s3:///prefix", "s3://bucket/../up", "s3://bucket//x", "s3://b/A b", "file:///x"],
)
def test_an_object_store_that_cannot_be_meant_is_refused(storage: str) -> None:
    with pytest.raises(SettingsError, match="STORAGE"):
        settings(storage=storage)


def test_an_object_store_has_no_folder() -> None:
    found = settings(storage="s3://bucket/shop/pictures/")

    assert (found.storage, found.storage_folder) == ("s3://bucket/shop/pictures", None)


@pytest.mark.parametrize("endpoint", ["host:9000", "http://me:secret@host", "http://host/path"])
def test_an_endpoint_is_an_address_without_path_and_password(endpoint: str) -> None:
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL") as caught:
        settings(aws_endpoint_url=endpoint)

    assert endpoint not in str(caught.value)


def test_an_object_store_without_its_client_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "app.services.objects", raising=False)
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(SettingsError, match=r"install requirements-cluster\.txt"):
        storage_of(settings(storage="s3://bucket"))
