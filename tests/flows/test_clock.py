"""Whatever the database's clock does: what was erased stays erased, and the purge finishes it."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest

from app import crud
from app.database import Db
from app.services import cleanup
from app.services.storage import LocalStorage
from app.states import Status
from tests.flows.conftest import ISSUER, Nobody, Shopper, Sql, files_in

SET_BACK = "UPDATE tryon_sessions SET expires_at = expires_at + interval '1 day'"
"""All that the rows know of it when the clock is set back."""


@pytest.fixture
def shopper(shopper: Shopper) -> Shopper:
    """Creates under one key whatever it creates."""
    shopper.http.headers["Idempotency-Key"] = "of this test"
    return shopper


@pytest.fixture
def erased(shopper: Shopper, uploads: Path, sql: Sql) -> str:
    """A session whose row and photo are still there, because one folder refused to go."""
    session_id = shopper.submit()
    refusing = uploads / "outputs" / session_id
    refusing.parent.mkdir(exist_ok=True)
    refusing.write_bytes(b"a file where a folder should be")
    assert shopper.delete(session_id).status_code == 503
    sql(SET_BACK)
    return session_id


def test_no_query_asks_for_the_time_alone() -> None:
    """Beside the two that say what it means to be live, and what an erasure looks for."""
    files = Path(crud.__file__).parent.glob("*.py")
    queries = "".join(file.read_text("utf-8") for file in files)
    asked = re.findall(r"expires_at > func\.now\(\)(?! -)", queries)

    assert len(asked) == 2


def test_nobody_sees_it(erased: str, shopper: Shopper, db: Db) -> None:
    answer = shopper.get(erased)

    assert (answer.status_code, answer.json()["code"]) == (410, "session_expired")
    assert shopper.get(f"{erased}/input").status_code == 410
    assert shopper.get().json()["items"] == []
    assert shopper.health().json()["waiting"] == 0
    with db() as tx:
        assert crud.marks(tx, [UUID(erased)]) == {}
        assert crud.live_sessions(tx, after=None, limit=1) == []
        assert crud.newest_key(tx) is None
        assert crud.keys_by_secret(tx) == {}
        assert crud.to_rewrap(tx, "wrapped_key", present=b"", after=None, limit=1) == []


def test_it_holds_no_place_in_the_queue(erased: str, shopper: Shopper) -> None:
    assert shopper.see(shopper.submit())["queue_position"] == 1


def test_nobody_works_on_it(erased: str, db: Db, sql: Sql) -> None:
    with db.begin() as tx:
        assert crud.claim(tx, worker="a", lease_s=10, engines=["mock"]) is None
        assert crud.next_due_s(tx, engines=["mock"]) is None

    sql("UPDATE tryon_sessions SET status = 'processing', attempts = 1, lease_until = now()")

    session_id = UUID(erased)
    with db.begin() as tx:
        assert not crud.renew(tx, session_id, attempt=1, lease_s=10)
        assert crud.move(tx, session_id, Status.COMPLETED, only_attempt=1) is None
    assert cleanup.recover(db, Nobody(), max_attempts=3) == 0


def test_nobody_is_told_of_it(erased: str, db: Db, sql: Sql) -> None:
    sql("INSERT INTO webhook_deliveries (id, session_id) VALUES (:id, :id)", id=erased)

    with db.begin() as tx:
        assert crud.claim_delivery(tx, by="a", lease_s=10, busy=[]) is None
        assert crud.next_delivery_s(tx, busy=[]) is None
        assert crud.deliveries(tx, limit=1) == []


def test_its_key_makes_another_session(erased: str, shopper: Shopper) -> None:
    assert shopper.submit() != erased


def test_the_purge_finishes_it(
    erased: str, shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path
) -> None:
    (uploads / "outputs" / erased).unlink()
    other = shopper.submit()

    cleanup.purge_due(db, storage, ISSUER, within=cleanup.LATELY)

    assert shopper.get(erased).status_code == 404
    assert files_in(uploads) == [f"inputs/{other}/person.jpg"]
    receipt = shopper.http.get(f"/api/tryon/receipts/{erased}").json()
    assert receipt["statement"]["reason"] == "request"
