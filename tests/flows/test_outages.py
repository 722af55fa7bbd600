"""A part goes away under a running service, and comes back: said clearly, nothing lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import httpx
import psutil
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlalchemy.engine import make_url

from app.database import engine_of, open_db
from app.postgres import EmbeddedPostgres
from app.runtime import Runtime
from tests.fixtures import MakeClient
from tests.flows.conftest import (
    Hooked,
    Serve,
    Shopper,
    Sql,
    alive,
    files_in,
    losing_the_answer,
    wait_for,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a database that is stopped and killed; made once, because that takes 1 s."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def postgres(data: Path) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(data / "postgres") as running:
        yield running


@pytest.mark.slow
def test_a_database_that_goes_away_is_waited_for_and_nothing_is_lost(
    serve: Serve, postgres: EmbeddedPostgres, uploads: Path
) -> None:
    url = postgres.url
    server = serve(database_url=url, mock_seconds=2).ready()
    shopper = server.shopper
    in_work, waiting = shopper.submit(), shopper.submit()
    wait_for(lambda: shopper.see(in_work)["stage"])
    before = [name for name in files_in(uploads) if name.startswith("inputs")]

    postgres.stop()
    late = serve(database_url=url, worker_concurrency=0).ready()

    for one in (shopper, late.shopper):
        for answer in (one.post(), one.get(in_work), one.get(), one.delete(in_work)):
            _check_unavailable(answer)
        health = one.health()
        assert (health.status_code, health.json()["status"]) == (503, "unavailable")
        assert health.json()["parts"]["database"]["status"] == "unavailable"
        assert one.http.get("/api/health/live").status_code == 200
        assert one.http.get("/api/health/ready").status_code == 503
    assert [name for name in files_in(uploads) if name.startswith("inputs")] == before

    wait_for(
        lambda: "worker.insists" in server.text
    )  # the picture is made, and has no row to go to

    postgres.start()
    for one in (shopper, late.shopper):
        wait_for(lambda one=one: one.health().status_code == 200)  # type: ignore[misc]
    for session_id in (in_work, waiting, late.shopper.submit()):
        assert shopper.wait(session_id, "completed")
    assert shopper.health().json()["status"] == "ok"
    assert "Traceback" not in server.text + late.text


def test_a_database_that_goes_away_between_files_and_row_leaves_no_file(
    make_client: MakeClient, cluster: EmbeddedPostgres, database_url: str, uploads: Path
) -> None:
    shopper, storage = Shopper(make_client()), Hooked(uploads)
    _parts(shopper).storage = storage
    stored: list[str] = []

    def go_away(key: str) -> None:
        stored.append(key)
        _let_in(cluster, database_url, False)

    storage.after_put = go_away

    answer = shopper.post()

    _check_unavailable(answer)
    assert len(stored) == 1, "it went away in the middle"
    assert files_in(uploads) == []
    storage.after_put = stored.append
    _let_in(cluster, database_url, True)
    wait_for(lambda: shopper.health().status_code == 200)
    assert shopper.get().json()["items"] == []
    assert shopper.post().status_code == 201


def test_a_create_whose_commit_lost_its_answer_leaves_nothing(
    shopper: Shopper, uploads: Path, sql: Sql
) -> None:
    with losing_the_answer(_parts(shopper).db, of=lambda row: row.status == "created") as lost:
        answer = shopper.post()

    _check_unavailable(answer)
    assert len(lost) == 1, "the row was committed"
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]
    assert files_in(uploads) == []


def test_a_create_that_cannot_be_taken_back_keeps_its_pictures(
    shopper: Shopper, cluster: EmbeddedPostgres, database_url: str, uploads: Path, sql: Sql
) -> None:
    with losing_the_answer(
        _parts(shopper).db,
        of=lambda row: row.status == "created",
        then=lambda: _let_in(cluster, database_url, False),
    ):
        answer = shopper.post()

    _check_unavailable(answer)
    _let_in(cluster, database_url, True)
    ((session_id,),) = sql("SELECT id::text FROM tryon_sessions")
    assert files_in(uploads) == [f"inputs/{session_id}/person.jpg"], "it can be worked on"


@pytest.mark.slow
def test_an_embedded_database_that_was_killed_is_brought_back(
    serve: Serve, data: Path, uploads: Path
) -> None:
    server = serve(database_url=None, data_dir=data, secret_key=None, mock_seconds=0.5).ready()
    shopper = server.shopper
    in_work = shopper.submit()
    wait_for(lambda: shopper.see(in_work)["stage"])
    (file,) = (data / "postgres").glob("pg*/postmaster.pid")
    postmaster = psutil.Process(int(file.read_text().splitlines()[0]))

    postmaster.kill()

    wait_for(lambda: not alive(postmaster))
    wait_for(lambda: shopper.health().status_code == 200, within_s=15)
    for session_id in (in_work, shopper.submit()):
        shopper.wait(session_id, "completed")
    assert len(files_in(uploads)) == 4
    server.terminate()
    assert server.wait(within_s=10) == 0
    assert not file.exists(), "the last user stops the database"


@pytest.mark.slow
def test_an_embedded_database_whose_folder_was_removed_is_made_anew(
    serve: Serve, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    server = serve(database_url=None, data_dir=data, secret_key=None, mock_seconds=0).ready()
    (file,) = (data / "postgres").glob("pg*/postmaster.pid")
    postmaster = psutil.Process(int(file.read_text().splitlines()[0]))

    shutil.rmtree(data / "postgres")
    postmaster.kill()

    wait_for(lambda: not alive(postmaster))
    wait_for(lambda: server.shopper.post().status_code == 201, within_s=30)
    server.shopper.wait(server.shopper.submit(), "completed")
    server.terminate()
    assert server.wait(within_s=10) == 0, "the last user stops the database"


def _parts(shopper: Shopper) -> Runtime:
    """The parts of the server in this process that this shopper uses."""
    return cast("Runtime", cast("TestClient", shopper.http).app.state.runtime)  # type: ignore[attr-defined]


def _let_in(cluster: EmbeddedPostgres, database_url: str, allowed: bool) -> None:
    """Open a database to everybody, or throw everybody out of it."""
    name = make_url(database_url).database
    db = open_db(cluster.url, pool_size=1)
    try:
        with engine_of(db).connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}"))
            if not allowed:
                ended = (
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                )
                connection.execute(text(ended), {"name": name})
    finally:
        engine_of(db).dispose()


def _check_unavailable(answer: httpx.Response) -> None:
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
