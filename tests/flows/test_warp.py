"""The engine warp in the service: a photo goes in, the garment is on, and what must stay stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.engines.warp import MIN_SIDE
from tests import people, pictures
from tests.fixtures import MakeClient
from tests.flows.conftest import TOKEN, URL, Shopper, wait_for

# The networks load in half a second, and a picture takes one; not so where tests fill all cores.
PATIENCE_S = 60


@pytest.fixture(scope="module")
def shopper(make_shared_client: MakeClient, weights_dir: Path) -> Shopper:
    """Its networks are loaded once; the sessions of the tests do not disturb each other."""
    client = make_shared_client(
        worker_concurrency=1, engine="warp", engines=("warp", "mock"), weights_dir=weights_dir
    )
    return Shopper(client)


def submit(shopper: Shopper, person: bytes, **fields: str) -> str:
    answer = shopper.http.post(
        URL, files={"person_image": person}, data={"user_token": TOKEN, **fields}
    )
    assert answer.status_code == 201, answer.text
    session = answer.json()
    assert session["engine"] == "warp"
    return str(session["id"])


def test_the_garment_is_on_and_the_rest_is_as_it_was(shopper: Shopper) -> None:
    name = "mia"

    session_id = submit(shopper, people.photo(name), garment_id="henley", output_format="png")
    session = shopper.wait(session_id, "completed", within_s=PATIENCE_S)

    assert session["progress"] == 1
    assert session["category"] == "tops", "asked for was `auto`"
    before, after = (shopper.get(f"{session_id}/{kind}").content for kind in ("input", "output"))
    apart = people.difference(before, after)
    garment_s_place = people.labels(name) == people.UPPER
    assert (apart[garment_s_place] > 30).mean() > 0.8, "white became green"
    changed = {what: int((apart[mask] > 0).sum()) for what, mask in people.kept(name).items()}
    assert changed == dict.fromkeys(changed, 0)


def test_a_photo_of_nobody_fails_with_a_code_and_what_to_do(shopper: Shopper) -> None:
    session_id = submit(shopper, pictures.jpeg(pictures.photo(768, 1024)))

    session = shopper.wait(session_id, "failed", within_s=PATIENCE_S)

    assert session["error_code"] == "no_person"
    assert session["error_reason"].endswith(".")
    assert "photo" in session["error_reason"]
    assert session["output_image_url"] is None


def test_a_picture_that_is_too_small_is_refused_at_the_door(shopper: Shopper) -> None:
    small = pictures.jpeg(pictures.photo(MIN_SIDE - 1, 400))

    answer = shopper.http.post(URL, files={"person_image": small}, data={"user_token": TOKEN})

    assert (answer.status_code, answer.json()["code"]) == (422, "image_dimensions")
    assert str(MIN_SIDE) in answer.json()["detail"]


def test_it_says_that_it_is_a_preview_and_under_which_licences(shopper: Shopper) -> None:
    warp, mock = shopper.http.get("/api/tryon/engines").json()["items"]

    assert (warp["name"], warp["default"], mock["name"]) == ("warp", True, "mock")
    assert "preview" in warp["title"].lower()
    assert warp["photo_types"] == ["flat-lay"], "worn garments are refused"
    licences = {one["subject"]: one["licence"] for one in warp["licences"]}
    assert licences["pose_landmark_full.tflite"] == "Apache-2.0"
    assert len(licences) > 3


def test_without_its_model_files_the_server_runs_and_says_what_to_do(
    make_client: MakeClient, tmp_path: Path
) -> None:
    shopper = Shopper(
        make_client(
            worker_concurrency=1,
            engine="warp",
            engines=("warp", "mock"),
            weights_dir=tmp_path / "none",
        )
    )

    def told() -> str:
        return str(shopper.health().json()["parts"]["engine"].get("detail") or "")

    wait_for(told)

    assert "Run `python scripts/fetch_weights.py`" in told()
    assert str(tmp_path) not in told(), "everybody may read it"
    assert shopper.health().json()["status"] == "degraded"
    refused = shopper.http.post(
        URL, files={"person_image": people.photo("mia")}, data={"user_token": TOKEN}
    )
    assert (refused.status_code, refused.json()["code"]) == (503, "engine_unavailable")
    shopper.wait(shopper.submit(engine="mock"), "completed")
