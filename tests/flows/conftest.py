"""The service under use and faults: our programs run on the test's database and folder."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, Protocol, TypeVar
from uuid import UUID

import httpx
import psutil
import psycopg2
import pytest
import structlog
from fastapi.testclient import TestClient
from sqlalchemy import CursorResult, event, select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app import logs, runtime
from app.database import Db
from app.engines.registry import find
from app.main import create_app
from app.metrics import REGISTRY
from app.models import TryOnSession
from app.services.attempts import Attempts, WorkerLimits
from app.services.crypto import Vault
from app.services.egress import EgressRules
from app.services.leader import Leader
from app.services.queue import Bell
from app.services.receipts import Issuer
from app.services.storage import LocalStorage, Storage
from app.services.worker import Worker
from app.signing import Keyring
from tests import pictures
from tests.fixtures import SECRET, Databases, settings_of_tests
from tests.flows import program
from tests.patience import patient
from tests.servers import Redis
from tests.warm import WarmPool

URL = "/api/tryon/sessions"
TOKEN = "visitor-of-the-flows"
PHOTO = pictures.jpeg(pictures.photo())

LOSE_LEASES = "UPDATE tryon_sessions SET lease_until = now() WHERE status = 'processing'"
EXPIRE_ALL = "UPDATE tryon_sessions SET expires_at = now() - interval '1 hour'"

POLL_S = 0.03

T = TypeVar("T")


def wait_for(condition: Callable[[], T | None], *, within_s: float = 20) -> T:
    """What the condition says as soon as it says something true; a failure when it never does.

    within_s: on a machine with a core for each process; see `patient`.
    """
    began = time.monotonic()
    while not (said := condition()):
        if time.monotonic() - began > patient(within_s):
            pytest.fail(f"waited {within_s} s in vain")
        time.sleep(POLL_S)
    return said


def files_in(folder: Path) -> list[str]:
    """Every file below a folder, by its path there."""
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir())


def outcomes(outcome: str) -> float:
    """How many attempts of this process ended so."""
    labels = {"engine": "mock", "outcome": outcome}
    return REGISTRY.get_sample_value("tryonai_jobs_total", labels) or 0


def alive(process: psutil.Process) -> bool:
    """Whether it runs; in a container nobody may collect the dead."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Shopper:
    """Who uses one server. http: a client with the server's address as its base."""

    def __init__(self, http: httpx.Client, token: str = TOKEN) -> None:
        self.http = http
        self.token = token
        self.headers = {"X-User-Token": token}

    def post(self, **fields: object) -> httpx.Response:
        return self.http.post(
            URL,
            files={"person_image": ("me.jpg", PHOTO, "image/jpeg")},
            data={"user_token": self.token, **{k: str(v) for k, v in fields.items()}},
        )

    def submit(self, **fields: object) -> str:
        answer = self.post(**fields)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def get(self, path: str = "") -> httpx.Response:
        return self.http.get(f"{URL}{path and '/'}{path}", headers=self.headers)

    def see(self, session_id: str) -> dict[str, Any]:
        answer = self.get(session_id)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def wait(self, session_id: str, status: str, *, within_s: float = 20) -> dict[str, Any]:
        """The session, once it is in that state."""

        def seen() -> dict[str, Any] | None:
            session = self.see(session_id)
            assert session["status"] in (status, "created", "processing"), session
            return session if session["status"] == status else None

        return wait_for(seen, within_s=within_s)

    def delete(self, session_id: str = "") -> httpx.Response:
        return self.http.delete(f"{URL}{session_id and '/'}{session_id}", headers=self.headers)

    def health(self) -> httpx.Response:
        return self.http.get("/api/health")


class Program:
    """One of our commands, running. text: what it has printed and logged."""

    def __init__(
        self, *arguments: str, environment: dict[str, str], output: Path, **options: Any
    ) -> None:
        self._output = output
        output.touch()
        # From a process that has our modules in memory: 0.05 s instead of 1.5 s for each.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["pytest", "tests.flows.program"])
        self._process = context.Process(
            target=program.run, args=(arguments, environment, output), kwargs=options
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def text(self) -> str:
        return self._output.read_text()

    @property
    def ended(self) -> bool:
        return self._process.exitcode is not None

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()
        self.wait()

    def wait(self, within_s: float = 20) -> int:
        """The exit status; minus the signal's number when one ended it."""
        self._process.join(patient(within_s))
        assert self._process.exitcode is not None, f"runs after {within_s} s: {self.text}"
        return self._process.exitcode

    def close(self) -> None:
        if not self.ended:
            self.kill()
        self._process.close()


class Server(Program):
    """`serve`, and a shopper who uses it."""

    def ready(self, *, within_s: float = 30) -> Server:
        """Wait until it answers."""

        def address() -> re.Match[str] | None:
            assert not self.ended, self.text
            return re.search(r"page +(http://\S+)/\n", self.text)

        # To read whom TLS may trust takes 30 ms of CPU, and there is none.
        url = wait_for(address, within_s=within_s)[1]
        http = httpx.Client(base_url=url, timeout=20, verify=False)
        self.shopper = Shopper(http)
        return self

    def close(self) -> None:
        super().close()
        if hasattr(self, "shopper"):
            self.shopper.http.close()


class Knocking:
    """Asks what needs neither Redis nor the database: for how long does the loop stand still?"""

    def __init__(self, server: Server) -> None:
        self._address = str(server.shopper.http.base_url)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._knock)
        self.longest_s = 0.0

    def _knock(self) -> None:
        with httpx.Client(base_url=self._address) as http:
            while not self._over.wait(0.01):
                began = time.monotonic()
                assert http.get("/api/health/live").status_code == 200
                self.longest_s = max(self.longest_s, time.monotonic() - began)

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


class Run(Protocol):
    def __call__(
        self,
        *arguments: str,
        dies_at: str | None = None,
        grace_s: float | None = None,
        ends_before_loop: bool = False,
        **settings: object,
    ) -> Program: ...


class Serve(Protocol):
    def __call__(
        self,
        *,
        dies_at: str | None = None,
        grace_s: float | None = None,
        ends_before_loop: bool = False,
        **settings: object,
    ) -> Server: ...


def environment(tmp_path: Path, **settings: object) -> dict[str, str]:
    """Of a quick, predictable installation; a setting of None is left out."""
    names = ("PATH", "HOME", "TMPDIR", "OPENBLAS_NUM_THREADS")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    values = {
        "data_dir": tmp_path / "data",
        "storage": tmp_path / "uploads",
        "secret_key": SECRET,
        "engine": "mock",
        "engines": "mock",
        "mock_seconds": 0,
        "mock_failure_rate": 0,
        "lease_seconds": 10,
        "rate_limit_enabled": False,
        **settings,
    }
    return kept | {k.upper(): str(v) for k, v in values.items() if v is not None}


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Iterator[Run]:
    """Start a command with these settings, on the test's database; it is gone after the test."""
    numbers = count(1)
    with ExitStack() as stack:

        def start(
            *arguments: str,
            dies_at: str | None = None,
            grace_s: float | None = None,
            ends_before_loop: bool = False,
            **settings: object,
        ) -> Program:
            kind = Server if arguments[0] in ("serve", "cluster") else Program
            started = kind(
                *arguments,
                environment=environment(tmp_path, **{"database_url": database_url, **settings}),
                output=tmp_path / f"{arguments[0]}-{next(numbers)}.log",
                dies_at=dies_at,
                grace_s=grace_s,
                ends_before_loop=ends_before_loop,
            )
            stack.callback(started.close)
            return started

        yield start


@pytest.fixture
def serve(run: Run) -> Serve:
    """Start a server; call `ready()` before its shopper."""

    def start(**options: Any) -> Server:
        server = run("serve", "--port", "0", **options)
        assert isinstance(server, Server)
        return server

    return start


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.close()


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


class Follower(Leader):
    """Leads nobody, and holds no connection for it."""

    def leads(self) -> bool:
        return False


class House:
    """One server for a file's tests, each of which finds its database and its folder empty.

    It does nothing by itself: no worker, so that what is created keeps waiting; neither purges nor
    takes back nor calls, because the tests do, and found at times that it had been quicker, or just
    held the row.
    """

    def __init__(self, databases: Databases, folder: Path) -> None:
        self._databases = databases
        self.folder = folder
        self._open = ExitStack()
        self._client: TestClient | None = None
        self.url = ""
        self._begin()

    def _begin(self) -> None:
        self.url = self._open.enter_context(self._databases.one())
        self._client = None

    @property
    def client(self) -> TestClient:
        """It starts when it is asked for, and again after a test that has left a trace."""
        settings = settings_of_tests(
            self.url, self.folder, lease_seconds=3 * 3600, webhook_delivery=False
        )
        if self._client is None:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(runtime, "Leader", Follower)
                app = TestClient(create_app(settings), raise_server_exceptions=False)
                self._client = self._open.enter_context(app)
        # Others that ran since have sent all logging elsewhere.
        logs.configure(style=settings.log_format, level=settings.log_level)
        return self._client

    def empty(self) -> None:
        """Make room for the next test."""
        for entry in self.folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        try:
            as_new = self._databases.empty(self.url)
        except psycopg2.Error:
            as_new = False
        if not as_new:
            self.close()
            self._begin()

    def close(self) -> None:
        self._open.close()


@pytest.fixture(scope="module")
def house(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    one = House(databases, tmp_path_factory.mktemp("house"))
    yield one
    one.close()


@pytest.fixture
def in_house(request: pytest.FixtureRequest) -> Iterator[House | None]:
    """Where the test's shopper is: other programs and files of the test are there, too."""
    if "shopper" not in request.fixturenames:
        yield None
        return
    house: House = request.getfixturevalue("house")
    yield house
    house.empty()


@pytest.fixture
def database_url(in_house: House | None, databases: Databases) -> Iterator[str]:
    """An empty database; the house's, for tests with a shopper."""
    if in_house is not None:
        yield in_house.url
        return
    with databases.one() as url:
        yield url


@pytest.fixture
def tmp_path(in_house: House | None, tmp_path: Path) -> Path:
    """An empty folder; the house's, for tests with a shopper."""
    return tmp_path if in_house is None else in_house.folder


@pytest.fixture
def shopper(in_house: House, database_url: str) -> Iterator[Shopper]:
    """Uses a server without a worker: what is created keeps waiting."""
    in_house.client.headers.clear()
    client = in_house.client
    headers = client.headers.copy()
    yield Shopper(client)
    client.headers = headers
    structlog.reset_defaults()


Sql = Callable[..., Any]


@pytest.fixture
def sql(db: Db) -> Sql:
    """Execute one statement in the test's database; its rows, where it has some."""

    def execute(statement: str, **values: object) -> Any:
        with db.begin() as tx:
            result = tx.execute(text(statement), values)
            return (
                result.all() if isinstance(result, CursorResult) and result.returns_rows else None
            )

    return execute


class Hooked(LocalStorage):
    """A local storage with something to happen at its steps; each hook is given the key."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.before_put: Callable[[str], object] = lambda _: None
        self.after_put: Callable[[str], object] = lambda _: None
        self.before_delete: Callable[[str], object] = lambda _: None

    def put(self, key: str, data: bytes) -> None:
        self.before_put(key)
        super().put(key, data)
        self.after_put(key)

    def delete_prefix(self, prefix: str) -> int:
        self.before_delete(prefix)
        return super().delete_prefix(prefix)

    def delete(self, key: str) -> None:
        self.before_delete(key)
        super().delete(key)


@contextmanager
def losing_the_answer(
    db: Db, of: Callable[[TryOnSession], object], then: Callable[[], object] = lambda: None
) -> Iterator[list[UUID]]:
    """The connection breaks once, between a commit by the database and its answer.

    of: which rows make a commit the one. then: what happens at the same moment.
    Yields the sessions that were committed by it.
    """
    lost: list[UUID] = []

    def note(session: Session, *_: object) -> None:
        written = select(TryOnSession).where(text("xmin = pg_current_xact_id()::xid"))
        rows = list(session.scalars(written.execution_options(populate_existing=True)))
        session.info["committing"] = [row.id for row in rows if of(row)]

    def lose(session: Session) -> None:
        found = session.info.pop("committing", [])
        if found and not lost:
            lost.extend(found)
            then()
            raise OperationalError("COMMIT", {}, psycopg2.OperationalError("connection closed"))

    hooks: list[tuple[str, Callable[..., None]]] = [("before_commit", note), ("after_commit", lose)]
    with ExitStack() as stack:
        for name, hook in hooks:
            event.listen(db, name, hook)
            stack.callback(event.remove, db, name, hook)
        yield lost


KEYRING = Keyring([SECRET])
VAULT = Vault(KEYRING.wrapping, encrypt=True)
ISSUER = Issuer(KEYRING.receipt_seeds, keep=timedelta(days=100))
"""What opens and makes the keys of the tests' sessions."""


class Nobody:
    """A doorbell that nobody hears."""

    def notify(self, session_id: UUID, *, engine: str, after_s: float = 0) -> None:
        pass


@contextmanager
def working(
    db: Db,
    storage: Storage,
    *,
    seconds: float = 0,
    faults: tuple[str, ...] = (),
    concurrency: int = 1,
    lease_s: float = 30,
    engine: str = "mock",
    others: tuple[str, ...] = (),
    memory_mb: int = 2048,
    retry_s: float = 0.1,
    bell: Bell | None = None,
    told: bool = False,
) -> Iterator[Worker]:
    """A worker of its own in this process; it looks by itself, since nobody rings.

    engine: the default one, with `others` beside it. told: it does only what it is told.
    """
    options = {"mock": {"seconds": seconds, "failure_rate": 0, "faults": faults}}
    limits = WorkerLimits(
        concurrency=concurrency,
        lease_s=lease_s,
        max_attempts=3,
        retry_s=retry_s,
        timeout_s=60,
        memory_mb=memory_mb,
    )
    bell = bell or Bell()
    specs = {name: find(name, options.get(name)) for name in (engine, *others)}
    engines = {
        name: WarmPool(spec, memory_mb=memory_mb, slots=concurrency) for name, spec in specs.items()
    }
    attempts = Attempts(
        db,
        storage,
        bell,
        engines,
        egress=EgressRules(dict.fromkeys(engines), ()),
        vault=VAULT,
        leases=db,
        limits=limits,
    )
    worker = Worker(attempts, None if told else bell, engines, default_engine=engine, limits=limits)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop(grace_s=0)
