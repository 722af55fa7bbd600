"""Key points of drawn garments, compared with where they were drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from app.engines.warp.arrays import length
from app.engines.warp.contours import find_tilt, read_shape
from app.engines.warp.kinds import doubts_about_bottom, doubts_about_top
from app.engines.warp.outline_bottom import read_bottom
from app.engines.warp.outline_top import read_top
from app.engines.warp.values import Point
from tests import garment_pictures as pictures

TOPS = [kind for kind, cut in pictures.CUTS.items() if cut.category != "bottoms"]
BOTTOMS = [kind for kind, cut in pictures.CUTS.items() if cut.category == "bottoms"]

_NEAR = 0.045
"""Of the picture's width."""

_AS_LONG = 0.12
"""By how much the sleeves of a symmetric garment may differ: a lost cuff is 30 % and more."""

_NOT_SHOWN = {("close sleeves", "pit"), ("touching sleeves", "pit"), ("long sleeve", "pit")}
"""Armpits that a narrow gap or a crease hides: they are found lower."""


@pytest.mark.parametrize("kind", TOPS)
def test_the_points_of_a_top_are_where_they_were_drawn(kind: str) -> None:
    drawn = pictures.draw(kind)
    shape, scale = read_shape(drawn.coverage)

    outline = read_top(shape)

    for side_name, side in (("left", outline.left), ("right", outline.right)):
        found = {"neck": side.neck, "tip": side.tip, "pit": side.pit, "hem": side.hem}
        if side.sleeve is not None:
            found |= {"cuff_outer": side.sleeve.outer[-1], "cuff_inner": side.sleeve.inner[-1]}
        for name, point in found.items():
            if (kind, name) not in _NOT_SHOWN:
                _assert_near(point / scale, drawn, f"{name}_{side_name}")


@pytest.mark.parametrize("narrower", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", ["t-shirt", "banded sleeves", "puffed sleeves", "sleeved dress"])
def test_both_sleeves_of_a_symmetric_garment_are_as_long(kind: str, narrower: int) -> None:
    """Also where the right half is some percent narrower, as on photos."""
    coverage = pictures.draw(kind).coverage.copy()
    middle = coverage.shape[1] // 2
    half = cv2.resize(coverage[:, middle:], None, fx=1 - narrower / 100, fy=1)
    coverage[:, middle:] = 0
    coverage[:, middle : middle + half.shape[1]] = half

    top = read_top(read_shape(coverage)[0])

    assert top.left.sleeve is not None
    assert top.right.sleeve is not None
    assert top.right.sleeve.length == pytest.approx(top.left.sleeve.length, rel=_AS_LONG)
    assert length(top.right.sleeve.outer) == pytest.approx(
        length(top.left.sleeve.outer), rel=_AS_LONG
    )


@pytest.mark.parametrize("kind", BOTTOMS)
def test_the_points_of_bottoms_are_where_they_were_drawn(kind: str) -> None:
    drawn = pictures.draw(kind)
    shape, scale = read_shape(drawn.coverage)

    outline = read_bottom(shape)

    assert outline.kind == kind.rsplit(maxsplit=1)[-1]
    _assert_near(outline.waist[0] / scale, drawn, "waist_left")
    _assert_near(outline.waist[-1] / scale, drawn, "waist_right")
    _assert_near(outline.left[-1] / scale, drawn, "hem_outer_left")
    _assert_near(outline.right[-1] / scale, drawn, "hem_outer_right")
    if outline.crotch is not None:
        assert outline.inner_left is not None
        _assert_near(outline.crotch / scale, drawn, "crotch")
        _assert_near(outline.inner_left[-1] / scale, drawn, "hem_inner_left")


def _assert_near(point: Point, drawn: pictures.Drawn, name: str) -> None:
    distance = float(np.hypot(*(point - drawn.points[name]))) / drawn.picture.shape[1]
    assert distance < _NEAR, f"{name} is {distance:.1%} of the width off"


@pytest.mark.parametrize(
    ("kind", "sleeves"),
    [
        ("t-shirt", "short"),
        ("fitted t-shirt", "short"),
        ("long sleeve", "long"),
        ("close sleeves", "long"),
        ("touching sleeves", "long"),
        ("tank", "none"),
        ("strap top", "straps"),
        ("dress", "none"),
        ("sleeved dress", "short"),
        ("banded sleeves", "short"),
        ("puffed sleeves", "short"),
        ("cardigan", "long"),
    ],
)
def test_sleeves_are_told_apart(kind: str, sleeves: str) -> None:
    shape, _ = read_shape(pictures.draw(kind).coverage)

    assert read_top(shape).sleeves == sleeves


def test_bare_shoulders_and_standing_collars_are_seen() -> None:
    readings = {
        kind: read_top(read_shape(pictures.draw(kind).coverage)[0])
        for kind in ("t-shirt", "off shoulder", "turtle-neck")
    }

    assert {kind: top.off_shoulder for kind, top in readings.items()} == {
        "t-shirt": False,
        "off shoulder": True,
        "turtle-neck": False,
    }
    assert readings["turtle-neck"].collar_height > 20
    assert readings["t-shirt"].collar_height < 5


@pytest.mark.parametrize("degrees", [-8, 0, 8])
def test_a_tilt_is_measured(degrees: int) -> None:
    drawn = pictures.draw("t-shirt", pictures.Look(texture=0))
    turned = pictures.degrade(drawn.picture, f"turn{degrees}") if degrees else drawn.picture
    mask = (turned.astype(np.int16).min(2) < 200).astype(np.uint8)

    assert find_tilt(mask) == pytest.approx(-degrees, abs=1.5)


@pytest.mark.parametrize(
    "corners",
    [
        [(10, 10), (200, 10), (290, 290), (280, 290), (150, 100), (10, 100)],  # no hem on the left
        [(5, 5), (8, 5), (290, 280), (290, 295), (250, 295), (5, 12)],  # the top far from the axis
        [(5, 200), (150, 150), (290, 5), (295, 5), (295, 20), (160, 200), (5, 230)],
    ],
)
def test_lopsided_things_are_read_too(corners: list[tuple[int, int]]) -> None:
    mask = np.zeros((300, 300), np.uint8)
    cv2.fillPoly(mask, [np.array(corners)], 1)
    shape, _ = read_shape(mask.astype(np.float32))

    assert doubts_about_top(shape, read_top(shape))
    assert doubts_about_bottom(shape, read_bottom(shape))
