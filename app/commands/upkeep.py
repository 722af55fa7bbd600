"""What an operator does now and then: look, prepare, erase, rotate."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress

from pydantic import SecretStr

from app import __version__, checks, crud
from app.commands.terminal import progress
from app.config import Settings
from app.errors import DatabaseUnavailable
from app.runtime import Runtime, bucket_of, open_runtime
from app.schemas import Part, rfc3339
from app.services import audit as audits
from app.services import cleanup, rotation
from app.services.webhooks import message_id, secret_text, where_to


def purge(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when something could not be erased, or was not tried."""
    with open_runtime(settings) as runtime:
        runtime.prepare()
        report = cleanup.purge(
            runtime.db, runtime.storage, runtime.issuer, on_progress=progress("erased")
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


def _told(swept: cleanup.SweepReport) -> str:
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
    with open_runtime(settings) as runtime:
        runtime.prepare()
        done = rotation.rotate(runtime.db, runtime.vault, on_progress=progress("rewrapped"))
    print(f"keys wrapped anew: {done.rewrapped}, not readable: {done.unreadable}")
    return 1 if done.unreadable else 0


def queues(settings: Settings, _: argparse.Namespace) -> int:
    """A worker without a session is idle; a session without a worker waits for its lease to end."""
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


def _at_work(one: crud.InWork) -> str:
    row = one.row
    done = "" if row.progress is None else f" {row.progress:.0%}"
    return (
        f"{row.engine}, session {row.id}, attempt {row.attempts}, {row.stage or 'reading'}{done}, "
        f"for {one.since_s:.0f} s, lease {one.lease_s:.0f} s"
    )


def webhooks(settings: Settings, options: argparse.Namespace) -> int:
    """Of a receiver only its host: the rest of a URL may be secret."""
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
    with open_runtime(settings) as runtime:
        runtime.prepare()
        report = audits.audit(
            runtime.db,
            runtime.storage,
            runtime.vault,
            runtime.issuer,
            on_progress=progress("sessions looked at"),
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


def storage_init(settings: Settings, _: argparse.Namespace) -> int:
    """Exit status 1 when something is left to be done by hand."""
    work = bucket_of(settings).make_ready()
    print("\n".join(work.done))
    for sentence in work.left:
        print(f"LEFT: {sentence}")
    return 1 if work.left else 0


def init_db(settings: Settings, _: argparse.Namespace) -> int:
    with open_runtime(settings) as runtime:
        runtime.prepare()
    print("The database is ready.")
    return 0


def doctor(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when a part is not as it should be; a server that is not started may be so."""
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
