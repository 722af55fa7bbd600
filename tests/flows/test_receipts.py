"""Receipts under faults: one an erasure, signed only when all of it is gone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from app.config import ROOT
from app.database import Db
from app.errors import StorageUnavailable
from app.services import cleanup, erasure, receipts
from app.services.receipts import Issuer, Reason
from app.services.storage import LocalStorage
from tests.conftest import NOT_APPLICABLE
from tests.flows.conftest import (
    EXPIRE_ALL,
    ISSUER,
    Hooked,
    Run,
    Serve,
    Shopper,
    Sql,
    files_in,
    wait_for,
    working,
)

WANTED = {"Prefer": "return=representation"}


def statements(sql: Sql) -> list[dict[str, Any]]:
    """Of all receipts that are kept, each checked."""
    found = [row.document for row in sql("SELECT document FROM deletion_receipts")]
    for receipt in found:
        receipts.check(receipt, ISSUER.public_keys)
    return [receipt["statement"] for receipt in found]


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_what_expires_leaves_a_receipt_too(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit()
    with working(db, storage):
        shopper.wait(session_id, "completed")
    files = {digest_of(uploads / name) for name in files_in(uploads)}
    sql(EXPIRE_ALL)

    cleanup.purge(db, storage, ISSUER)

    (statement,) = statements(sql)
    assert statement["reason"] == "expiry"
    assert statement["session_sha256"] == receipts.hash_of(UUID(session_id))
    assert {one["sha256"] for one in statement["pictures"]} == files
    assert [one["role"] for one in statement["pictures"]] == ["input", "output"]
    assert shopper.http.get(f"/api/tryon/receipts/{session_id}").json()["statement"] == statement


@pytest.mark.parametrize("by", ["request", "expiry"])
def test_after_a_kill_between_files_and_row_the_next_purge_signs_for_the_same(
    shopper: Shopper, serve: Serve, run: Run, uploads: Path, sql: Sql, by: str
) -> None:
    session_id = shopper.submit()
    digest = digest_of(uploads / f"inputs/{session_id}/person.jpg")
    if by == "expiry":
        sql(EXPIRE_ALL)
        assert run("purge", dies_at="deleted outputs").wait() == -9
    else:
        server = serve(dies_at="deleted outputs", worker_concurrency=0).ready()
        with pytest.raises(Exception, match=r"[Dd]isconnected|reset|closed"):
            server.shopper.delete(session_id)
    assert files_in(uploads) == []
    assert statements(sql) == [], "its row is still there"

    assert run("purge").wait() == 0

    (statement,) = statements(sql)
    assert statement["reason"] == by
    assert [one["sha256"] for one in statement["pictures"]] == [digest]


def test_what_could_not_be_deleted_has_no_receipt_yet(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    shopper.submit()
    sql(EXPIRE_ALL)
    storage = Hooked(uploads)

    def refuse(_: str) -> None:
        raise StorageUnavailable

    storage.before_delete = refuse
    assert cleanup.purge(db, storage, ISSUER).failed == 1
    assert statements(sql) == []

    storage.before_delete = lambda _: None
    cleanup.purge(db, storage, ISSUER)

    assert len(statements(sql)) == 1


def test_of_two_who_erase_at_once_one_signs_and_both_answer_with_it(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit()
    sql(EXPIRE_ALL)
    storage = Hooked(uploads)
    answers: list[httpx.Response] = []

    def ask_too(_: str) -> None:
        if not answers:
            answers.append(
                shopper.http.delete(
                    f"/api/tryon/sessions/{session_id}", headers={**shopper.headers, **WANTED}
                )
            )

    storage.before_delete = ask_too

    assert cleanup.purge(db, storage, ISSUER).sessions == 0, "the other one was first"

    (statement,) = statements(sql)
    assert answers[0].json()["statement"] == statement
    assert statement["reason"] == "expiry", "that is why it began"


def test_many_who_erase_the_same_at_once_leave_one_receipt_each(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    ids = [UUID(shopper.submit()) for _ in range(5)]

    def erase(_: int) -> list[receipts.Document]:
        return erasure.erase(db, storage, ISSUER, ids, reason=Reason.REQUEST)

    with ThreadPoolExecutor(4) as pool:
        signed = [one for found in pool.map(erase, range(4)) for one in found]

    assert len(signed) == 5
    found = [statement["session_sha256"] for statement in statements(sql)]
    assert sorted(found) == sorted(map(receipts.hash_of, ids))


def test_files_that_no_row_names_are_told_of_too(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit()
    late, draft = f"outputs/{session_id}/2.jpg", f"inputs/{session_id}/.draft-00112233"
    storage.put(late, b"\x01 of a worker that was late")
    (uploads / draft).write_bytes(b"\x01 half a pict")
    (uploads / "inputs" / session_id / "Of a File Manager").write_bytes(b"x")
    digests = {digest_of(uploads / name) for name in (late, draft)}
    sql(EXPIRE_ALL)

    cleanup.purge(db, storage, ISSUER)

    (statement,) = statements(sql)
    roles = [one["role"] for one in statement["pictures"]]
    assert sorted(roles) == ["draft", "input", "output"]
    assert digests < {one["sha256"] for one in statement["pictures"]}
    assert statement["others"] == 1
    assert files_in(uploads) == []


def test_what_cannot_be_read_is_erased_and_counted(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit()

    class Unreadable(LocalStorage):
        def get(self, key: str) -> bytes:
            raise StorageUnavailable

    storage = Unreadable(uploads)
    storage.put(f"outputs/{session_id}/2.jpg", b"x")
    sql(EXPIRE_ALL)

    cleanup.purge(db, storage, ISSUER)

    (statement,) = statements(sql)
    assert (len(statement["pictures"]), statement["others"]) == (1, 1)
    assert files_in(uploads) == []


def test_inputs_that_went_early_stand_in_the_receipt(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    session_id = shopper.submit(delete_inputs="on_completion")
    digest = digest_of(uploads / f"inputs/{session_id}/person.jpg")
    with working(db, storage):
        shopper.wait(session_id, "completed")
        wait_for(lambda: "inputs" not in str(files_in(uploads)))

    shopper.delete(session_id)

    (statement,) = statements(sql)
    assert digest in {one["sha256"] for one in statement["pictures"]}
    assert [one["role"] for one in statement["pictures"]] == ["input", "output"]


def test_a_session_whose_pictures_are_lost_says_so_in_its_receipt(
    shopper: Shopper, db: Db, storage: LocalStorage, uploads: Path, sql: Sql
) -> None:
    whole, torn = shopper.submit(), shopper.submit()
    shutil.rmtree(uploads / "inputs" / torn)
    sql("UPDATE tryon_sessions SET updated_at = now() - interval '2 hours'")

    cleanup.sweep(db, storage, ISSUER)

    (statement,) = statements(sql)
    assert statement["reason"] == "repair", whole
    assert statement["session_sha256"] == receipts.hash_of(UUID(torn))


def test_the_purge_takes_receipts_past_their_time_and_no_others(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    ids = [shopper.submit() for _ in range(3)]
    for one in ids:
        shopper.delete(one)
    sql(
        "UPDATE deletion_receipts SET erased_at = now() - interval '101 days'"
        " WHERE session_sha256 <> :kept",
        kept=receipts.hash_of(UUID(ids[0])),
    )

    cleanup.purge(db, storage, ISSUER)

    (statement,) = statements(sql)
    assert statement["session_sha256"] == receipts.hash_of(UUID(ids[0]))


def test_a_row_that_a_backup_brings_back_is_erased_again_with_a_receipt_of_its_own(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    session_id = shopper.submit()
    sql("CREATE TABLE backup AS SELECT * FROM tryon_sessions")
    shopper.delete(session_id)
    sql("INSERT INTO tryon_sessions SELECT * FROM backup")
    sql("DROP TABLE backup")
    sql(EXPIRE_ALL)

    cleanup.purge(db, storage, ISSUER)

    assert len(statements(sql)) == 2
    kept = shopper.http.get(f"/api/tryon/receipts/{session_id}").json()["statement"]
    assert kept["erased_at"] == max(one["erased_at"] for one in statements(sql))


def test_the_database_says_when(shopper: Shopper, sql: Sql, db: Db) -> None:
    session_id = shopper.submit()
    with db() as tx:
        before = tx.scalar(text("SELECT clock_timestamp() - interval '1 millisecond'"))

    shopper.delete(session_id)

    ((erased_at, now),) = sql("SELECT erased_at, clock_timestamp() FROM deletion_receipts")
    assert before <= erased_at <= now


def test_with_nothing_kept_the_table_stays_empty(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    session_id = UUID(shopper.submit())
    none = Issuer(ISSUER._seeds, keep=timedelta(0))

    (receipt,) = erasure.erase(db, storage, none, [session_id], reason=Reason.REQUEST)

    assert receipts.check(receipt, none.public_keys)
    assert statements(sql) == []


KEYS = json.dumps(receipts.jwk_set(ISSUER.public_keys))


@pytest.fixture
def receipt(shopper: Shopper) -> dict[str, Any]:
    """Of a session that was erased; `session` is its id."""
    session_id = shopper.submit()
    shopper.delete(session_id)
    found = shopper.http.get(f"/api/tryon/receipts/{session_id}").json()
    return {"session": session_id, **found}


def test_the_command_checks_a_receipt_without_a_database(
    receipt: dict[str, Any], run: Run, tmp_path: Path
) -> None:
    session_id = receipt.pop("session")
    file, keys = tmp_path / "receipt.json", tmp_path / "keys.json"
    file.write_text(json.dumps(receipt, indent=2))
    keys.write_text(KEYS)
    nowhere = "postgresql://nobody@127.0.0.1:1/none"

    own = run("verify-receipt", str(file), "--session", session_id, database_url=nowhere)
    saved = run("verify-receipt", str(file), "--keys", str(keys), secret_key="another " * 3)
    another = run("verify-receipt", str(file), secret_key="another " * 3)
    of_another = run("verify-receipt", str(file), "--session", "x", database_url=nowhere)

    assert [one.wait() for one in (own, saved, another, of_another)] == [0, 0, 1, 1]
    assert own.text.startswith("VALID.")
    assert receipt["statement"]["session_sha256"] in own.text
    assert "not that nobody made a\ncopy" in own.text
    assert "NOT VALID. It is signed under a key" in another.text
    assert "NOT VALID. It is of another session." in of_another.text


@pytest.mark.parametrize(
    ("text", "status"),
    [("no JSON", 2), ("{}", 1), ('{"items": []}', 1), ('{"a": 1, "a": 2}', 2), (None, 2)],
)
def test_the_command_says_what_it_cannot_read(
    run: Run, tmp_path: Path, text: str | None, status: int
) -> None:
    file = tmp_path / "receipt.json"
    if text is not None:
        file.write_text(text)

    checked = run("verify-receipt", str(file))

    assert checked.wait() == status
    assert "Traceback" not in checked.text
    assert checked.text.strip()


def test_the_command_makes_no_secret_to_check_with(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "receipt.json"
    file.write_text("{}")

    checked = run("verify-receipt", str(file), secret_key=None, database_url=None)

    assert checked.wait() == 2
    assert "--keys" in checked.text
    assert not (tmp_path / "data").exists()


def documented(language: str) -> str:
    """The program of that language in docs/privacy.md that checks a receipt."""
    page = (ROOT / "docs/privacy.md").read_text()
    (found,) = re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)
    return str(found)


@pytest.mark.parametrize("language", ["python", "sh"])
@pytest.mark.parametrize("change", [None, "others", "erased_at"])
def test_a_receipt_can_be_checked_with_programs_that_are_not_ours(
    receipt: dict[str, Any], tmp_path: Path, language: str, change: str | None
) -> None:
    if language == "sh" and not all(map(shutil.which, ("openssl", "jq"))):
        pytest.skip(f"{NOT_APPLICABLE}openssl and jq are not on every machine")
    del receipt["session"]
    if change is not None:
        receipt["statement"][change] = 7
    (tmp_path / "receipt.json").write_text(json.dumps(receipt, indent=2))
    (tmp_path / "keys.json").write_text(KEYS)
    command = [sys.executable, "-c"] if language == "python" else ["sh", "-ec"]

    done = subprocess.run(
        [*command, documented(language)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode == 0) == (change is None), done.stdout + done.stderr
