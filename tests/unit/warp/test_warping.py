"""Splines and strips, against maps that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engines.warp.targets import SideTarget, SleeveTarget, TopTarget, place_top
from app.engines.warp.values import Floats, SleeveOutline, TopOutline, TopSide
from app.engines.warp.warping import Source, Spline, prepare, warp_body, warp_sleeve
from tests.unit.warp.drawn import drawn_garment, drawn_outline, drawn_scene, points


def _grid() -> Floats:
    x, y = np.meshgrid(np.linspace(20, 200, 6), np.linspace(30, 150, 5))
    return np.stack([x, y], -1).reshape(-1, 2).astype(np.float32)


@given(
    st.floats(-1.5, 1.5), st.floats(-1, 1), st.floats(-1, 1), st.floats(-1.5, 1.5), st.floats(-9, 9)
)
def test_a_spline_reproduces_every_affine_map(
    a: float, b: float, c: float, d: float, shift: float
) -> None:
    matrix = np.array([[a, b], [c, d]], np.float32)
    spline = Spline(_grid(), np.asarray(_grid() @ matrix.T + shift, np.float32))

    field = spline.field(7, 11, 40, 60)

    y, x = np.mgrid[11:51, 7:67]
    truth = np.stack([x, y], -1) @ matrix.T + shift
    np.testing.assert_allclose(field, truth, atol=0.05)


def test_a_spline_nearly_passes_through_its_points() -> None:
    rng = np.random.default_rng(5)
    values = (_grid() + rng.normal(0, 4, (30, 2))).astype(np.float32)

    found = Spline(_grid(), values)(_grid())

    assert float(np.abs(found - values).max()) < 0.5


def test_points_on_one_line_are_no_error() -> None:
    line = points((0, 0), (10, 10), (20, 20), (30, 30))

    assert np.isfinite(Spline(line, line).field(0, 0, 16, 16)).all()


def _same(flat: TopSide) -> SideTarget:
    return SideTarget(flat.neck, flat.tip, flat.pit, flat.shoulder, flat.side, None)


def _in_place(outline: TopOutline) -> TopTarget:
    """Every point goes where it is."""
    return TopTarget(
        left=_same(outline.left),
        right=_same(outline.right),
        hem=outline.hem,
        scale=1.0,
        stretch=1.0,
        hem_down=1.0,
        old_hem_down=1.0,
        half_widths={},
        arms={},
        legs={},
    )


def test_a_garment_that_stays_where_it_is_stays_what_it_is() -> None:
    garment = drawn_garment(sleeves=False)
    outline = drawn_outline(sleeves=False)
    source = Source(
        garment.picture,
        garment.picture,
        garment.alpha,
        body=np.ones_like(garment.alpha),
        inside=np.zeros_like(garment.alpha),
        scale=1.0,
    )

    cloth, cover, *_ = warp_body(drawn_scene(), source, outline, _in_place(outline))

    height, width = garment.alpha.shape[0], 200
    within = garment.picture[cloth.box]
    assert float(np.abs(cloth.colour[: len(within), : within.shape[1]] - within).mean()) < 1
    assert float(np.abs(cover[:height, :width] - garment.alpha[:, :width]).mean()) < 0.01
    assert float(cover[height:].sum()) == 0


def test_a_straight_sleeve_is_laid_along_its_rails() -> None:
    gradient = np.repeat(np.arange(120, dtype=np.float32)[:, None], 60, 1)
    picture = np.dstack([gradient] * 3)
    ones = np.ones((120, 60), np.float32)
    source = Source(picture, picture, ones, ones, ones, 1.0)
    flat = SleeveOutline(points((10, 10), (10, 110)), points((50, 10), (50, 110)), 100)
    outer = np.stack([np.full(30, 100), np.linspace(50, 250, 30)], 1).astype(np.float32)
    worn = SleeveTarget(outer, outer + points((40, 0)), reach=1.0, cut=0.0)

    layer = warp_sleeve(drawn_scene(), source, flat, worn, "left")

    assert layer is not None
    rows, columns = layer.cloth.box
    middle = layer.cloth.colour[150 - rows.start, 120 - columns.start, 0]
    assert middle == pytest.approx(60, abs=2)  # half way down either
    assert layer.cover[150 - rows.start, 120 - columns.start] == 1
    assert layer.cover[150 - rows.start, 95 - columns.start] == 0
    assert layer.along[150 - rows.start, 120 - columns.start] == pytest.approx(0.5, abs=0.02)
    assert layer.aside[150 - rows.start, 120 - columns.start] == pytest.approx(0.5, abs=0.02)


def test_the_garment_is_shrunk_to_the_size_it_is_worn_at() -> None:
    garment = drawn_garment()

    source = prepare(garment, 0.5)

    assert source.scale == pytest.approx(0.55, abs=0.01)
    assert float(source.alpha.mean()) == pytest.approx(float(garment.alpha.mean()), abs=0.01)


def test_the_body_and_the_sleeves_leave_out_nothing() -> None:
    garment = drawn_garment()
    scene = drawn_scene()
    target = place_top(scene, garment)
    source = prepare(garment, target.scale)
    outline = garment.outline
    assert isinstance(outline, TopOutline)
    assert outline.left.sleeve is not None
    assert target.left.sleeve is not None

    _, cover, *_ = warp_body(scene, source, outline, target)
    sleeve = warp_sleeve(scene, source, outline.left.sleeve, target.left.sleeve, "left")

    assert sleeve is not None
    both = cover.copy()
    box = sleeve.cloth.box
    np.maximum(both[box], sleeve.cover, out=both[box])
    seam = (target.left.tip + target.left.pit) / 2
    x, y = round(float(seam[0])), round(float(seam[1]))
    assert float(both[y - 5 : y + 6, x - 8 : x + 9].min()) > 0.9
