"""No room left for the pictures: refused with 507, nothing left behind, and nothing lost."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import runtime
from app.database import Db
from app.services.storage import LocalStorage
from tests.fixtures import MakeClient
from tests.flows.conftest import Shopper, Sql, files_in, wait_for, working


class SmallDisk(LocalStorage):
    """A disk that is full half-way through each file, as long as `full` is set."""

    full = False
    refused = 0

    @staticmethod
    def _write(file: str, data: bytes) -> None:
        if not SmallDisk.full:
            LocalStorage._write(file, data)
            return
        LocalStorage._write(file, data[: len(data) // 2])
        SmallDisk.refused += 1
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[SmallDisk]]:
    monkeypatch.setitem(vars(runtime), "LocalStorage", SmallDisk)
    SmallDisk.refused = 0
    yield SmallDisk
    SmallDisk.full = False


def test_an_upload_without_room_is_refused_and_leaves_nothing(
    make_client: MakeClient, disk: type[SmallDisk], uploads: Path, sql: Sql
) -> None:
    shopper = Shopper(make_client())
    disk.full = True

    answer = shopper.post()

    assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert disk.refused == 1
    assert files_in(uploads) == []
    assert not list((uploads / "inputs").iterdir())
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]
    disk.full = False
    assert shopper.post().status_code == 201


def test_a_worker_without_room_keeps_its_picture_until_there_is(
    make_client: MakeClient, disk: type[SmallDisk], uploads: Path
) -> None:
    shopper = Shopper(make_client(worker_concurrency=1, mock_seconds=0.2))
    session_id = shopper.submit()
    disk.full = True

    wait_for(lambda: disk.refused >= 2)
    assert shopper.see(session_id)["status"] == "processing"
    assert [name for name in files_in(uploads) if "outputs" in name] == []
    disk.full = False

    assert shopper.wait(session_id, "completed")["attempts"] == 1
    assert shopper.get(f"{session_id}/output").status_code == 200


def test_a_worker_that_ends_without_room_lets_another_begin_at_once(
    make_client: MakeClient, disk: type[SmallDisk], db: Db, uploads: Path
) -> None:
    """And not after the lease, which might take the session's last attempt."""
    shopper = Shopper(make_client())
    session_id = shopper.submit()
    disk.full = True

    with working(db, SmallDisk(uploads)):
        wait_for(lambda: disk.refused)

    assert shopper.see(session_id)["status"] == "created"


def test_what_waits_for_room_can_still_be_erased(
    make_client: MakeClient, disk: type[SmallDisk], uploads: Path
) -> None:
    shopper = Shopper(make_client(worker_concurrency=1, mock_seconds=0.2))
    session_id = shopper.submit()
    disk.full = True
    wait_for(lambda: disk.refused)

    assert shopper.delete(session_id).status_code == 204

    disk.full = False
    shopper.wait(shopper.submit(), "completed")
    assert not [name for name in files_in(uploads) if session_id in name]
