"""Expired sessions go, whoever else purges, and whatever refuses."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from app.database import Db
from app.errors import StorageUnavailable
from app.services import cleanup
from app.services.cleanup import PurgeReport, SweepReport
from app.services.storage import LocalStorage
from tests.flows.conftest import EXPIRE_ALL, Hooked, Run, Shopper, Sql, files_in

AGE_ALL = "UPDATE tryon_sessions SET updated_at = now() - interval '2 hours'"


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
            other = run("purge")
            seen.append((cleanup.purge(db, storage), other.wait(), other.text))

    storage.before_delete = purge_too

    report = cleanup.purge(db, storage)

    ((other_report, status, text),) = seen
    assert report == PurgeReport(sessions=3)
    assert other_report == PurgeReport(ran=False)
    assert (status, "Another process is purging" in text) == (0, True)
    assert files_in(uploads) == []
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]


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
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    first, last = shopper.submit(), shopper.submit()
    copies = (
        "INSERT INTO tryon_sessions (id, user_token, input_image_url, engine, expires_at)"
        " SELECT gen_random_uuid(), user_token, '', engine, now() - interval '2 hours'"
        " FROM tryon_sessions, generate_series(1, 130) WHERE id = :id"
    )
    sql(copies, id=first)
    sql("UPDATE tryon_sessions SET expires_at = now() - interval '1 hour' WHERE id = :id", id=last)
    storage = Hooked(uploads)

    def refuse_but_the_last(prefix: str) -> None:
        if last not in prefix:
            raise StorageUnavailable

    storage.before_delete = refuse_but_the_last

    report = cleanup.purge(db, storage)

    assert report == PurgeReport(sessions=1, failed=130)
    assert shopper.get(last).status_code == 404


def test_the_sweep_takes_files_without_a_row_and_rows_without_files(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    whole, bare, torn = [shopper.submit() for _ in range(3)]
    sql(AGE_ALL)
    sql("DELETE FROM tryon_sessions WHERE id = :id", id=bare)
    shutil.rmtree(uploads / "inputs" / torn)
    kept = f"inputs/{whole}/person.jpg"

    too_early = cleanup.sweep(db, storage)
    swept = cleanup.sweep(db, storage, age=timedelta(0))

    assert too_early == SweepReport(rows=1), "a young file may belong to an upload under way"
    assert swept == SweepReport(files=1)
    assert files_in(uploads) == [kept]
    assert [shopper.get(one).status_code for one in (whole, bare, torn)] == [200, 404, 404]


def test_a_folder_that_is_not_mounted_costs_no_session(
    shopper: Shopper, db: Db, tmp_path: Path, sql: Sql
) -> None:
    session_id = shopper.submit()
    sql(AGE_ALL)

    swept = cleanup.sweep(db, LocalStorage(tmp_path / "elsewhere"))

    assert swept == SweepReport()
    assert shopper.see(session_id)["status"] == "created"


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
