"""The whole service with its pictures on a real S3 server, which is killed and frozen under it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest

from app.database import Db
from app.services import cleanup, crypto
from app.services.audit import audit
from app.services.objects import ObjectStorage
from tests import seaweed as servers
from tests.flows.conftest import EXPIRE_ALL, ISSUER, VAULT, Run, Serve, Sql, wait_for
from tests.seaweed import BUCKET, TIMEOUT_S, SeaweedFS

pytestmark = pytest.mark.cluster

WITHIN_S = 2 * TIMEOUT_S + 3
"""A create tries to write, then to take back what may have been written."""


@pytest.fixture
def own(tmp_path: Path) -> Iterator[SeaweedFS]:
    folder = tmp_path / "seaweed"
    folder.mkdir()
    with servers.running(folder) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    return f"flows/{uuid4().hex}"


def test_the_life_of_sessions_on_s3(
    seaweed: SeaweedFS, prefix: str, serve: Serve, run: Run, sql: Sql, db: Db
) -> None:
    settings = seaweed.environment(prefix)
    storage = ObjectStorage(f"s3://{BUCKET}/{prefix}", seaweed.access)
    init = run("storage", "init", **settings)
    assert init.wait() == 0, init.text
    server = serve(**settings).ready()
    shopper = server.shopper
    one, other = shopper.submit(), shopper.submit(delete_inputs="on_completion")
    for session_id in (one, other):
        shopper.wait(session_id, "completed")

    for name in ("input", "output"):
        picture = shopper.get(f"{one}/{name}")
        assert picture.status_code == 200
        assert picture.content.startswith(b"\xff\xd8")
        assert int(picture.headers["Content-Length"]) == len(picture.content)
        assert picture.headers["Cache-Control"] == "private, no-store"
    signed = shopper.see(one)["output_image_url"]
    assert shopper.http.get(signed).content == shopper.get(f"{one}/output").content
    wait_for(lambda: not list(storage.objects(f"inputs/{other}")))
    kept = [one.key for prefix in ("inputs", "outputs") for one in storage.objects(prefix)]
    assert len(kept) == 3
    assert all(crypto.is_sealed(storage.get(key)) for key in kept)

    erased = shopper.http.request(
        "DELETE",
        f"/api/tryon/sessions/{one}",
        headers={**shopper.headers, "Prefer": "return=representation"},
    )
    assert erased.status_code == 200
    assert len(erased.json()["statement"]["pictures"]) == 2
    assert erased.json()["statement"]["others"] == 0
    assert not [key for key in kept if storage.exists(key) and one in key]

    server.terminate()  # or its own purge might be at it already
    assert server.wait() == 0
    sql(EXPIRE_ALL)
    storage.put(f"inputs/{uuid4()}/person.jpg", b"what a crash has left")
    purged = run("purge", **settings)
    assert purged.wait() == 0, purged.text
    assert cleanup.sweep(db, storage, ISSUER, age=timedelta(0)).files == 1
    assert [*storage.objects("inputs"), *storage.objects("outputs")] == []
    audited = run("audit", "--json", **settings)
    assert audited.wait() == 0, audited.text
    doctor = run("doctor", "--json", **settings)
    doctor.wait()
    parts = json.loads(doctor.text[doctor.text.index("{\n") :])["parts"]
    assert (parts["bucket"]["status"], parts["storage"]["status"]) == ("ok", "ok")
    assert servers.SECRET not in server.text + doctor.text


def _kill(server: SeaweedFS) -> Callable[[], None]:
    server.kill()
    return server.start


def _freeze(server: SeaweedFS) -> Callable[[], None]:
    server.freeze()
    return server.thaw


@pytest.mark.parametrize("take_away", [_kill, _freeze])
def test_a_store_that_goes_away_is_told_within_seconds_and_nothing_is_lost(
    take_away: Callable[[SeaweedFS], Callable[[], None]],
    own: SeaweedFS,
    prefix: str,
    serve: Serve,
    sql: Sql,
    db: Db,
) -> None:
    server = serve(mock_seconds=2, **own.environment(prefix)).ready()
    shopper = server.shopper
    done, in_work, waiting = shopper.submit(), shopper.submit(), shopper.submit()
    shopper.wait(done, "completed")
    wait_for(lambda: shopper.see(in_work)["stage"])

    bring_back = take_away(own)

    for ask in (shopper.post, lambda: shopper.get(f"{done}/output"), lambda: shopper.delete(done)):
        check_unavailable(ask)
    assert shopper.get(in_work).status_code == 200, "a poll needs no picture"
    assert shopper.get(done).status_code == 410, "the erasure has begun"
    health = shopper.health()
    assert health.status_code == 503
    assert health.json()["parts"]["storage"]["status"] == "unavailable"
    wait_for(lambda: "worker.insists" in server.text)

    bring_back()
    for session_id in (in_work, waiting):
        assert shopper.wait(session_id, "completed", within_s=60)["attempts"] == 1
        assert shopper.get(f"{session_id}/output").status_code == 200
    assert shopper.health().status_code == 200
    # Writes that were frozen on their way may come later: the refused create's, and a probe's.
    storage = ObjectStorage(f"s3://{BUCKET}/{prefix}", own.access)
    assert cleanup.purge(db, storage, ISSUER).failed == 0
    swept = cleanup.sweep(db, storage, ISSUER, age=timedelta(0))
    assert (swept.rows, swept.failed) == (0, 0)
    assert swept.files <= 2
    assert audit(db, storage, VAULT, ISSUER, age=timedelta(0)).found == []
    assert sql("SELECT count(*) FROM tryon_sessions") == [(2,)]
    assert "Traceback" not in server.text


def test_a_store_that_restarts_under_many_creates_loses_none_that_were_taken(
    own: SeaweedFS, prefix: str, serve: Serve, db: Db
) -> None:
    server = serve(worker_concurrency=2, **own.environment(prefix)).ready()
    shopper = server.shopper

    def create(_: int) -> httpx.Response:
        return shopper.post()

    with ThreadPoolExecutor(6) as pool:
        first = list(pool.map(create, range(6)))
        later = [pool.submit(create, i) for i in range(30)]
        later[3].result()
        own.kill()
        own.start()
        answers = first + [one.result() for one in later]

    assert {one.status_code for one in answers} <= {201, 503}
    taken = [one.json()["id"] for one in answers if one.status_code == 201]
    assert len(taken) >= 10
    for session_id in taken:
        shopper.wait(session_id, "completed", within_s=60)
        assert shopper.get(f"{session_id}/output").status_code == 200
    storage = ObjectStorage(f"s3://{BUCKET}/{prefix}", own.access)
    cleanup.sweep(db, storage, ISSUER, age=timedelta(0))
    report = audit(db, storage, VAULT, ISSUER, age=timedelta(0))
    assert (report.found, report.sessions) == ([], len(taken))


def test_a_wrong_secret_is_503_and_the_doctor_says_so(
    seaweed: SeaweedFS, prefix: str, serve: Serve, run: Run
) -> None:
    settings = {**seaweed.environment(prefix), "aws_secret_access_key": "not-the-right-secret"}
    server = serve(**settings).ready()

    check_unavailable(server.shopper.post)
    doctor = run("doctor", **settings)

    assert doctor.wait() == 1
    assert "does not let us" in doctor.text
    assert "SignatureDoesNotMatch" in doctor.text
    assert "not-the-right-secret" not in server.text + doctor.text


def test_a_worker_of_another_process_reads_what_the_server_wrote(
    seaweed: SeaweedFS, prefix: str, serve: Serve, run: Run
) -> None:
    settings = seaweed.environment(prefix)
    shopper = serve(worker_concurrency=0, **settings).ready().shopper
    session_id = shopper.submit()

    run("worker", **settings)

    assert shopper.wait(session_id, "completed")
    assert UUID(session_id)


def check_unavailable(ask: Callable[[], httpx.Response]) -> None:
    began = time.monotonic()
    answer = ask()
    assert time.monotonic() - began < WITHIN_S
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["Retry-After"]) > 0
