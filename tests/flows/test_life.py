"""The story of a session: submitted, worked on, fetched, erased; in every state it may be in."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from app.database import Db, advisory_lock
from app.services import cleanup
from app.services.storage import LocalStorage
from tests.fixtures import MakeClient
from tests.flows.conftest import (
    EXPIRE_ALL,
    ISSUER,
    TOKEN,
    Hooked,
    Run,
    Shopper,
    Sql,
    files_in,
    outcomes,
    wait_for,
    working,
)


def test_a_photo_goes_in_a_picture_comes_out_and_everything_is_erased(
    make_client: MakeClient, run: Run, db: Db, sql: Sql, uploads: Path
) -> None:
    shopper = Shopper(make_client(worker_concurrency=1))

    # A picture comes out, for the token and for the signed address alike.
    session_id = shopper.submit(output_format="png")
    session = shopper.wait(session_id, "completed")
    assert (session["attempts"], session["progress"], session["stage"]) == (1, 1, "compose")
    for name in ("input", "garment", "output"):
        answer = shopper.get(f"{session_id}/{name}")
        signed = shopper.http.get(session[f"{name}_image_url"])
        assert (answer.status_code, signed.content) == (200, answer.content)
        Image.open(io.BytesIO(answer.content)).verify()
    assert answer.headers["Content-Type"] == "image/png"
    assert len(files_in(uploads)) == 2

    # Past its time it is gone at once, although nobody could purge yet.
    with advisory_lock(db, cleanup.PURGE_LOCK):
        sql(EXPIRE_ALL)
        for path in (session_id, f"{session_id}/input", f"{session_id}/output"):
            answer = shopper.get(path)
            assert (answer.status_code, answer.json()["code"]) == (410, "session_expired")
        assert shopper.http.get(session["output_image_url"]).status_code == 410
        assert shopper.get().json()["items"] == []
        assert len(files_in(uploads)) == 2

    # And then there is nothing left of it.
    assert run("purge").wait() == 0
    answer = shopper.get(session_id)
    assert (answer.status_code, answer.json()["code"]) == (404, "session_not_found")
    assert files_in(uploads) == []
    assert not list((uploads / "inputs").iterdir()), "folders go too: they are named by the id"
    assert sql("SELECT count(*) FROM tryon_sessions") == [(0,)]


def test_a_server_purges_by_itself(
    make_client: MakeClient, sql: Sql, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleanup, "FIRST_PURGE", timedelta(seconds=0.5))
    shopper = Shopper(make_client(purge_interval_minutes=0.01))
    session_id = shopper.submit()

    sql(EXPIRE_ALL)

    wait_for(lambda: shopper.get(session_id).status_code == 404)
    assert files_in(uploads) == []


def test_a_session_is_erased_in_whatever_state_it_is(
    make_client: MakeClient, uploads: Path
) -> None:
    client = make_client(worker_concurrency=1, mock_faults=("1:hang", "2:fail"))
    shopper = Shopper(client)
    ids = {"completed": shopper.submit(seed=0), "failed": shopper.submit(seed=2)}
    for status, session_id in ids.items():
        shopper.wait(session_id, status)
    ids["processing"] = shopper.submit(seed=1)
    shopper.wait(ids["processing"], "processing")
    ids["created"] = shopper.submit(seed=0)
    assert shopper.see(ids["created"])["status"] == "created"

    for session_id in ids.values():
        assert shopper.delete(session_id).status_code == 204
        assert shopper.delete(session_id).status_code == 204, "gone is gone"
        assert shopper.get(session_id).status_code == 404

    assert files_in(uploads) == []


def test_erasing_what_is_in_work_frees_the_engine_at_once(
    make_client: MakeClient, uploads: Path
) -> None:
    shopper = Shopper(make_client(worker_concurrency=1, mock_seconds=30))
    cancelled = outcomes("cancelled")
    erased = shopper.submit()
    wait_for(lambda: shopper.see(erased)["stage"])
    following = shopper.submit()

    shopper.delete(erased)

    shopper.wait(following, "processing", within_s=3)
    assert outcomes("cancelled") == cancelled + 1
    assert shopper.get(erased).status_code == 404
    shopper.delete(following)
    wait_for(lambda: outcomes("cancelled") == cancelled + 2, within_s=3)
    assert files_in(uploads) == []


def test_erasing_everything_of_a_token_leaves_others_alone(
    make_client: MakeClient, uploads: Path
) -> None:
    client = make_client(worker_concurrency=1, mock_faults=("1:hang",))
    mine, other = Shopper(client), Shopper(client, token=f"{TOKEN}-other")
    done, kept = mine.submit(), other.submit()
    mine.wait(done, "completed")
    other.wait(kept, "completed")
    mine.wait(mine.submit(seed=1), "processing")
    mine.submit()

    assert mine.delete().status_code == 204

    assert mine.get().json()["items"] == []
    assert [session["id"] for session in other.get().json()["items"]] == [kept]
    wait_for(lambda: not [file for file in files_in(uploads) if kept not in file])
    assert other.get(f"{kept}/output").status_code == 200


def test_a_stranger_can_neither_see_nor_erase(shopper: Shopper) -> None:
    stranger = Shopper(shopper.http, token="somebody-else")
    session_id = shopper.submit()

    assert stranger.get(session_id).status_code == 404
    assert stranger.get(f"{session_id}/input").status_code == 404
    assert stranger.get().json()["items"] == []
    assert stranger.delete(session_id).status_code == 204
    assert stranger.delete().status_code == 204

    assert shopper.get(f"{session_id}/input").status_code == 200


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_is_erased_while_its_output_is_written_leaves_no_file(
    shopper: Shopper, db: Db, uploads: Path, sql: Sql, moment: str
) -> None:
    storage = Hooked(uploads)
    session_id = shopper.submit()

    def purge(_: str) -> None:
        sql(EXPIRE_ALL)
        assert cleanup.purge(db, LocalStorage(uploads), ISSUER).sessions == 1

    setattr(storage, f"{moment}_put", purge)
    late = outcomes("late")
    with working(db, storage):
        wait_for(lambda: outcomes("late") == late + 1)

    assert files_in(uploads) == []
    assert shopper.get(session_id).status_code == 404


def test_the_catalogue_knows_what_its_garments_are_and_the_client_may_know_better(
    make_client: MakeClient,
) -> None:
    name = "tests.engines_for_tests:Echo"
    shopper = Shopper(make_client(worker_concurrency=1, engine=name, engines=(name,)))

    def asked(**fields: object) -> list[str]:
        session = shopper.wait(shopper.submit(**fields), "completed")
        return [one["message"] for one in session["warnings"]]

    assert asked(garment_id="chinos", mode="fast") == ["bottoms", "flat-lay", "fast"]
    assert asked(garment_id="chinos", category="tops") == ["tops", "flat-lay", "balanced"]
