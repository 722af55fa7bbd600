"""delete_inputs=on_completion on real files: they go at once, and also after a crash."""

from __future__ import annotations

import shutil
from pathlib import Path
from uuid import UUID

import pytest

from app import crud
from app.database import Db
from app.errors import StorageUnavailable
from app.services import cleanup
from app.services.crypto import PictureUnreadable
from app.services.storage import LocalStorage
from tests.fixtures import MakeClient
from tests.flows.conftest import (
    ISSUER,
    LOSE_LEASES,
    VAULT,
    Hooked,
    Nobody,
    Run,
    Shopper,
    Sql,
    files_in,
    wait_for,
    working,
)

EARLY = {"delete_inputs": "on_completion"}


def outputs(session_id: str, attempt: int = 1) -> list[str]:
    return [f"outputs/{session_id}/{attempt}.jpg"]


def inputs_noted(sql: Sql) -> int:
    """How many sessions still have their photo, by their rows."""
    ((count,),) = sql("SELECT count(input_image_url) FROM tryon_sessions")
    return int(count)


@pytest.mark.parametrize("encrypt", [True, False])
def test_the_photo_is_gone_when_the_picture_is_there(
    make_client: MakeClient, uploads: Path, sql: Sql, encrypt: bool
) -> None:
    shopper = Shopper(make_client(worker_concurrency=1, encrypt_pictures=encrypt))

    session_id = shopper.submit(**EARLY)

    assert shopper.wait(session_id, "completed")["input_image_url"] is None
    wait_for(lambda: files_in(uploads) == outputs(session_id))
    wait_for(lambda: inputs_noted(sql) == 0)
    assert shopper.get(f"{session_id}/output").status_code == 200
    assert shopper.delete(session_id).status_code == 204
    assert files_in(uploads) == []


def test_a_session_that_failed_has_no_photo_either(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit(**EARLY, seed=7)

    with working(db, storage, faults=("7:fail",)):
        shopper.wait(session_id, "failed")
        wait_for(lambda: inputs_noted(sql) == 0)

    assert files_in(uploads) == []
    assert sql("SELECT wrapped_key FROM tryon_sessions") == [(None,)]


def test_while_an_attempt_may_follow_the_photo_stays(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path
) -> None:
    session_id = shopper.submit(**EARLY, seed=7)

    with working(db, storage, faults=("7:retry",)):
        # It fails in the end, because the mock fails each time: three attempts read the photo.
        assert shopper.wait(session_id, "failed")["attempts"] == 3
        wait_for(lambda: files_in(uploads) == [])


def test_its_key_goes_with_the_commit_before_its_file(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    """A copy of the file, taken at any time, is of no use from that moment on."""
    session_id = shopper.submit(**EARLY)
    name = f"inputs/{session_id}/person.jpg"
    copy = (uploads / name).read_bytes()
    ((before,),) = sql("SELECT wrapped_key FROM tryon_sessions")
    assert VAULT.key_of(UUID(session_id), bytes(before)).unseal(name, copy)
    storage = Hooked(uploads)
    storage.before_delete = _refuse

    with working(db, storage):
        shopper.wait(session_id, "completed")

    assert (uploads / name).exists(), "the file could not be deleted yet"
    ((after,),) = sql("SELECT wrapped_key FROM tryon_sessions")
    with pytest.raises(PictureUnreadable):
        VAULT.key_of(UUID(session_id), bytes(after)).unseal(name, copy)
    assert shopper.get(f"{session_id}/output").status_code == 200


def _refuse(_: str) -> None:
    raise StorageUnavailable


@pytest.mark.parametrize("step", ["deleting inputs", "deleted inputs"])
def test_a_worker_killed_between_the_picture_and_the_photos_end_is_made_up_for(
    shopper: Shopper,
    run: Run,
    db: Db,
    storage: LocalStorage,
    uploads: Path,
    sql: Sql,
    step: str,
) -> None:
    session_id = shopper.submit(**EARLY)

    assert run("worker", dies_at=step).wait() == -9

    assert shopper.see(session_id)["status"] == "completed"
    assert inputs_noted(sql) == 1
    cleanup.finish_inputs(db, storage)
    assert files_in(uploads) == outputs(session_id)
    assert inputs_noted(sql) == 0
    assert cleanup.sweep(db, storage, ISSUER).rows == 0, "it has all that it should have"


def test_a_running_server_makes_up_for_it_by_itself(
    shopper: Shopper, run: Run, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit(**EARLY)
    assert run("worker", dies_at="deleting inputs").wait() == -9

    run("worker", lease_seconds=1)  # looks every third of it

    wait_for(lambda: inputs_noted(sql) == 0, within_s=5)
    assert files_in(uploads) == outputs(session_id)


def test_the_photo_of_a_session_that_killed_its_last_worker_goes_too(
    shopper: Shopper, run: Run, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    shopper.submit(**EARLY)
    assert run("worker", dies_at="read inputs").wait() == -9
    sql(LOSE_LEASES)

    assert cleanup.recover(db, Nobody(), max_attempts=1) == 1
    cleanup.finish_inputs(db, storage)

    assert files_in(uploads) == []
    assert sql("SELECT wrapped_key FROM tryon_sessions") == [(None,)]


def test_two_who_finish_at_once_do_no_harm(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit(**EARLY)
    hooked = Hooked(uploads)
    hooked.before_delete = lambda _: cleanup.finish_inputs(db, storage)

    with working(db, hooked):
        shopper.wait(session_id, "completed")
        wait_for(lambda: inputs_noted(sql) == 0)

    assert files_in(uploads) == outputs(session_id)


def test_sessions_that_asked_for_nothing_are_left_alone(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path
) -> None:
    session_id = shopper.submit()
    with working(db, storage):
        shopper.wait(session_id, "completed")

    cleanup.finish_inputs(db, storage)

    assert f"inputs/{session_id}/person.jpg" in files_in(uploads)
    with db.begin() as tx:
        assert crud.inputs_due(tx, limit=10) == []


def test_one_folder_that_refuses_does_not_keep_the_photos_of_others(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    refusing, other = shopper.submit(**EARLY), shopper.submit(**EARLY)
    sql("UPDATE tryon_sessions SET status = 'failed', finished_at = created_at")
    folder = uploads / "inputs" / refusing
    shutil.rmtree(folder)
    folder.write_bytes(b"a file where a folder should be")

    cleanup.finish_inputs(db, storage)

    assert files_in(uploads) == [f"inputs/{refusing}"]
    assert inputs_noted(sql) == 1
    folder.unlink()
    cleanup.finish_inputs(db, storage)
    assert inputs_noted(sql) == 0
    assert shopper.see(other)["status"] == "failed"
