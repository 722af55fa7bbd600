"""Real parts: one embedded PostgreSQL a run, a cloned database and folders a test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import pluggy
import pytest
import structlog
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.config import Settings, load_settings
from app.database import Db, engine_of, migrate, open_db
from app.engines.warp import weights
from app.main import create_app
from app.postgres import EmbeddedPostgres
from app.services.storage import LocalStorage

TEMPLATE = "template_of_tests"
SECRET = "a secret that only the tests know"

_numbers = count(1)


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """The run's PostgreSQL, with the schema in a template database.

    Its path has a space, as a user's may have; and others than root may pass through it, so that
    the socket lies there too.
    """
    folder = Path(tempfile.mkdtemp(prefix="tryonai tests "))
    folder.chmod(0o711)
    with EmbeddedPostgres(folder) as postgres:
        _execute(postgres.url, f"CREATE DATABASE {TEMPLATE}")
        db = open_db(_named(postgres.url, TEMPLATE), pool_size=1)
        migrate(db)
        engine_of(db).dispose()
        yield postgres
    shutil.rmtree(folder)


@pytest.fixture
def database_url(cluster: EmbeddedPostgres) -> Iterator[str]:
    """An empty database of this test's own, with the schema."""
    with _database(cluster) as url:
        yield url


@pytest.fixture(scope="module")
def shared_database_url(cluster: EmbeddedPostgres) -> Iterator[str]:
    """One database for the tests of a file, where they do not disturb each other."""
    with _database(cluster) as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[Db]:
    factory = open_db(database_url, pool_size=8)
    yield factory
    engine_of(factory).dispose()


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "uploads")


MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(database_url: str, tmp_path: Path) -> MakeSettings:
    """Settings of a quick, predictable installation; any may be given otherwise."""

    def make(**overrides: object) -> Settings:
        return _settings(database_url, tmp_path, overrides)

    return make


MakeClient = Callable[..., TestClient]


@pytest.fixture
def make_client(make_settings: MakeSettings) -> Iterator[MakeClient]:
    """Start the application with these settings; it stops after the test.

    Without a worker unless `worker_concurrency` says otherwise.
    """
    with ExitStack() as stack:
        yield lambda **overrides: _start(stack, make_settings(**overrides))
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def shared_uploads(shared_folder: Path) -> Path:
    """Where the applications of `make_shared_client` keep their pictures."""
    return shared_folder / "uploads"


@pytest.fixture(scope="module")
def make_shared_client(shared_database_url: str, shared_folder: Path) -> Iterator[MakeClient]:
    """The same for a whole file: a start takes half a second."""

    def make(**overrides: object) -> TestClient:
        return _start(stack, _settings(shared_database_url, shared_folder, overrides))

    with ExitStack() as stack:
        yield make
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def shared_client(make_shared_client: MakeClient) -> TestClient:
    """The application without a worker, for tests of a file that do not disturb each other."""
    return make_shared_client()


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """The application without a worker: what is created keeps waiting."""
    return make_client()


@contextmanager
def _database(cluster: EmbeddedPostgres) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _execute(cluster.url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield _named(cluster.url, name)
    _execute(cluster.url, f"DROP DATABASE {name} WITH (FORCE)")


def _settings(database_url: str, folder: Path, overrides: dict[str, object]) -> Settings:
    values: dict[str, object] = {
        "database_url": database_url,
        "data_dir": folder / "data",
        "storage": str(folder / "uploads"),
        "secret_key": SECRET,
        "engine": "mock",  # warp's tests ask for it: loading its networks takes half a second
        "engines": ("mock",),
        "mock_seconds": 0,
        "mock_failure_rate": 0,
        "worker_concurrency": 0,
        "rate_limit_enabled": False,
        "_env_file": None,
    }
    return Settings(**{**values, **overrides})  # type: ignore[arg-type]


def _start(stack: ExitStack, settings: Settings) -> TestClient:
    app = create_app(settings)
    return stack.enter_context(TestClient(app, raise_server_exceptions=False))


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _execute(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))


@pytest.fixture(scope="session")
def weights_dir_or_none() -> Path | None:
    """The model files of this checkout; set-up has fetched them."""
    folder = load_settings().weights_dir
    return None if any(weights.wrong(folder)) else folder


@pytest.fixture(scope="session")
def weights_dir(weights_dir_or_none: Path | None) -> Path:
    """The same, for tests that cannot do without."""
    if weights_dir_or_none is None:
        pytest.skip("the model files are not here: run scripts/fetch_weights.py")
    return weights_dir_or_none


NOT_APPLICABLE = "does not apply: "
"""How the reason of a skip begins that CI accepts, too: the case cannot exist on that machine."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Generator[None, pluggy.Result[pytest.TestReport], None]:
    """Where CI runs, a skipped test is a failed one: what it needs should be there."""
    report = (yield).get_result()
    if os.environ.get("CI") != "true" or not report.skipped or hasattr(report, "wasxfail"):
        return
    if NOT_APPLICABLE not in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"skipped where CI should run it: {report.longrepr}"
