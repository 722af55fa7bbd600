"""The command line: `python -m app COMMAND`; `--help` lists them.

Exit status: 0 done, 1 failed with a sentence that says what to change, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import sys
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from app import __version__, logs
from app.config import Settings, load_settings
from app.engines import CATEGORIES, MODES, PHOTO_TYPES
from app.errors import DatabaseUnavailable, TryOnError

if TYPE_CHECKING:
    from app.crud import InWork
    from app.runtime import Runtime
    from app.schemas import Part
    from app.services.cleanup import SweepReport

# What a client may take for an answer that is under way when the server ends.
CLOSE_CONNECTIONS_S = 3

MANY_FILES = 16_384


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    command: Callable[[Settings, argparse.Namespace], int] = options.command
    try:
        settings = load_settings()
        logs.configure(style=settings.log_format, level=settings.log_level)
        return command(settings, options)
    except TryOnError as exc:
        print(f"tryonai: {exc.detail}", file=sys.stderr)
        for note in exc.notes:
            print(textwrap.indent(note, "  "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Self-hosted virtual try-on")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[..., int], text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(command=command)
        return one

    serving = add("serve", serve, "start the server, with its worker and its database")
    serving.add_argument("--host", help="instead of HOST")
    serving.add_argument(
        "--port", type=_between(0, 65535), help="instead of PORT; 0 takes any free one"
    )
    serving.add_argument(
        "--workers", type=_between(1, 256), default=1, help="processes that answer, instead of one"
    )
    for name in ("--listener", "--child"):  # how those are started
        serving.add_argument(name, help=argparse.SUPPRESS)
    working = add("worker", work, "work off sessions, without answering HTTP")
    working.add_argument(
        "--concurrency", type=_between(1, 64), help="slots, instead of WORKER_CONCURRENCY"
    )
    working.add_argument("--engines", type=_words, help="instead of ENGINES, comma-separated")
    purging = add("purge", purge, "erase what has expired, once; for cron")
    purging.add_argument("--sweep", action="store_true", help="also make files and rows agree")
    add("rotate-keys", rotate_keys, "wrap the keys of all sessions under the first SECRET_KEY")
    showing = add("cluster", cluster, "start a whole cluster on this machine, to look at")
    showing.add_argument(
        "--demo", action="store_true", required=True, help="it is for looking at, not for use"
    )
    showing.add_argument("--port", type=_between(0, 65535), help="instead of PORT")
    add("queues", queues, "show what waits, the workers, and what each is doing")
    telling = add("webhooks", webhooks, "show the webhooks of live sessions, newest first")
    telling.add_argument("--limit", type=_between(1, 100_000), default=100)
    telling.add_argument(
        "--secret", action="store_true", help="print what receivers check signatures with"
    )
    auditing = add("audit", audit, "look whether what is stored is as it was promised")
    auditing.add_argument("--json", action="store_true", help="counts and findings as JSON")
    checking = add("verify-receipt", verify_receipt, "check receipts of erasures, offline")
    checking.add_argument("file", help="one receipt, or several as the API gives them; - for stdin")
    checking.add_argument(
        "--keys", type=Path, metavar="FILE", help="a saved key set, instead of this installation's"
    )
    checking.add_argument("--session", metavar="ID", help="also whether it is of this session")
    storing = add("storage", storage_init, "prepare the bucket of an s3:// STORAGE")
    storing.add_argument(
        "what", choices=["init"], help="make it, suspend versioning, set a life cycle; may be rerun"
    )
    add("init-db", init_db, "prepare the database; may be run again")
    _add_try(add("try", try_on, "run an engine on files or folders, without a server"))
    _add_evaluate(add("evaluate", evaluate, "compare engines on pairs of pictures of yours"))
    _add_engine(add("engine", check_engine, "see whether an engine keeps the contract"))
    doctoring = add("doctor", doctor, "check every part and say what to do")
    doctoring.add_argument("--json", action="store_true", help="print what is in force as JSON")
    return parser


def _add_try(trying: argparse.ArgumentParser) -> None:
    add = trying.add_argument
    add("person", type=Path, help="a photo, or a folder of them")
    add("garment", type=Path, help="a picture, or a folder of them")
    add("-o", "--output", type=Path, help="the file to write; with folders, a folder")
    add("--sheet", type=Path, help="all of it in one picture: persons down, garments across")
    add("--cell-height", type=_between(64, 2048), help="of a picture on it, pixels", default=400)
    add("--debug", type=Path, metavar="FOLDER", help="write there what each stage makes")
    add("--category", choices=("auto", *CATEGORIES), default="auto")
    add("--garment-photo-type", choices=("auto", *PHOTO_TYPES), default="auto")
    add("--mode", choices=MODES, default="balanced")
    add("--seed", type=_between(0, 2**32 - 1), default=0)
    add("--engine", help="instead of ENGINE; any, also package.module:Class")


def _add_evaluate(evaluating: argparse.ArgumentParser) -> None:
    add = evaluating.add_argument
    add("--pairs", type=Path, required=True, help="a folder laid out as VITON-HD or DressCode")
    add("--engines", help="words as in ENGINES, comma-separated; all of ENGINES without")
    add("--output", type=Path, required=True, help="the folder for the table and the sheets")
    add("--limit", type=_between(1, 100_000), default=50, help="pairs at most, from all over")
    add("--setting", choices=("paired", "unpaired"), help="people in what they wear, or in others'")
    add(
        "--metric-weights",
        type=Path,
        metavar="FOLDER",
        help="with checkpoints/, for LPIPS, FID and KID, see docs/engines.md; nothing is fetched",
    )
    add("--pay", action="store_true", help="also engines that send pictures elsewhere")


def _add_engine(engine: argparse.ArgumentParser) -> None:
    actions = engine.add_subparsers(required=True, metavar="ACTION")
    text = "run the conformance checks on an engine, in a process as the server's"
    checking = actions.add_parser("check", help=text, description=text)
    checking.add_argument("engine", help="a word as in ENGINES, also package.module:Class")
    checking.add_argument(
        "--report", type=Path, metavar="FILE", help="findings and pictures as one HTML page"
    )
    checking.add_argument(
        "--pay",
        action="store_true",
        help="also one that sends pictures elsewhere: some thirty runs, which may cost money",
    )


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _between(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"use a number from {least} to {most}")
        return int(text)

    return read


def serve(settings: Settings, options: argparse.Namespace) -> int:
    """Answer HTTP until SIGTERM or Ctrl-C; then finish or release what is in work."""
    host = options.host or settings.host
    port = settings.port if options.port is None else options.port
    if options.child is not None:
        listener = socket.socket(fileno=int(options.listener))
        return _serve(settings, listener, on_ready=_supervised(options.child))
    listener = _listen(host, port)

    def announce() -> None:
        _print_addresses(host, listener.getsockname()[1])

    if options.workers > 1:
        return _serve_many(settings, listener, options.workers, on_ready=announce)
    return _serve(settings, listener, on_ready=announce)


def _supervised(pipes: str) -> Callable[[], None]:
    from app import supervisor

    return supervisor.attach(pipes)


def _serve_many(
    settings: Settings, listener: socket.socket, count: int, *, on_ready: Callable[[], None]
) -> int:
    """The same in several processes, which share the socket; this one only looks after them."""
    from app import metrics_folder, supervisor

    if sys.platform == "win32":
        raise TryOnError("Several processes share a socket on Linux and macOS alone.")
    _allow_files()
    with listener, metrics_folder.shared(settings.data_dir):
        from app.runtime import open_runtime  # now, because what counts must know the folder

        with open_runtime(settings) as runtime:
            # Once, and before they start; an embedded database is kept for as long as they run.
            with suppress(DatabaseUnavailable):
                runtime.prepare()
            runtime.close_connections()
            command = supervisor.command_line("serve", f"--listener={listener.fileno()}")
            listening = (listener.fileno(),)
            return supervisor.Supervisor(
                command, count=count, shared=listening, on_ready=on_ready
            ).run()


def _serve(settings: Settings, listener: socket.socket, *, on_ready: Callable[[], None]) -> int:
    import uvicorn

    from app.http import BoundedHttpProtocol
    from app.main import create_app, settle
    from app.runtime import serving

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            settle()
            on_ready()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            runtime.waits.release()  # or the server would wait for them until its patience ends
            await super().shutdown(sockets)

    _allow_files()
    signal.signal(signal.SIGTERM, _end)  # also while we start
    with listener, serving(settings, concurrency=settings.worker_concurrency) as runtime:
        config = uvicorn.Config(
            create_app(settings, runtime),
            http=BoundedHttpProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            # Whose word counts for the client's address is TRUSTED_PROXIES's business alone.
            proxy_headers=False,
            timeout_graceful_shutdown=CLOSE_CONNECTIONS_S,
        )
        server = Server(config)
        # uvicorn takes the signal over once its loop runs. An exception in between would break the
        # loop ("this event loop is already running", exit status 1), so a signal is only noted. And
        # raised again by uvicorn at its end it must not break off what we still have to stop.
        signal.signal(signal.SIGTERM, server.handle_exit)
        server.run(sockets=[listener])
    return 0


def _allow_files() -> None:
    """As many open files as we may have: each poll that waits holds one, and shells allow 1,024."""
    if sys.platform == "win32":
        return
    import resource

    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Not more than anybody needs: some programs walk through all that there could be.
    enough = MANY_FILES if most == resource.RLIM_INFINITY else min(most, MANY_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(allowed, enough), most))


def _end(*_: object) -> None:
    """Unwind from wherever we are; a second signal must not break the unwinding off."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    sys.exit(0)


def work(settings: Settings, options: argparse.Namespace) -> int:
    """Work until SIGTERM or Ctrl-C."""
    if options.engines:
        settings = settings.model_copy(update={"engines": options.engines})
    concurrency = options.concurrency or max(1, settings.worker_concurrency)
    if settings.task_queue == "celery":
        return _work_for_celery(settings, concurrency)
    from app.runtime import serving

    woken, waker = socket.socketpair()
    waker.setblocking(False)
    # Written to as the signal arrives: waiting for an Event would miss one that comes just before.
    signal.set_wakeup_fd(waker.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with ExitStack() as stack:
        for one in (woken, waker):
            stack.enter_context(one)
        if settings.metrics_port is not None:
            stack.enter_context(_metrics(settings, settings.metrics_port))
        stack.enter_context(serving(settings, concurrency=concurrency))
        print(f"Working with {concurrency} slot(s); Ctrl-C ends.", flush=True)
        woken.recv(1)
    return 0


def _work_for_celery(settings: Settings, concurrency: int) -> int:
    from app import metrics_folder

    with ExitStack() as stack:
        stack.enter_context(metrics_folder.shared(settings.data_dir))
        from app import celery_app  # now, because what counts must know the folder

        if settings.metrics_port is not None:
            stack.enter_context(_metrics(settings, settings.metrics_port))
        print(f"Working with {concurrency} process(es); Ctrl-C ends.", flush=True)
        return celery_app.work(settings, concurrency=concurrency)


def _metrics(settings: Settings, port: int) -> AbstractContextManager[object]:
    from app.metrics_server import answering

    listener = _listen(settings.host, port)
    print(f"Metrics: {_base(settings.host, listener.getsockname()[1])}/metrics", flush=True)
    token = settings.metrics_token
    return answering(listener, token=None if token is None else token.get_secret_value())


def purge(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when something could not be erased, or was not tried."""
    from app.runtime import open_runtime
    from app.services import cleanup

    with open_runtime(settings) as runtime:
        runtime.prepare()
        report = cleanup.purge(
            runtime.db, runtime.storage, runtime.issuer, on_progress=_progress("erased")
        )
        if report.ran:
            print(f"sessions erased: {report.sessions}, not erased: {report.failed}")
        else:
            print("Another process is purging already: nothing was erased here.")
        done = report.ran and not report.failed
        if options.sweep:
            swept = cleanup.sweep(runtime.db, runtime.storage, runtime.issuer)
            print(_told(swept))
            done = done and swept.ran and not swept.failed and not swept.wrong_storage
    return 0 if done else 1


def _told(swept: SweepReport) -> str:
    if not swept.ran:
        return "Another process is sweeping already: nothing was swept here."
    if swept.wrong_storage:
        return "No session has its pictures, so nothing was swept: is STORAGE the right folder?"
    return (
        f"files without a row: {swept.files}, rows without files: {swept.rows}, "
        f"not erased: {swept.failed}"
    )


def rotate_keys(settings: Settings, _: argparse.Namespace) -> int:
    """Exit status 1 when a key could not be opened. May be broken off and run again."""
    from app.runtime import open_runtime
    from app.services import rotation

    with open_runtime(settings) as runtime:
        runtime.prepare()
        done = rotation.rotate(runtime.db, runtime.vault, on_progress=_progress("rewrapped"))
    print(f"keys wrapped anew: {done.rewrapped}, not readable: {done.unreadable}")
    return 1 if done.unreadable else 0


def cluster(settings: Settings, options: argparse.Namespace) -> int:
    """Until Ctrl-C or SIGTERM, which end all of it."""
    from app import cluster as clusters
    from app.runtime import open_runtime

    signal.signal(signal.SIGTERM, _end)
    with open_runtime(settings) as runtime:
        runtime.prepare()  # once, before two of them want it
        runtime.close_connections()
        clusters.demo(
            settings.data_dir / "cluster",
            port=settings.port if options.port is None else options.port,
            tell=lambda line: print(line, flush=True),
        )
    return 0


def queues(settings: Settings, _: argparse.Namespace) -> int:
    """A worker without a session is idle; a session without a worker waits for its lease to end."""
    from app import crud
    from app.runtime import open_runtime

    with open_runtime(settings) as runtime:
        runtime.prepare()
        with runtime.reads() as tx:
            waiting = {one.engine: one for one in crud.queues(tx)}
            busy = crud.in_work(tx, limit=10_000)
        alive = runtime.workers()
        print(f"{'engine':<32} {'waiting':>8} {'oldest':>8} {'in work':>8} {'messages':>8}")
        for engine in dict.fromkeys((*runtime.engines, *waiting)):
            here = waiting.get(engine) or crud.EngineQueue(engine, 0, 0, 0.0)
            messages = runtime.broker.length(engine) if runtime.broker else "-"
            told = "away" if messages is None else messages
            oldest = f"{here.oldest_s:.0f} s"
            print(f"{engine:<32} {here.waiting:>8} {oldest:>8} {here.processing:>8} {told:>8}")
    print(f"\nworkers: {'unknown, Redis is away' if alive is None else len(alive)}")
    for name in alive or ():
        own = [one for one in busy if one.row.claimed_by == name]
        print("\n".join(f"{name:<56} {_at_work(one)}" for one in own) or f"{name:<56} idle")
    for one in busy:
        if alive is None or one.row.claimed_by not in alive:
            state = "gone; " if alive is not None else ""
            print(f"{one.row.claimed_by:<56} {state}{_at_work(one)}")
    return 0


def _at_work(one: InWork) -> str:
    row = one.row
    done = "" if row.progress is None else f" {row.progress:.0%}"
    return (
        f"{row.engine}, session {row.id}, attempt {row.attempts}, {row.stage or 'reading'}{done}, "
        f"for {one.since_s:.0f} s, lease {one.lease_s:.0f} s"
    )


def webhooks(settings: Settings, options: argparse.Namespace) -> int:
    """Of a receiver only its host: the rest of a URL may be secret."""
    from app import crud
    from app.runtime import open_runtime
    from app.schemas import rfc3339
    from app.services.webhooks import message_id, secret_text, where_to

    with open_runtime(settings) as runtime:
        if options.secret:
            print("\n".join(map(secret_text, runtime.webhook_keys)))
            return 0
        runtime.prepare()
        with runtime.reads() as tx:
            found = crud.deliveries(tx, limit=options.limit)
        for delivery, row in found:
            receiver = where_to(runtime.vault, row)
            said = delivery.last_error or delivery.last_status or "-"
            due = "-" if delivery.next_at is None else rfc3339(delivery.next_at)
            print(
                f"{message_id(delivery.id)}  session {row.id}  {delivery.state:<9}"
                f"  attempts {delivery.attempts:<2}  last {said:<15}  next {due:<24}"
                f"  {receiver.name if receiver else '(unreadable)'}"
            )
        if not found:
            print("No live session has a webhook that was due.")
    return 0


def audit(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when anything was found. Changes nothing, and may run beside a server."""
    from app.runtime import open_runtime
    from app.services import audit as audits

    with open_runtime(settings) as runtime:
        runtime.prepare()
        report = audits.audit(
            runtime.db,
            runtime.storage,
            runtime.vault,
            runtime.issuer,
            on_progress=_progress("sessions looked at"),
        )
    looked = {"sessions": report.sessions, "pictures": report.pictures, "files": report.files}
    if options.json:
        found = [{"finding": finding, "session_sha256": of} for finding, of in report.found]
        looked["recent_files"] = report.recent
        counts = {**looked, "oldest_overdue_s": round(report.oldest_s, 3), **report.counts}
        print(json.dumps({"counts": counts, "findings": found}, indent=2))
    else:
        print("looked at: " + ", ".join(f"{count} {name}" for name, count in looked.items()))
        for finding, of in report.found:
            print(f"FOUND: {finding}{of and ', session with the SHA-256 '}{of}")
        if report.recent:
            print(
                f"files without a session, younger than an hour: {report.recent}. Uploads under way"
                " have such; what is one no more, the sweep deletes."
            )
        print(f"oldest byte past its time: {report.oldest_s:.0f} s; findings: {len(report.found)}")
    return 1 if report.found else 0


def verify_receipt(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when one is not valid, 2 when the receipts or the keys cannot be read."""
    from app.services import receipts

    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8")
        found = receipts.read(text)
        keys = _receipt_keys(settings, options.keys)
    except (OSError, UnicodeDecodeError, receipts.ReceiptInvalid) as exc:
        print(f"tryonai: {getattr(exc, 'detail', exc)}", file=sys.stderr)
        return 2
    valid = 0
    for receipt in found:
        try:
            checked = receipts.check(receipt, keys)
            if options.session is not None:
                receipts.check_session(checked, options.session)
        except receipts.ReceiptInvalid as exc:
            print(f"NOT VALID. {exc.detail}")
        else:
            print(receipts.tell(checked))
            valid += 1
    if not found:
        print("There is no receipt in it.")
    return 0 if found and valid == len(found) else 1


def _receipt_keys(settings: Settings, file: Path | None) -> list[bytes]:
    from datetime import timedelta

    from app.services import receipts
    from app.signing import Keyring

    if file is not None:
        return receipts.read_jwk_set(file.read_text("utf-8"))
    if not settings.has_secret:
        raise receipts.ReceiptInvalid("This installation has no keys: name a key set with --keys.")
    keep = timedelta(days=settings.receipt_retention_days)
    return receipts.Issuer(Keyring(settings.secrets).receipt_seeds, keep=keep).public_keys


def storage_init(settings: Settings, _: argparse.Namespace) -> int:
    """Exit status 1 when something is left to be done by hand."""
    from app.runtime import bucket_of

    work = bucket_of(settings).make_ready()
    print("\n".join(work.done))
    for sentence in work.left:
        print(f"LEFT: {sentence}")
    return 1 if work.left else 0


def init_db(settings: Settings, _: argparse.Namespace) -> int:
    from app.runtime import open_runtime

    with open_runtime(settings) as runtime:
        runtime.prepare()
    print("The database is ready.")
    return 0


def doctor(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when a part is not as it should be; a server that is not started may be so."""
    from app import checks
    from app.runtime import open_runtime

    with open_runtime(settings) as runtime:
        with suppress(DatabaseUnavailable):  # it is one of the parts, which tell of it below
            runtime.prepare()
        parts = checks.examine_all(runtime)
        if options.json:
            print(json.dumps(_in_force(settings, runtime, parts), indent=2))
        else:
            for name, part in parts.items():
                print(f"{name:<10} {part.status:<12} {part.detail or ''}".rstrip())
    faults = {name for name, part in parts.items() if part.status != "ok"} - {"worker"}
    return 1 if faults else 0


def try_on(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when the picture was refused or could not be made, 2 for files not usable."""
    from app import tryout
    from app.runtime import egress_rules, image_limits, offered_engine

    choices = {one.name: getattr(options, one.name) for one in fields(tryout.Choices)}
    offered = offered_engine(options.engine or settings.engine, settings)
    # Whoever runs this is the operator; that photos leave is still said once, in the settings.
    rules = egress_rules(settings, {offered.info.name: offered})
    rules.check(offered.info.name, asked=True)
    try:
        return tryout.run(
            offered.spec,
            options.person,
            options.garment,
            tryout.Choices(**choices),
            image_limits(settings),
        )
    except tryout.Unusable as exc:
        print(f"tryonai: {exc.detail}", file=sys.stderr)
        return 2


def evaluate(settings: Settings, options: argparse.Namespace) -> int:
    """Prints the table; exit status 1 where an engine made no picture at all."""
    from app import evaluate as evaluation
    from app import learned
    from app.likeness import Judge
    from app.runtime import offered_engine

    words = (options.engines or ",".join(settings.engines)).split(",")
    offered = [offered_engine(word.strip(), settings) for word in words]
    for one in offered:
        if one.info.egress is not None and not options.pay:
            host = one.info.egress.host
            raise TryOnError(f"{one.info.name} sends the pictures to {host}: say --pay to let it.")
    listed = evaluation.find_pairs(options.pairs, options.setting)
    pairs = evaluation.spread(listed, options.limit)
    options.output.mkdir(parents=True, exist_ok=True)
    measured = learned.load(options.metric_weights)
    comparison = evaluation.Comparison(
        pairs,
        Judge(settings.weights_dir),
        measured,
        timeout_s=settings.engine_timeout,
        memory_mb=settings.engine_memory_mb,
    )
    found: list[evaluation.Scores] = []
    for one in offered:
        name = one.info.name
        sheet = options.output / f"{name}.png"
        found.append(comparison.of(one, sheet=sheet, on_progress=_progress(f"pairs, {name}")))
        # After each: who ends it at the third engine keeps what two have cost.
        text = evaluation.report(found, pairs, measured)
        (options.output / "table.md").write_text(text + "\n", "utf-8")
        scores = evaluation.as_json(found, pairs, measured)
        (options.output / "scores.json").write_text(scores, "utf-8")
    print(text)
    return 1 if any(not one.figures for one in found) else 0


def check_engine(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when a check does not hold."""
    import tempfile

    from app.engines.conformance import checks, report
    from app.runtime import offered_engine

    settings = settings.model_copy(update={"allow_noncommercial": True})  # it is told, not refused
    offered = offered_engine(options.engine, settings)
    if offered.info.egress is not None and not options.pay:
        raise TryOnError(
            f"{offered.info.name} sends pictures to {offered.info.egress.host}, some thirty times: "
            "say --pay if that is meant. They are the catalogue's: nobody is in them."
        )
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="tryonai-conformance-") as folder,
        checks.examining(
            offered,
            Path(folder),
            weights_dir=settings.weights_dir,
            timeout_s=settings.engine_timeout,
            memory_mb=settings.engine_memory_mb,
        ) as kit,
    ):
        for name, one in checks.examine(kit):
            found.append((name, one))
            mark = {True: "ok", False: "FAILS", None: "-"}[one.ok]
            print(f"{mark:<6} {report.sentence(name):<26} {one.said}".rstrip(), flush=True)
        if options.report is not None:
            options.report.write_text(report.page(offered.info, found, kit.shown), "utf-8")
    failed = sum(one.ok is False for _, one in found)
    print(f"{offered.info.name}: {failed} of {len(found)} do not hold" if failed else "All hold.")
    return 1 if failed else 0


def _in_force(settings: Settings, runtime: Runtime, parts: dict[str, Part]) -> dict[str, object]:
    values: dict[str, object] = {
        name.upper(): "***" if isinstance(value, SecretStr) else value
        for name, value in settings.model_dump().items()
    }
    if runtime.embedded is not None:
        values["DATABASE_URL"] = runtime.url
    return {
        "version": __version__,
        "settings": json.loads(json.dumps(values, default=str)),
        "parts": {name: part.model_dump(exclude_none=True) for name, part in parts.items()},
    }


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is started, so that a taken one is one clear sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share the port
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # only this tells that somebody else has bound it a moment ago
    except OSError as exc:
        listener.close()
        raise TryOnError(
            f"Cannot listen on {host}:{port} ({exc.strerror}). Set HOST or PORT, "
            "or end the program that uses it."
        ) from exc
    return listener


def _print_addresses(host: str, port: int) -> None:
    base = _base(host, port)
    print(
        f"TryOnAI {__version__} is ready.\n"
        f"  page    {base}/\n  API     {base}/api/docs\n  health  {base}/api/health\n"
        "Ctrl-C ends it.",
        flush=True,
    )


def _base(host: str, port: int) -> str:
    shown = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, host)  # noqa: S104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _progress(verb: str) -> Callable[[int], None]:
    """Counts on a terminal; a pipe gets only the result."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda count: print(f"\r{verb}: {count}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
