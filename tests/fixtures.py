"""Real parts: one embedded PostgreSQL a run, a cloned database and folders a test."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import psycopg2
import psycopg2.errors
import psycopg2.extensions
import pytest
import structlog
from fastapi.testclient import TestClient
from pydantic_settings import PydanticBaseSettingsSource
from sqlalchemy.engine import make_url

from app import runtime
from app.config import Settings, load_settings
from app.database import Db, engine_of, migrate, open_db
from app.engines.warp import weights
from app.main import create_app
from app.postgres import EmbeddedPostgres
from app.services import cleanup
from app.services.storage import LocalStorage
from tests import cloudinary as cloudinary_replay
from tests import warm
from tests.cloudinary import Cloudinary
from tests.seaweed import SeaweedFS, running

SECRET = "a secret that only the tests know"

# How long an example takes says more of what else the machine does than of us: a test that held by
# itself failed beside others.
#
# A law is tried on fewer examples while one works; .ci/run asks for the others.
hypothesis.settings.register_profile("quick", deadline=None, max_examples=40)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=400)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session", autouse=True)
def no_purge_by_itself() -> Iterator[None]:
    """What a test lets expire stays until it has seen it; purges are tried where they are meant."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cleanup, "FIRST_PURGE", timedelta(hours=1))
        yield


@pytest.fixture(scope="session", autouse=True)
def warm_engines() -> Iterator[None]:
    """Workers in this process take over the mock engines that those before them had loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "EnginePool", warm.WarmPool)
        yield
    warm.end_all()


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedPostgres]:
    """The run's PostgreSQL.

    Its path has a space, as a user's may have; and others than root may pass through it, so that
    the socket lies there too.
    """
    folder = Path(tempfile.mkdtemp(prefix="tryonai tests "))
    folder.chmod(0o711)
    with EmbeddedPostgres(folder) as postgres:
        yield postgres
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def databases(cluster: EmbeddedPostgres) -> Iterator[Databases]:
    with Databases(cluster.url) as databases:
        yield databases


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """An empty database of this test's own, with the schema."""
    with databases.one() as url:
        yield url


@pytest.fixture(scope="module")
def shared_database_url(databases: Databases) -> Iterator[str]:
    """One database for the tests of a file, where they do not disturb each other."""
    with databases.one() as url:
        yield url


@pytest.fixture
def db(database_url: str) -> Iterator[Db]:
    factory = open_db(database_url, pool_size=8)
    yield factory
    engine_of(factory).dispose()


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "uploads")


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """The run's S3 server; who kills or freezes it takes one of his own."""
    with running(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def cloudinary() -> Iterator[Cloudinary]:
    with cloudinary_replay.running() as server:
        yield server


MakeSettings = Callable[..., Settings]


@pytest.fixture
def make_settings(database_url: str, tmp_path: Path) -> MakeSettings:
    """Settings of a quick, predictable installation; any may be given otherwise."""

    def make(**overrides: object) -> Settings:
        return settings_of_tests(database_url, tmp_path, **overrides)

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
        return _start(stack, settings_of_tests(shared_database_url, shared_folder, **overrides))

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


@cache
def _weights_dir() -> Path:
    return load_settings().weights_dir


class _Given(Settings):
    """Settings as given and by default, whatever the environment of whoever runs the tests says."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: object, init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings_of_tests(database: str, folder: Path, /, **overrides: object) -> Settings:
    values: dict[str, object] = {
        "database_url": database,
        "data_dir": folder / "data",
        "storage": str(folder / "uploads"),
        "secret_key": SECRET,
        "engine": "mock",  # warp's tests ask for it: loading its networks takes half a second
        "engines": ("mock",),
        "mock_seconds": 0,
        "mock_failure_rate": 0,
        "worker_concurrency": 0,
        "rate_limit_enabled": False,
        "weights_dir": _weights_dir(),
    }
    return _Given(**{**values, **overrides})  # type: ignore[arg-type]


def _start(stack: ExitStack, settings: Settings) -> TestClient:
    app = create_app(settings)
    return stack.enter_context(TestClient(app, raise_server_exceptions=False))


class Databases:
    """Empty databases with the schema, each under a name that nobody has used before.

    What a test leaves is emptied and renamed rather than dropped and cloned anew, 10 ms instead of
    100: a clone is 300 files. Who still talks to the old name, or does so later, is refused.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._numbers = count(1)
        self._clean: list[str] = []

    def __enter__(self) -> Databases:
        self._template = self._next()
        self._server = _connect(self._url)
        # Nobody pulls the plug here. Only what connects from now on is told.
        self._tell("ALTER ROLE CURRENT_USER SET synchronous_commit TO off")
        self._tell(f"CREATE DATABASE {self._template}")
        db = open_db(self._named(self._template), pool_size=1)
        migrate(db)
        engine_of(db).dispose()
        with closing(_connect(self._named(self._template))) as connection:
            self._print = _fingerprint(connection)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    @contextmanager
    def one(self) -> Iterator[str]:
        name = self._clean.pop() if self._clean else self._clone()
        try:
            yield self._named(name)
        finally:
            self._take_back(name)

    def _clone(self) -> str:
        name = self._next()
        self._tell(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        return name

    def empty(self, url: str) -> bool:
        """Whether nothing of a test is left there but what it had from the template."""
        with closing(_connect(url)) as connection:
            for table in ("tryon_sessions", "deletion_receipts"):
                connection.cursor().execute(f"DELETE FROM {table}")
            return _fingerprint(connection) == self._print

    def _take_back(self, name: str) -> None:
        try:
            self._end_connections(name)
            if self.empty(self._named(name)):
                new = self._next()
                self._end_connections(name)
                self._tell(f"ALTER DATABASE {name} RENAME TO {new}")
                self._clean.append(new)
                return
        except psycopg2.Error:
            pass  # it lets nobody in, has no such table, or somebody was there again
        try:
            self._tell(f"DROP DATABASE {name} WITH (FORCE)")
        except psycopg2.errors.InsufficientPrivilege:
            # An autovacuum is at it, which is not ours to end; this asks it to leave, and waits.
            self._tell(f"DROP DATABASE {name}")

    def _end_connections(self, name: str) -> None:
        """Return when none is left. A wait by the server itself looks every 100 ms."""
        ending = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        most = time.monotonic() + 5
        with self._server.cursor() as cursor:
            cursor.execute(ending)
            while cursor.fetchall() and time.monotonic() < most:
                time.sleep(0.001)
                cursor.execute(ending)

    def _next(self) -> str:
        return f"test_{next(self._numbers)}"

    def _named(self, database: str) -> str:
        return make_url(self._url).set(database=database).render_as_string(hide_password=False)

    def _tell(self, statement: str) -> None:
        self._server.cursor().execute(statement)


def _connect(url: str) -> psycopg2.extensions.connection:
    parts = make_url(url)
    options: dict[str, Any] = {**parts.translate_connect_args(username="user"), **parts.query}
    connection: psycopg2.extensions.connection = psycopg2.connect(**options)
    connection.autocommit = True
    return connection


# Whatever may differ from a clone when the sessions are gone: the catalogue, what is set for the
# database, and the version of the schema.
_FINGERPRINT = " UNION ALL ".join(
    f"SELECT count(*), max(xmin::text::bigint) FROM {table}"
    for table in (
        "pg_attrdef",
        "pg_attribute",
        "pg_class",
        "pg_constraint",
        "pg_depend",
        "pg_enum",
        "pg_index",
        "pg_namespace",
        "pg_proc",
        "pg_rewrite",
        "pg_trigger",
        "pg_type",
        "pg_db_role_setting",
        "alembic_version",
    )
)


def _fingerprint(connection: psycopg2.extensions.connection) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(_FINGERPRINT)
        return cursor.fetchall()


@pytest.fixture(scope="session")
def weights_dir_or_none() -> Path | None:
    """The model files of this checkout; set-up has fetched them."""
    folder = _weights_dir()
    return None if any(weights.wrong(folder)) else folder


@pytest.fixture(scope="session")
def weights_dir(weights_dir_or_none: Path | None) -> Path:
    """The same, for tests that cannot do without."""
    if weights_dir_or_none is None:
        pytest.skip("the model files are not here: run scripts/fetch_weights.py")
    return weights_dir_or_none
