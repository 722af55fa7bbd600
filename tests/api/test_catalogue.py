"""Engines, garments, sample people: what can be asked for."""

from __future__ import annotations

import io

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app import catalogue
from tests.fixtures import MakeClient

BASE = "/api/tryon"


def test_an_engine_says_what_it_can_do_and_where_photos_go(shared_client: TestClient) -> None:
    (engine,) = shared_client.get(f"{BASE}/engines").json()["items"]

    assert set(engine) == {
        *("name", "version", "title", "default", "categories", "photo_types", "modes"),
        *("limits", "licences", "weights", "needs", "deterministic", "egress", "egress_to"),
    }
    assert (engine["name"], engine["default"], engine["egress"]) == ("mock", True, False)
    assert set(engine["categories"]) <= {"tops", "bottoms", "one-pieces"}
    assert set(engine["photo_types"]) <= {"flat-lay", "model"}
    assert set(engine["modes"]) <= {"fast", "balanced", "quality"}
    assert engine["limits"]["max_file_bytes"] == 10_485_760
    assert engine["limits"]["max_pixels"] == 25_000_000
    assert engine["limits"]["max_side"] == 8000
    assert engine["limits"]["min_side"] > 0
    assert all(set(one) == {"subject", "licence", "commercial"} for one in engine["licences"])


def test_the_limits_are_the_operators(make_client: MakeClient) -> None:
    client = make_client(max_file_mb=1, max_megapixels=2)

    (engine,) = client.get(f"{BASE}/engines").json()["items"]

    assert engine["limits"]["max_file_bytes"] == 1024 * 1024
    assert engine["limits"]["max_pixels"] == 2_000_000


def test_the_garments_are_those_of_the_catalogue(shared_client: TestClient) -> None:
    answer = shared_client.get(f"{BASE}/garments")

    items = answer.json()["items"]
    assert [one["id"] for one in items] == [one.id for one in catalogue.garments()]
    assert {one["category"] for one in items} == {"tops", "bottoms", "one-pieces"}
    assert set(items[0]) == {"id", "name", "category", "garment_photo_type", "image_url"}
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


def test_the_people_are_those_of_the_catalogue(shared_client: TestClient) -> None:
    answer = shared_client.get(f"{BASE}/people")

    items = answer.json()["items"]
    assert [one["id"] for one in items] == [one.id for one in catalogue.people()]
    assert set(items[0]) == {"id", "name", "description", "shows", "image_url"}
    assert [one["shows"] for one in items] == [one.shows for one in catalogue.people()]
    assert answer.headers["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize("kind", ["garments", "people"])
def test_every_picture_loads_and_may_be_kept(shared_client: TestClient, kind: str) -> None:
    for item in shared_client.get(f"{BASE}/{kind}").json()["items"]:
        answer = shared_client.get(item["image_url"])

        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "image/webp"
        assert answer.headers["Cache-Control"] == "public, max-age=3600"
        assert answer.headers["ETag"]
        assert Image.open(io.BytesIO(answer.content)).format == "WEBP"


@pytest.mark.parametrize("kind", ["garments", "people"])
@pytest.mark.parametrize(
    "name", ["nobody", "..%2fcatalogue.toml", "%2e%2e%2f%2e%2e%2fconfig", "%00", "tshirt-print%00"]
)
def test_there_is_nothing_beside_the_catalogue(
    shared_client: TestClient, kind: str, name: str
) -> None:
    answer = shared_client.get(f"{BASE}/{kind}/{name}/image")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
