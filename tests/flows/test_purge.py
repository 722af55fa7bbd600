"""Expired sessions go, whoever else purges, and whatever refuses."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from uuid import uuid4

import pytest

from app.database import Db, advisory_lock
from app.errors import StorageUnavailable
from app.services import cleanup, erasure
from app.services.cleanup import PurgeReport, SweepReport
from app.services.leader import Leader
from app.services.storage import LocalStorage, Storage, StoredObject
from tests.flows.conftest import (
    EXPIRE_ALL,
    ISSUER,
    Hooked,
    Nobody,
    Run,
    Shopper,
    Sql,
    files_in,
    wait_for,
)


@pytest.fixture
def one_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are deleted one after the other, so that there is a first one."""
    monkeypatch.setattr(erasure, "HANDS", 1)


AGE_ALL = "UPDATE tryon_sessions SET updated_at = now() - interval '2 hours'"


@pytest.mark.usefixtures("one_hand")
def test_of_two_purges_at_once_one_does_the_work(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql, run: Run
) -> None:
    for _ in range(3):
        shopper.submit()
    sql(EXPIRE_ALL)
    storage = Hooked(uploads)
    seen: list[tuple[PurgeReport, int, str]] = []

    def purge_too(_: str) -> None:
        if not seen:
            other = run("purge", "--sweep")
            seen.append((cleanup.purge(db, storage, ISSUER), other.wait(), other.text))

    storage.before_delete = purge_too

    report = cleanup.purge(db, storage, ISSUER)

    ((other_report, status, text),) = seen
    assert report == PurgeReport(sessions=3)
    assert other_report == PurgeReport(ran=False)
    assert status == 1, "cron is told that nothing was done"
    assert "Another process is purging already" in text
    assert "sessions erased" not in text
    assert files_in(uploads) == []
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]


def test_of_two_sweeps_at_once_one_does_the_work(
    shopper: Shopper, db: Db, run: Run, uploads: Path
) -> None:
    with advisory_lock(db, cleanup.SWEEP_LOCK):
        other = run("purge", "--sweep")

        assert other.wait() == 1

    assert "sessions erased: 0, not erased: 0" in other.text
    assert "Another process is sweeping already" in other.text
    assert "files without a row" not in other.text


def test_one_folder_that_refuses_does_not_keep_the_others(
    shopper: Shopper, uploads: Path, sql: Sql, run: Run
) -> None:
    refusing, *others = [shopper.submit() for _ in range(4)]
    folder = uploads / "inputs" / refusing
    shutil.rmtree(folder)
    folder.write_bytes(b"a file where a folder should be")
    sql(EXPIRE_ALL)

    first = run("purge")

    assert first.wait() == 1, "cron is told"
    assert "sessions erased: 3, not erased: 1" in first.text
    assert sql("SELECT id::text FROM tryon_sessions") == [(refusing,)]
    assert shopper.get(refusing).status_code == 410
    assert [shopper.get(other).status_code for other in others] == [404] * 3
    folder.unlink()
    second = run("purge")
    assert second.wait() == 0
    assert "sessions erased: 1, not erased: 0" in second.text
    assert files_in(uploads) == []


def test_more_refusals_than_a_batch_do_not_hide_the_rest(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "PURGE_BATCH", 5)
    first, last = shopper.submit(), shopper.submit()
    copies = (
        "INSERT INTO tryon_sessions (id, user_token, input_image_url, engine, expires_at)"
        " SELECT gen_random_uuid(), user_token, '', engine, now() - interval '2 hours'"
        " FROM tryon_sessions, generate_series(1, 12) WHERE id = :id"
    )
    sql(copies, id=first)
    sql("UPDATE tryon_sessions SET expires_at = now() - interval '1 hour' WHERE id = :id", id=last)
    storage = Hooked(uploads)

    def refuse_but_the_last(prefix: str) -> None:
        if last not in prefix:
            raise StorageUnavailable

    storage.before_delete = refuse_but_the_last

    report = cleanup.purge(db, storage, ISSUER)

    assert report == PurgeReport(sessions=1, failed=12)
    assert shopper.get(last).status_code == 404


def test_the_sweep_takes_files_without_a_row_and_rows_without_files(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    whole, bare, torn = [shopper.submit() for _ in range(3)]
    sql(AGE_ALL)
    sql("DELETE FROM tryon_sessions WHERE id = :id", id=bare)
    shutil.rmtree(uploads / "inputs" / torn)
    kept = f"inputs/{whole}/person.jpg"

    too_early = cleanup.sweep(db, storage, ISSUER)
    swept = cleanup.sweep(db, storage, ISSUER, age=timedelta(0))

    assert too_early == SweepReport(rows=1), "a young file may belong to an upload under way"
    assert swept == SweepReport(files=1)
    assert files_in(uploads) == [kept]
    assert [shopper.get(one).status_code for one in (whole, bare, torn)] == [200, 404, 404]


def test_a_folder_that_is_not_mounted_costs_no_session(
    shopper: Shopper, db: Db, tmp_path: Path, sql: Sql, run: Run
) -> None:
    session_id = shopper.submit()
    sql(AGE_ALL)

    elsewhere = tmp_path / "elsewhere"
    swept = cleanup.sweep(db, LocalStorage(elsewhere), ISSUER)
    by_hand = run("purge", "--sweep", storage=elsewhere)

    assert swept == SweepReport(wrong_storage=True)
    assert by_hand.wait() == 1
    assert "is STORAGE the right folder?" in by_hand.text
    assert shopper.see(session_id)["status"] == "created"


@pytest.mark.parametrize("there", ["a draft", "somebody else's session"])
def test_a_folder_of_somebody_else_costs_neither_them_nor_us_anything(
    there: str, shopper: Shopper, db: Db, tmp_path: Path, sql: Sql
) -> None:
    session_id = shopper.submit()
    sql(AGE_ALL)
    other = LocalStorage(tmp_path / "elsewhere")
    name = "inputs/.draft-1" if there == "a draft" else f"inputs/{uuid4()}/person.jpg"
    other.put(name, b"x")

    swept = cleanup.sweep(db, other, ISSUER, age=timedelta(0))

    assert swept == SweepReport(wrong_storage=True)
    assert files_in(other.root) == [name]
    assert shopper.see(session_id)["status"] == "created"


def test_what_is_not_ours_does_not_keep_the_sweep_from_the_rest(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    bare = shopper.submit()
    sql("DELETE FROM tryon_sessions")
    (uploads / "inputs" / ".DS_Store").write_bytes(b"x")

    swept = cleanup.sweep(db, storage, ISSUER, age=timedelta(0))

    assert swept == SweepReport(files=1), bare
    assert files_in(uploads) == ["inputs/.DS_Store"]


def test_a_file_that_refuses_does_not_keep_the_sweep_from_the_rest(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    refusing, other = [shopper.submit() for _ in range(2)]
    sql("DELETE FROM tryon_sessions")
    storage = Hooked(uploads)

    def refuse(key: str) -> None:
        if refusing in key:
            raise StorageUnavailable

    storage.before_delete = refuse

    swept = cleanup.sweep(db, storage, ISSUER, age=timedelta(0))

    assert swept == SweepReport(files=1, failed=1), other
    assert files_in(uploads) == [f"inputs/{refusing}/person.jpg"]


def test_a_folder_that_a_crash_left_empty_goes_with_the_sweep(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path
) -> None:
    kept = shopper.submit()
    (uploads / "inputs" / str(uuid4())).mkdir()

    cleanup.sweep(db, storage, ISSUER, age=timedelta(0))

    assert [one.name for one in (uploads / "inputs").iterdir()] == [kept]


class Asked(LocalStorage):
    """Tells which pictures were asked for one by one, and what happens while it is listed."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: list[str] = []
        self.while_listed: Callable[[], object] = lambda: None

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        yield from super().objects(prefix)
        if prefix == erasure.OUTPUTS:
            self.while_listed()

    def exists(self, key: str) -> bool:
        self.asked.append(key)
        return super().exists(key)


def test_a_sweep_asks_for_no_picture_that_was_listed(
    shopper: Shopper, db: Db, uploads: Path
) -> None:
    for _ in range(3):
        shopper.submit()
    storage = Asked(uploads)

    assert cleanup.sweep(db, storage, ISSUER, age=timedelta(0)) == SweepReport()
    assert storage.asked == []


def test_a_picture_that_was_written_after_the_listing_is_not_missing(
    shopper: Shopper, db: Db, uploads: Path
) -> None:
    storage, late = Asked(uploads), []
    storage.while_listed = lambda: late.append(shopper.submit())

    assert cleanup.sweep(db, storage, ISSUER, age=timedelta(0)) == SweepReport()
    assert storage.asked == [f"inputs/{late[0]}/person.jpg"]


def test_the_storage_of_somebody_else_is_known_before_all_was_asked_for(
    shopper: Shopper, db: Db, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "STRANGERS", 2)
    for _ in range(4):
        shopper.submit()
    other = Asked(tmp_path / "elsewhere")

    assert cleanup.sweep(db, other, ISSUER) == SweepReport(wrong_storage=True)
    assert len(other.asked) == 2


@pytest.mark.usefixtures("one_hand")
def test_a_purge_that_is_stopped_ends_after_the_session_at_hand(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    for _ in range(4):
        shopper.submit()
    sql(EXPIRE_ALL)
    storage, stopping = Hooked(uploads), threading.Event()
    storage.before_delete = lambda _: stopping.set()

    report = cleanup.purge(db, storage, ISSUER, stopped=stopping.is_set)

    assert report == PurgeReport(sessions=1)
    assert sql("SELECT count(*) FROM tryon_sessions") == [(3,)]
    assert len(files_in(uploads)) == 3
    assert cleanup.purge(db, storage, ISSUER) == PurgeReport(sessions=3)


def test_a_sweep_that_is_stopped_ends_after_the_file_at_hand(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    for _ in range(3):
        shopper.submit()
    sql("DELETE FROM tryon_sessions")
    storage, stopping = Hooked(uploads), threading.Event()
    storage.before_delete = lambda _: stopping.set()

    report = cleanup.sweep(db, storage, ISSUER, age=timedelta(0), stopped=stopping.is_set)

    assert report == SweepReport(files=1)
    assert len(files_in(uploads)) == 2


@pytest.mark.usefixtures("one_hand")
def test_a_process_that_ends_does_not_wait_for_its_purge(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        shopper.submit()
    sql(EXPIRE_ALL)
    monkeypatch.setattr(cleanup, "FIRST_PURGE", timedelta(0))
    storage = Hooked(uploads)
    begun, go_on = threading.Event(), threading.Event()

    def hold(_: str) -> None:
        begun.set()
        assert go_on.wait(10)

    storage.before_delete = hold
    scheduler = _scheduler(db, storage)
    scheduler.start()
    assert begun.wait(10)

    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(scheduler.stop)
        assert scheduler.stopping.wait(10)
        go_on.set()
        stopped.result(timeout=10)

    assert sql("SELECT count(*) FROM tryon_sessions") == [(2,)]


def test_lost_work_is_taken_back_although_the_clock_was_set_back(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = shopper.submit()
    sql(
        "UPDATE tryon_sessions SET status = 'processing', attempts = 1,"
        " lease_until = now() - interval '1 minute'"
    )
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", YesterdaysClock)
    scheduler = _scheduler(db, storage)

    scheduler.start()

    try:
        wait_for(lambda: shopper.see(session_id)["status"] == "created")
    finally:
        scheduler.stop()


class YesterdaysClock(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> YesterdaysClock:
        return super().now(tz) - timedelta(days=1)


def _scheduler(db: Db, storage: Storage) -> cleanup.Scheduler:
    return cleanup.Scheduler(
        db,
        storage,
        ISSUER,
        Nobody(),
        purge_every=timedelta(hours=1),
        recover_every=timedelta(seconds=10),
        max_attempts=3,
        leader=Leader(db, key=1),  # beside the shopper's server
    )


def test_a_purge_that_was_killed_half_way_is_finished_by_the_next(
    shopper: Shopper, uploads: Path, sql: Sql, run: Run
) -> None:
    session_id = shopper.submit()
    sql(EXPIRE_ALL)

    killed = run("purge", dies_at="deleted outputs")

    assert killed.wait() == -9
    assert shopper.get(session_id).status_code == 410
    assert run("purge").wait() == 0
    assert shopper.get(session_id).status_code == 404
    assert files_in(uploads) == []


def test_sessions_are_erased_several_at_a_time(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    for _ in range(4):
        shopper.submit()
    sql(EXPIRE_ALL)
    storage = Hooked(uploads)
    together = threading.Barrier(2, timeout=10)
    storage.before_delete = lambda prefix: prefix.startswith("inputs") and together.wait()

    # Alone, the first would wait for a second one in vain.
    assert cleanup.purge(db, storage, ISSUER) == PurgeReport(sessions=4)

    assert files_in(uploads) == []


def test_what_falls_due_is_erased_by_itself(
    shopper: Shopper,
    db: Db,
    storage: LocalStorage,
    uploads: Path,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the last whole purge has just been, and the next one comes in an hour."""
    monkeypatch.setattr(cleanup, "FIRST_PURGE", timedelta(0))
    monkeypatch.setattr(cleanup, "LOOK_EVERY_S", 0.2)
    monkeypatch.setattr(cleanup, "GATHER_S", 0.05)
    scheduler = _scheduler(db, storage)
    scheduler.start()
    try:
        for _ in range(2):
            shopper.submit()
            sql("UPDATE tryon_sessions SET expires_at = now() + interval '0.3 s'")
            wait_for(lambda: sql("SELECT count(*) FROM tryon_sessions") == [(0,)])
    finally:
        scheduler.stop()

    assert files_in(uploads) == []


def test_the_next_look_is_when_the_next_session_falls_due(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    def look() -> float:
        return cleanup.purge_due(db, storage, ISSUER, within=cleanup.LATELY)

    def due_in(interval: str) -> None:
        sql(f"UPDATE tryon_sessions SET expires_at = now() + interval '{interval}'")

    assert look() == 30, "nothing is there"
    shopper.submit(retention_seconds=60)
    assert look() == 30, "in time for the shortest retention"
    due_in("20 s")
    assert 19 < look() <= 20
    due_in("1 s")
    assert look() == 5, "what falls due meanwhile goes together"
    assert sql("SELECT count(*) FROM tryon_sessions") == [(1,)]
    due_in("-1 s")
    assert look() == 5
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]


def test_what_could_not_be_erased_holds_nobody_up_and_is_left_to_the_whole_purge(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    stuck, other = shopper.submit(), shopper.submit()
    sql("UPDATE tryon_sessions SET expires_at = now()")
    storage = Hooked(uploads)

    def refuse(prefix: str) -> None:
        if stuck in prefix:
            raise StorageUnavailable

    storage.before_delete = refuse

    assert cleanup.purge_due(db, storage, ISSUER, within=cleanup.LATELY) == 30, "not every 5 s"
    assert sql("SELECT id::text FROM tryon_sessions") == [(stuck,)]
    sql("UPDATE tryon_sessions SET expires_at = now() - interval '3 minutes'")
    storage.before_delete = lambda _: None
    cleanup.purge_due(db, storage, ISSUER, within=cleanup.LATELY)
    assert [file for file in files_in(uploads) if stuck in file]
    assert cleanup.purge(db, storage, ISSUER) == PurgeReport(sessions=1)
    assert files_in(uploads) == []
    assert other
