"""The parts of one running process: the only place that picks implementations."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import structlog
from anyio import CapacityLimiter
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from app import __version__, crud, reports, tracing
from app.config import Settings
from app.database import Db, engine_of, has_schema, migrate, on_commit, open_db, open_reads
from app.engines import registry
from app.engines.pool import EnginePool
from app.engines.registry import OfferedEngine, Table
from app.errors import DatabaseUnavailable, SettingsError
from app.postgres import EmbeddedPostgres
from app.services import rotation
from app.services.attempts import Attempts, WorkerLimits
from app.services.buckets import Bucket
from app.services.cleanup import Scheduler
from app.services.cloudinary import Account, CloudinaryStorage
from app.services.crypto import Vault
from app.services.egress import EgressRules
from app.services.events import Events
from app.services.gauges import Workers
from app.services.idempotency import Running
from app.services.images import ImageLimits
from app.services.leader import Leader
from app.services.polls import Polls
from app.services.pubsub import PubSub
from app.services.queue import Bell, Broker, Queue
from app.services.receipts import Issuer
from app.services.receivers import Caller, Receivers
from app.services.session_cache import SessionCache
from app.services.sessions import Door
from app.services.storage import Access, LocalStorage, Storage
from app.services.waits import Waits
from app.services.webhooks import LOOKUPS, Courier
from app.services.worker import Worker
from app.signing import Keyring

log = structlog.get_logger(__name__)

# SIGTERM finishes or releases within 15 s; the rest is for answers under way and the database.
WORKER_GRACE_S = 10.0
# A session is taken over a lease and this after its worker died, at the latest.
RECOVER_EVERY_S = 5.0

# What else than a folder `doctor` looks into; of other stores it is not known how.
EXAMINED = ("s3://", "cloudinary://")

# Creates at once: decoding is bound by the cores, and by a lock for large pictures.
UPLOAD_THREADS = 4


@dataclass
class Runtime:
    """Everything that a use case is given.

    db, reads: the same database; `reads` is for single statements that change nothing.
    pubsub: where news go over Redis. workers: who is alive on all hosts, as far as is known.
    cache: of sessions, for polls that do not wait; None where every poll reads the database.
    engines: those that may be asked for, the default one first.
    """

    settings: Settings
    keyring: Keyring
    url: str
    embedded: EmbeddedPostgres | None
    db: Db
    reads: Db
    polls: Polls
    waits: Waits
    storage: Storage
    vault: Vault
    issuer: Issuer
    engines: dict[str, OfferedEngine]
    queue: Queue
    broker: Broker | None
    bell: Bell
    door: Door
    running: Running
    workers: Workers
    receivers: Receivers
    egress: EgressRules
    upload_threads: CapacityLimiter
    worker: Worker | None = None
    courier: Courier | None = None
    events: Events | None = None
    pubsub: PubSub | None = None
    scheduler: Scheduler | None = None
    cache: SessionCache | None = None
    _databases: Sequence[Db] = ()
    _migrated: bool = False
    _preparing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def default_engine(self) -> str:
        return next(iter(self.engines))

    @property
    def retention(self) -> timedelta:
        return timedelta(hours=self.settings.retention_hours)

    @property
    def webhook_keys(self) -> Sequence[bytes]:
        return self.settings.webhook_keys or self.keyring.webhook_keys

    @property
    def image_limits(self) -> ImageLimits:
        return image_limits(self.settings)

    def prepare(self) -> None:
        """Bring the database up, if it is ours, and its schema up to date. May be called again.

        Raises DatabaseUnavailable.
        """
        with self._preparing:
            if self.embedded is not None:
                self.embedded.start()
            # Looked at again: somebody may have removed the folder of an embedded database.
            if not self._migrated or not has_schema(self.db):
                migrate(self.db)
                self._migrated = True

    def close_connections(self) -> None:
        """Of a process that only looks after others."""
        for db in self._databases:
            engine_of(db).dispose()

    def leave_connections(self) -> None:
        """In a process that was forked from the one that opened this: forget its connections.

        They are not closed, which would tell the database of it on the other's behalf. Tried
        without: of 60 tasks in two children 7 read another one's row, and 9 failed.
        """
        for db in self._databases:
            engine_of(db).dispose(close=False)

    def check_prepared(self) -> None:
        """Raises DatabaseUnavailable until the schema is up to date."""
        if not self._migrated:
            raise DatabaseUnavailable("The database is being prepared. Try again in a moment.")


def image_limits(settings: Settings) -> ImageLimits:
    return ImageLimits(
        max_bytes=settings.max_file_bytes, max_pixels=int(settings.max_megapixels * 1_000_000)
    )


def storage_of(settings: Settings) -> Storage:
    """What STORAGE names. Raises SettingsError."""
    if settings.storage_folder is not None:
        return LocalStorage(settings.storage_folder)
    if settings.storage.startswith("cloudinary://"):
        return _cloudinary_of(settings)
    from app.services.objects import ObjectStorage  # noqa: PLC0415 - a laptop has no client for it

    return ObjectStorage(settings.storage, storage_access(settings))


def _cloudinary_of(settings: Settings) -> CloudinaryStorage:
    key, secret = settings.cloudinary_api_key, settings.cloudinary_api_secret
    if key is None or secret is None:
        raise SettingsError(
            "A cloudinary:// STORAGE needs CLOUDINARY_API_KEY and CLOUDINARY_API_SECRET."
        )
    account = Account(
        key=key.get_secret_value(),
        secret=secret.get_secret_value(),
        api_url=settings.cloudinary_api_url,
    )
    return CloudinaryStorage(settings.storage, account, timeout_s=settings.storage_timeout)


def faults_of_store(settings: Settings) -> list[str]:
    """What of a store that is EXAMINED would break a promise, a sentence each.

    Raises StorageUnavailable and SettingsError.
    """
    if settings.storage.startswith("cloudinary://"):
        return _cloudinary_of(settings).faults()
    faults = bucket_of(settings).faults()
    return [*faults, "`python -m app storage init` mends what can be."] if faults else []


def bucket_of(settings: Settings) -> Bucket:
    """The bucket that STORAGE names. Raises SettingsError where it names none of S3."""
    retention = timedelta(hours=settings.retention_hours)
    return Bucket(settings.storage, storage_access(settings), retention=retention)


def storage_access(settings: Settings) -> Access:
    return Access(
        timeout_s=settings.storage_timeout,
        endpoint=settings.aws_endpoint_url,
        region=settings.aws_region,
        key_id=_revealed(settings.aws_access_key_id),
        secret=_revealed(settings.aws_secret_access_key),
        session_token=_revealed(settings.aws_session_token),
    )


def _revealed(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def offered_engine(word: str, settings: Settings) -> OfferedEngine:
    """The engine that a word of ENGINES means, with what the settings give it.

    Raises SettingsError, also where its licences do not suit.
    """
    tables = registry.read_tables(settings.engines_file)
    table = tables.get(word)
    if table is not None and table.engine == registry.CHAIN:
        return _chain(word, table, tables, settings)
    spec = registry.find(
        word,
        _engine_options(tables[word].engine if word in tables else word, settings),
        tables=tables,
        preflight=settings.weights_dir,
    )
    offered = registry.offer(spec, named=word in tables)
    if not settings.allow_noncommercial:
        registry.check_licences(offered)
    return offered


def _chain(
    word: str, table: Table, tables: Mapping[str, Table], settings: Settings
) -> OfferedEngine:
    words = table.options.get("engines", ())
    if not isinstance(words, list) or not all(isinstance(one, str) for one in words):
        raise SettingsError(f'engine "{word}": options.engines must be a list of words')
    for one in words:
        if one in tables and tables[one].engine == registry.CHAIN:
            raise SettingsError(f'engine "{word}": "{one}" is a chain, too; name its engines')
    steps = [offered_engine(one, settings) for one in words]
    return registry.chain(word, table, steps, timeout_s=settings.engine_timeout)


def offered_engines(settings: Settings) -> dict[str, OfferedEngine]:
    """The engines of the settings by their names in the API, the default one first.

    A default that is not among ENGINES is replaced by their first. Raises SettingsError.
    """
    words = list(dict.fromkeys(settings.engines))
    if not words:
        raise SettingsError("ENGINES is empty: name at least one engine.")
    offered: dict[str, OfferedEngine] = {}
    default = None
    for word in words:
        one = offered_engine(word, settings)
        name = one.info.name
        if name in offered:
            raise SettingsError(
                f'ENGINES: two are called "{name}". Give one another name, as a table of '
                "ENGINES_FILE."
            )
        offered[name] = one
        if settings.engine in (word, name):
            default = name
    if default is None:
        default = next(iter(offered))
        log.warning("engine.replaced", engine=settings.engine, by=default)
    return {default: offered[default], **offered}


def egress_rules(settings: Settings, engines: Mapping[str, OfferedEngine]) -> EgressRules:
    declared = {name: offered.info.egress for name, offered in engines.items()}
    return EgressRules(declared, frozenset(settings.allowed_egress))


def _broker(settings: Settings) -> Broker | None:
    if settings.task_queue != "celery":
        return None
    from app.services.broker import make_ringer  # noqa: PLC0415 - a laptop has no such packages

    return make_ringer(broker_url(settings))


def broker_url(settings: Settings) -> str:
    """Raises SettingsError."""
    if settings.redis_url is None:
        raise SettingsError("TASK_QUEUE=celery needs REDIS_URL, its broker.")
    return settings.redis_url.get_secret_value()


def _pubsub(settings: Settings, keyring: Keyring, url: str) -> PubSub | None:
    if settings.events != "redis":
        return None
    if settings.redis_url is None:
        raise SettingsError("EVENTS=redis needs REDIS_URL, over which news go then.")
    name = f"tryonai:{make_url(url).database}"
    return PubSub(settings.redis_url.get_secret_value(), name=name, keys=keyring.news)


def _workers(pubsub: PubSub | None, reads: Db) -> Workers:
    if pubsub is not None:
        return pubsub.workers

    def workers() -> list[str]:
        with reads() as tx:
            return crud.worker_names(tx)

    return workers


def _session_cache(settings: Settings, keyring: Keyring) -> SessionCache | None:
    if settings.session_cache != "redis":
        return None
    if settings.redis_url is None:
        raise SettingsError("SESSION_CACHE=redis needs REDIS_URL, where sessions are kept then.")
    return SessionCache(
        settings.redis_url.get_secret_value(),
        keyring.caching,
        keep_s=settings.session_cache_seconds,
    )


def _open_telling(
    url: str, *, pool_size: int, cache: SessionCache | None, pubsub: PubSub | None
) -> Db:
    """A database whose changes all processes hear of, and who keeps something of it at once."""
    db = open_db(url, pool_size=pool_size, notifies=pubsub is None)
    if cache is not None:  # first: who hears the news may ask at once
        on_commit(db, cache.hear, settle=cache.settle)
    if pubsub is not None:
        on_commit(db, pubsub.tell)
    return db


@contextmanager
def open_runtime(settings: Settings) -> Iterator[Runtime]:
    """The parts, without any that runs by itself; for commands, and as the base of `serving`."""
    keyring = Keyring(settings.secrets)
    embedded = None
    url = settings.sqlalchemy_url
    with ExitStack() as stack:
        if url is None:
            embedded = EmbeddedPostgres(settings.data_dir / "postgres")
            embedded.start()
            stack.callback(embedded.stop)
            url = embedded.url
        pubsub = _pubsub(settings, keyring, url)
        cache = _session_cache(settings, keyring)
        if cache is not None:
            stack.callback(cache.close)
        db = _open_telling(url, pool_size=settings.database_pool_size, cache=cache, pubsub=pubsub)
        stack.callback(engine_of(db).dispose)
        if pubsub is not None:
            stack.callback(pubsub.stop)
        reads = open_reads(url, pool_size=settings.database_pool_size)
        stack.callback(engine_of(reads).dispose)
        locks = open_reads(url, pool_size=1)
        stack.callback(engine_of(locks).dispose)
        bell = Bell()
        engines = offered_engines(settings)
        # Who waits for a change is told of it by news, which may be here before the cache has heard
        # of it.
        shared = Polls(reads, behind=cache)
        broker = _broker(settings)
        yield Runtime(
            settings=settings,
            keyring=keyring,
            url=url,
            embedded=embedded,
            db=db,
            reads=reads,
            polls=shared if cache is None else Polls(reads, cache),
            waits=Waits(shared, reads),
            cache=cache,
            storage=storage_of(settings),
            vault=Vault(keyring.wrapping, encrypt=settings.encrypt_pictures),
            issuer=Issuer(
                keyring.receipt_seeds, keep=timedelta(days=settings.receipt_retention_days)
            ),
            engines=engines,
            queue=broker or bell,
            broker=broker,
            door=Door(settings.queue_limit),
            running=Running(locks if pubsub is None else None),
            workers=_workers(pubsub, reads),
            pubsub=pubsub,
            _databases=(db, reads, locks),
            egress=egress_rules(settings, engines),
            receivers=Receivers(private=settings.webhook_allow_private),
            upload_threads=CapacityLimiter(UPLOAD_THREADS),
            bell=bell,
        )


@contextmanager
def serving(settings: Settings, *, concurrency: int, told: bool = False) -> Iterator[Runtime]:
    """A runtime whose worker, clock and ear for news run until the block ends.

    concurrency: slots of the worker; 0 for a process that only answers. Where a broker's messages
        go to other processes there are none.
    told: the worker is the caller's to tell of sessions, one at a time.
    A database that is away at the start is waited for; requests get 503 meanwhile.
    """
    with (
        reports.reporting(_text(settings.sentry_dsn), release=__version__),
        tracing.exporting(__version__),
        open_runtime(settings) as runtime,
        ExitStack() as stack,
    ):
        try:
            runtime.prepare()
        except DatabaseUnavailable as exc:
            log.warning("database.away", reason=exc.detail, notes=exc.notes)
        else:
            rotation.check_newest(runtime.reads, runtime.vault)
        if runtime.broker is not None:
            runtime.broker.start()
            stack.callback(runtime.broker.stop)
        if told or (concurrency and runtime.broker is None):
            leases = _open_telling(
                runtime.url, pool_size=1, cache=runtime.cache, pubsub=runtime.pubsub
            )
            stack.callback(engine_of(leases).dispose)
            runtime.worker = _worker(runtime, concurrency, leases, told=told)
        if settings.webhook_delivery:
            runtime.courier = _courier(runtime)
        runtime.events = _events(runtime)
        if runtime.courier is not None:
            runtime.courier.start()
            stack.callback(runtime.courier.stop)
        runtime.events.start()
        stack.callback(runtime.events.stop)
        if runtime.pubsub is not None:
            runtime.pubsub.listen(
                runtime.events.hear,
                on_return=runtime.events.has_returned,
                present=None if runtime.worker is None else runtime.worker.name,
            )
        leading = open_reads(runtime.url, pool_size=1)
        stack.callback(engine_of(leading).dispose)
        runtime.scheduler = _scheduler(runtime, Leader(leading))
        runtime.scheduler.start()
        stack.callback(runtime.scheduler.stop)
        if runtime.worker is not None:
            runtime.worker.start()
            stack.callback(runtime.worker.stop, grace_s=WORKER_GRACE_S)
        yield runtime


def _engine_options(name: str, settings: Settings) -> dict[str, object]:
    if name == "mock":
        return {
            "seconds": settings.mock_seconds,
            "failure_rate": settings.mock_failure_rate,
            "faults": settings.mock_faults,
        }
    if name == "warp":
        return {"weights_dir": settings.weights_dir, "person_parser": settings.person_parser}
    if name == "fashn":
        return {"weights": settings.weights_dir / "fashn-vton-1.5"}
    return {}


def _worker(runtime: Runtime, concurrency: int, leases: Db, *, told: bool) -> Worker:
    settings = runtime.settings
    limits = WorkerLimits(
        concurrency=concurrency,
        lease_s=settings.lease_seconds,
        max_attempts=settings.max_attempts,
        timeout_s=settings.engine_timeout,
        memory_mb=settings.engine_memory_mb,
    )
    pools = {
        name: EnginePool(offered.spec, memory_mb=limits.memory_mb, slots=concurrency)
        for name, offered in runtime.engines.items()
    }
    attempts = Attempts(
        runtime.db,
        runtime.storage,
        runtime.queue,
        pools,
        egress=runtime.egress,
        vault=runtime.vault,
        leases=leases,
        limits=limits,
    )
    return Worker(
        attempts,
        None if told else runtime.bell,
        pools,
        default_engine=runtime.default_engine,
        limits=limits,
    )


def _courier(runtime: Runtime) -> Courier:
    private = runtime.settings.webhook_allow_private
    return Courier(
        runtime.db,
        runtime.vault,
        # With lookups of its own: what creates name must not hold up deliveries.
        Caller(Receivers(private=private, lookups=LOOKUPS)),
        keys=runtime.webhook_keys,
        before_call=_forgetting(runtime.cache),
        clock=time.time,
        user_agent=f"TryOnAI/{__version__}",
    )


def _forgetting(cache: SessionCache | None) -> Callable[[UUID], object]:
    if cache is None:
        return lambda _: None
    return lambda session_id: cache.forget([session_id])


def _events(runtime: Runtime) -> Events:
    events = Events(
        runtime.url,
        present=None if runtime.worker is None else runtime.worker.name,
        revive=runtime.prepare,
        listens=runtime.pubsub is None,
    )
    for news in (crud.News.CREATED, crud.News.CHANGED, crud.News.ERASED):
        events.on(news, runtime.waits.hear)
    events.on(crud.News.PROGRESS, runtime.waits.hear_progress)
    events.on_return(runtime.waits.look)
    if runtime.courier is not None:
        events.on(crud.News.DELIVERY, runtime.courier.notify)
        events.on(crud.News.ERASED, runtime.courier.cancel)
        events.on_return(runtime.courier.ring)
    if runtime.worker is not None:
        events.on(crud.News.CREATED, runtime.bell.hear)
        events.on(crud.News.ERASED, runtime.worker.cancel)
        events.on_return(runtime.bell.ring)
    return events


def _scheduler(runtime: Runtime, leader: Leader) -> Scheduler:
    settings = runtime.settings
    return Scheduler(
        runtime.db,
        runtime.storage,
        runtime.issuer,
        runtime.queue,
        purge_every=timedelta(minutes=settings.purge_interval_minutes),
        recover_every=timedelta(seconds=min(RECOVER_EVERY_S, settings.lease_seconds / 3)),
        max_attempts=settings.max_attempts,
        leader=leader,
        broker=runtime.broker,
    )


def _text(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()
