"""SECRET_KEY changes or is lost: what is readable, who is told, and that nothing crashes."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

import pytest

from app import crud
from app.database import Db
from app.services import rotation
from app.services.crypto import ID_BYTES, PictureUnreadable, Vault
from app.services.rotation import Rotation
from app.services.storage import LocalStorage
from app.signing import Keyring
from tests.fixtures import SECRET, MakeClient
from tests.flows.conftest import EXPIRE_ALL, VAULT, Run, Shopper, Sql, wait_for, working

NEW = "the secret that follows it"
BOTH = Vault(Keyring([NEW, SECRET]).wrapping, encrypt=True)
ONLY_NEW = Vault(Keyring([NEW]).wrapping, encrypt=True)


def wrapped(sql: Sql) -> dict[UUID, bytes]:
    return {row[0]: bytes(row[1]) for row in sql("SELECT id, wrapped_key FROM tryon_sessions")}


def test_after_a_rotation_the_new_secret_alone_reads_everything(
    shopper: Shopper, run: Run, sql: Sql, storage: LocalStorage, make_client: MakeClient
) -> None:
    ids = [shopper.submit() for _ in range(3)]
    before = {session_id: shopper.get(f"{session_id}/input").content for session_id in ids}

    rotated = run("rotate-keys", secret_key=f"{NEW},{SECRET}")
    again = run("rotate-keys", secret_key=f"{NEW},{SECRET}")
    assert (rotated.wait(), again.wait()) == (0, 0)

    # At once, and so they share the work.
    counts = [re.search(r"anew: (\d), not readable: 0", one.text) for one in (rotated, again)]
    assert sum(int(found[1]) for found in counts if found) == 3
    for id_, key in wrapped(sql).items():
        name = f"inputs/{id_}/person.jpg"
        picture = ONLY_NEW.key_of(id_, key).unseal(name, storage.get(name))
        assert picture == before[str(id_)]
        with pytest.raises(PictureUnreadable):
            VAULT.key_of(id_, key)
    rotating = Shopper(make_client(secret_key=f"{NEW},{SECRET}", worker_concurrency=1))
    for session_id in ids:
        rotating.wait(session_id, "completed")
        assert rotating.get(f"{session_id}/input").content == before[session_id]


def test_a_rotation_takes_the_receivers_of_webhooks_along(
    make_client: MakeClient, db: Db, sql: Sql
) -> None:
    url = "http://127.0.0.1:9999/hook?key=1"
    session_id = UUID(Shopper(make_client(webhook_allow_private=True)).submit(webhook_url=url))

    assert rotation.rotate(db, BOTH) == Rotation(2, unreadable=0)

    ((sealed,),) = sql("SELECT webhook_url FROM tryon_sessions")
    assert ONLY_NEW.unseal_url(session_id, bytes(sealed)) == url
    with pytest.raises(PictureUnreadable):  # a URL is no key, though both are sealed alike
        ONLY_NEW.key_of(session_id, bytes(sealed))
    assert rotation.rotate(db, BOTH) == Rotation(0, unreadable=0)


def test_a_rotation_goes_in_batches_and_counts_what_it_cannot_open(
    shopper: Shopper, db: Db, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation, "BATCH", 2)
    ids = [UUID(shopper.submit()) for _ in range(5)]
    sql("UPDATE tryon_sessions SET wrapped_key = 'damaged' WHERE id = :id", id=ids[2])
    sql("UPDATE tryon_sessions SET wrapped_key = NULL WHERE id = :id", id=ids[3])
    told: list[int] = []

    assert rotation.rotate(db, BOTH, on_progress=told.append) == Rotation(3, unreadable=1)

    assert told[-1] == 3
    assert len(told) > 1
    assert rotation.rotate(db, BOTH) == Rotation(0, unreadable=1)


def test_a_key_that_changed_meanwhile_is_left_alone(
    shopper: Shopper, db: Db, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a session completes under a new key, just then."""
    session_id = UUID(shopper.submit())
    other = VAULT.another_key(session_id).wrapped
    rewrap = Vault.rewrap

    def complete_meanwhile(self: Vault, id_: UUID, key: bytes) -> bytes:
        sql("UPDATE tryon_sessions SET wrapped_key = :key WHERE id = :id", key=other, id=id_)
        return rewrap(self, id_, key)

    monkeypatch.setattr(Vault, "rewrap", complete_meanwhile)

    assert rotation.rotate(db, BOTH) == Rotation(0)

    assert wrapped(sql) == {session_id: other}


def test_what_has_expired_is_not_worth_a_rotation(shopper: Shopper, db: Db, sql: Sql) -> None:
    shopper.submit()
    sql(EXPIRE_ALL)

    assert rotation.rotate(db, BOTH) == Rotation(0)


def test_the_doctor_says_what_a_change_of_the_secret_leaves_to_do(
    shopper: Shopper, run: Run
) -> None:
    shopper.submit()
    secrets = {"well": SECRET, "older": f"{NEW},{SECRET}", "lost": NEW}
    doctors = {
        name: run("doctor", secret_key=secret, worker_concurrency=0)
        for name, secret in secrets.items()
    }

    assert {name: one.wait() for name, one in doctors.items()} == {"well": 0, "older": 1, "lost": 1}

    said = {
        name: "".join(re.findall(r"^keys +(.+)$", one.text, re.MULTILINE))
        for name, one in doctors.items()
    }
    assert said["well"] == "ok"
    assert "older secret: 1." in said["older"]
    assert "rotate-keys" in said["older"]
    assert "cannot be read: 1." in said["lost"]


def test_with_a_lost_secret_nothing_crashes_and_everybody_is_told(
    shopper: Shopper, run: Run, db: Db, sql: Sql
) -> None:
    session_id = shopper.submit()

    worker = run("worker", secret_key=NEW, max_attempts=1)

    assert shopper.wait(session_id, "failed")["error_code"] == "engine_error"
    wait_for(lambda: "picture.unreadable" in worker.text)
    assert "keys.unknown_secret" in worker.text
    assert "Traceback" not in worker.text
    assert not worker.ended
    assert shopper.delete(session_id).status_code == 204
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]


@pytest.mark.slow
def test_a_worker_that_lacks_the_secret_leaves_the_session_to_one_that_has_it(
    shopper: Shopper, db: Db, storage: LocalStorage, run: Run, sql: Sql
) -> None:
    session_id = shopper.submit()
    ignorant = run("worker", secret_key=NEW)
    wait_for(lambda: "session.retried" in ignorant.text)
    ignorant.kill()

    with working(db, storage):
        session = shopper.wait(session_id, "completed")

    assert session["attempts"] == 2


def test_a_picture_whose_file_was_exchanged_is_not_there(
    shopper: Shopper, uploads: Path, sql: Sql
) -> None:
    one, other = shopper.submit(), shopper.submit()
    files = [uploads / "inputs" / session_id / "person.jpg" for session_id in (one, other)]
    files[0].write_bytes(files[1].read_bytes())

    answer = shopper.get(f"{one}/input")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert shopper.get(f"{other}/input").status_code == 200


def test_an_old_copy_of_the_files_cannot_be_read_after_the_erasure(
    shopper: Shopper, db: Db, storage: LocalStorage, sql: Sql
) -> None:
    """Somebody restores yesterday's backup of the uploads, and has the secret, too."""
    session_id = shopper.submit()
    with working(db, storage):
        shopper.wait(session_id, "completed")
    stored = [one.key for top in ("inputs", "outputs") for one in storage.objects(top)]
    backup = {key: storage.get(key) for key in stored}
    assert len(backup) == 2
    assert shopper.delete(session_id).status_code == 204

    for key, data in backup.items():
        storage.put(key, data)

    later = shopper.submit()
    with db() as tx:
        seen = crud.get_session(tx, UUID(later))
    assert seen is not None
    assert seen.row.wrapped_key is not None
    assert seen.row.wrapped_key[:ID_BYTES] == VAULT.ids[0]
    for key, data in backup.items():
        assert not data.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF"))
        for known in (seen.row.wrapped_key, None):
            with pytest.raises(PictureUnreadable):
                VAULT.key_of(UUID(later), known).unseal(key, data)
    assert shopper.get(f"{session_id}/input").status_code == 404
