"""The audit finds what the promises exclude, tells nobody's secrets, and changes nothing."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from PIL import Image

from app.database import Db
from app.services import cleanup, images
from app.services.receipts import hash_of
from app.services.storage import LocalStorage
from tests import pictures
from tests.fixtures import MakeClient
from tests.flows.conftest import (
    ISSUER,
    VAULT,
    Run,
    Shopper,
    Sql,
    files_in,
    wait_for,
    working,
)

LONG_AGO_S = 7200


def age(file: Path) -> None:
    then = file.stat().st_mtime - LONG_AGO_S
    os.utime(file, (then, then))


def seal(uploads: Path, sql: Sql, session_id: str, picture: bytes) -> None:
    """Exchange a photo for this one, under the session's own key."""
    name = f"inputs/{session_id}/person.jpg"
    ((wrapped,),) = sql("SELECT wrapped_key FROM tryon_sessions WHERE id = :id", id=session_id)
    key = VAULT.key_of(UUID(session_id), bytes(wrapped))
    (uploads / name).write_bytes(key.seal(name, picture))


def with_comment() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 64)).save(out, "JPEG", comment=b"where I live")
    return out.getvalue()


def expired_long_ago(uploads: Path, sql: Sql, one: str) -> None:
    late = "UPDATE tryon_sessions SET expires_at = now() - interval '1 hour' WHERE id = :id"
    sql(late, id=one)


def without_a_row(uploads: Path, sql: Sql, one: str) -> None:
    sql("DELETE FROM tryon_sessions WHERE id = :id", id=one)
    age(uploads / f"inputs/{one}/person.jpg")


def without_a_file(uploads: Path, sql: Sql, one: str) -> None:
    (uploads / f"inputs/{one}/person.jpg").unlink()


def damaged(uploads: Path, sql: Sql, one: str) -> None:
    file = uploads / f"inputs/{one}/person.jpg"
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def with_more_than_pixels(uploads: Path, sql: Sql, one: str) -> None:
    seal(uploads, sql, one, with_comment())


def ended_with_its_inputs(uploads: Path, sql: Sql, one: str) -> None:
    sql(
        "UPDATE tryon_sessions SET delete_inputs_early = true, status = 'failed',"
        " finished_at = now() - interval '1 hour' WHERE id = :id",
        id=one,
    )


@pytest.mark.parametrize(
    ("harm", "finding", "overdue"),
    [
        (expired_long_ago, "past its time", True),
        (without_a_row, "file without a session", True),
        (without_a_file, "picture missing", False),
        (damaged, "picture cannot be deciphered", False),
        (with_more_than_pixels, "picture with more than pixels", False),
        (
            ended_with_its_inputs,
            "uploads that should have gone with the end of the work",
            True,
        ),
    ],
)
def test_what_should_not_be_is_found(
    shopper: Shopper,
    run: Run,
    uploads: Path,
    sql: Sql,
    harm: Callable[[Path, Sql, str], None],
    finding: str,
    overdue: bool,
) -> None:
    whole, harmed = shopper.submit(), shopper.submit()
    harm(uploads, sql, harmed)
    before = files_in(uploads), sql("SELECT * FROM tryon_sessions ORDER BY id")

    told = run("audit", "--json", log_level="error")

    assert told.wait() == 1
    said = json.loads(told.text)
    assert said["findings"] == [{"finding": finding, "session_sha256": hash_of(UUID(harmed))}]
    assert said["counts"][finding] == 1
    assert (said["counts"]["oldest_overdue_s"] > 3000) == overdue
    assert (files_in(uploads), sql("SELECT * FROM tryon_sessions ORDER BY id")) == before
    assert whole not in told.text
    assert harmed not in told.text


def test_a_sound_installation_has_no_findings(
    shopper: Shopper, db: Db, storage: LocalStorage, run: Run
) -> None:
    session_id = shopper.submit()
    shopper.submit(output_format="png", delete_inputs="on_completion")
    shopper.submit(output_format="webp")
    with working(db, storage):
        wait_for(lambda: all(one["status"] == "completed" for one in shopper.get().json()["items"]))
    shopper.submit()
    shopper.delete(session_id)

    told = run("audit", log_level="error")

    assert told.wait() == 0, told.text
    assert told.text.splitlines() == [
        "looked at: 3 sessions, 4 pictures, 4 files",
        "oldest byte past its time: 0 s; findings: 0",
    ]


def test_young_files_belong_to_uploads_under_way(shopper: Shopper, uploads: Path, run: Run) -> None:
    LocalStorage(uploads).put(f"inputs/{uuid4()}/person.jpg", b"x")

    told = run("audit")

    assert told.wait() == 0
    assert "files without a session, younger than an hour: 1." in told.text


def test_a_receipt_past_its_time_is_found(shopper: Shopper, sql: Sql, run: Run) -> None:
    shopper.delete(shopper.submit())
    sql("UPDATE deletion_receipts SET erased_at = now() - interval '102 days'")

    told = run("audit", log_level="error")

    assert told.wait() == 1
    assert "FOUND: receipt past its time\n" in told.text


def test_pictures_in_clear_are_looked_at_too(make_client: MakeClient, run: Run) -> None:
    Shopper(make_client(encrypt_pictures=False)).submit()

    assert run("audit", encrypt_pictures=False).wait() == 0


def test_health_and_metrics_tell_what_is_past_its_time(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    one, bare = shopper.submit(), shopper.submit()
    assert _health(shopper)["overdue_s"] == 0
    sql("DELETE FROM tryon_sessions WHERE id = :id", id=bare)
    age(uploads / f"inputs/{bare}/person.jpg")
    expired_long_ago(uploads, sql, one)

    assert 3590 < _health(shopper)["overdue_s"] < 3700
    assert 3590 < _metric(shopper, "tryonai_oldest_overdue_seconds") < 3700
    cleanup.sweep(db, storage, ISSUER)
    cleanup.purge(db, storage, ISSUER)
    assert _metric(shopper, "tryonai_oldest_overdue_seconds") == 0
    assert _metric(shopper, "tryonai_orphan_files") == 1


def _health(shopper: Shopper) -> dict[str, Any]:
    found: dict[str, Any] = shopper.health().json()
    return found


def _metric(shopper: Shopper, name: str) -> float:
    lines = shopper.http.get("/metrics").text.splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(line.split()[1])


def test_pictures_of_every_kind_that_we_write_are_nothing_but_pixels() -> None:
    for encode in (pictures.jpeg, pictures.png, pictures.webp):
        assert not images.has_more_than_pixels(encode(pictures.photo()))
    assert images.has_more_than_pixels(with_comment())
    assert images.has_more_than_pixels(b"no picture")
