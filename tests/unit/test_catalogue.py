"""The catalogue names pictures that exist, are safe to show and are what the contract says."""

from __future__ import annotations

import json
import re
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app import catalogue
from app.catalogue import Garment, Person

ITEMS: tuple[Garment | Person, ...] = (*catalogue.garments(), *catalogue.people())
TRUTH = Path(__file__).parents[1] / "data" / "people"
PICTURE_CHUNKS = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH"}


def webp_chunks(path: Path) -> set[bytes]:
    """The names of the file's chunks; EXIF, XMP and colour profiles are chunks of their own."""
    data = path.read_bytes()
    assert data[:4] == b"RIFF"
    assert data[8:12] == b"WEBP"
    names, at = set(), 12
    while at < len(data):
        names.add(data[at : at + 4])
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        at += 8 + length + length % 2
    return names


@pytest.mark.parametrize("kind", ["garments", "people"])
def test_what_is_listed_is_what_lies_in_the_folder(kind: str) -> None:
    listed = {item.path for item in getattr(catalogue, kind)()}

    assert listed
    assert listed == set((catalogue.FOLDER / kind).iterdir())


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_every_picture_decodes_as_portrait_webp(item: Garment | Person) -> None:
    with Image.open(item.path) as picture:
        picture.load()

        assert picture.format == "WEBP"
        assert picture.mode == "RGB"
        assert picture.width * 4 == picture.height * 3
        assert picture.width >= 768


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_no_picture_carries_metadata(item: Garment | Person) -> None:
    assert webp_chunks(item.path) <= PICTURE_CHUNKS


@pytest.mark.parametrize("items", [catalogue.garments(), catalogue.people()])
def test_ids_are_unique_and_safe_in_a_url(items: tuple[Garment | Person, ...]) -> None:
    ids = [item.id for item in items]

    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in ids)


def test_the_pictures_are_small() -> None:
    sizes = [item.path.stat().st_size for item in ITEMS]

    assert max(sizes) < 60 * 1024
    assert sum(sizes) < 600 * 1024


def test_the_default_garment_is_a_top() -> None:
    assert catalogue.garments()[0].category == "tops"


def test_there_is_a_garment_of_every_category_of_the_contract_and_of_no_other() -> None:
    assert {one.category for one in catalogue.garments()} == {"tops", "bottoms", "one-pieces"}


def test_garments_were_photographed_as_the_contract_knows_it() -> None:
    assert {one.garment_photo_type for one in catalogue.garments()} <= {"flat-lay", "model"}


@pytest.mark.parametrize("item", catalogue.people(), ids=lambda item: item.id)
def test_nobody_is_taken_for_a_real_person(item: Person) -> None:
    assert "computer-generated" in item.description
    assert item.description.endswith(".")


@pytest.mark.parametrize("item", catalogue.people(), ids=lambda item: item.id)
def test_the_ground_truth_belongs_to_the_picture(item: Person) -> None:
    background, skin, upper = 0, 1, 3
    joints = json.loads((TRUTH / f"{item.id}_joints.json").read_text())
    labels = np.asarray(Image.open(TRUTH / f"{item.id}_labels.png"))
    picture = np.asarray(Image.open(item.path))

    def label_at(joint: str) -> int:
        x, y = joints[joint]
        return int(labels[round(y), round(x)])

    assert labels.shape == picture.shape[:2]
    assert label_at("nose") == skin
    assert label_at("left_shoulder") == label_at("right_shoulder") == upper
    assert joints["right_shoulder"][0] < joints["nose"][0] < joints["left_shoulder"][0]
    # Around the person is a plain backdrop: it varies by at most 7.4 grey levels under a person's
    # own labels, by at least 9.6 under those of any other.
    assert picture[labels == background].std(axis=0).max() < 8.5


@pytest.mark.parametrize("item", catalogue.people(), ids=lambda item: item.id)
def test_what_a_picture_shows_is_where_the_joints_lie(item: Person) -> None:
    joints = json.loads((TRUTH / f"{item.id}_joints.json").read_text())
    with Image.open(item.path) as picture:
        height = picture.height

    lowest = max(y for joint, (_, y) in joints.items() if joint.endswith("ankle"))
    assert item.shows == ("full" if lowest < height else "half")


def test_a_half_length_picture_suits_tops_only() -> None:
    top, bottom, dress = (
        next(one for one in catalogue.garments() if one.category == category)
        for category in ("tops", "bottoms", "one-pieces")
    )
    half = next(one for one in catalogue.people() if one.shows == "half")

    assert [half.suits(one) for one in (top, bottom, dress)] == [True, False, False]
    assert all(replace(half, shows="full").suits(one) for one in (top, bottom, dress))


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.id)
def test_every_item_has_a_name_and_is_found_by_its_id(item: Garment | Person) -> None:
    look_up = catalogue.garment if isinstance(item, Garment) else catalogue.person

    assert item.name.strip() == item.name != ""
    assert look_up(item.id) is item


@pytest.mark.parametrize("unknown", ["", "ADA", "../catalogue", "nobody"])
def test_an_unknown_id_finds_nothing(unknown: str) -> None:
    assert catalogue.garment(unknown) is None
    assert catalogue.person(unknown) is None


def test_an_item_cannot_be_changed_by_who_reads_it() -> None:
    with pytest.raises(FrozenInstanceError):
        catalogue.garments()[0].name = "Other"  # type: ignore[misc]
