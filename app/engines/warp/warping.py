"""The garment bent to the body: layers on the photo.

The torso is one thin-plate spline through the points of the outline; each sleeve is another one,
through a mesh between its two rails, and what it covers is the area between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TypeAlias, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arms import fill
from app.engines.warp.arrays import blur, resample, resize, smoothstep
from app.engines.warp.scene import OUTWARD, Scene
from app.engines.warp.targets import SleeveTarget, TopTarget
from app.engines.warp.values import (
    SIDES,
    Box,
    Floats,
    Garment,
    Mask,
    Points,
    Side,
    SleeveOutline,
    TopOutline,
)

_Doubles: TypeAlias = NDArray[np.float64]

_GRID = 8
"""The spline is computed on every eighth pixel: between them it is nearly linear."""
_STIFFNESS = 2e-3
"""How much the spline may miss its points, in squares of their spread: noise of the key points
must not become ripples."""
_ALONG_SLEEVE, _ACROSS_SLEEVE = 20, 3
"""Points of a sleeve's mesh, at most: with more, solving for the spline takes longest of all."""
_UNDER_SLEEVE = 0.012
"""How far the body goes on under the sleeves, in garment widths, so that nothing shows between."""
_MARGIN = 12
_BESIDE = 0.25
"""Shoulder widths beside the garment that are painted in the colours of its edge, at most, where a
top has to hide what it does not reach."""
_FINER = 1.1
"""The garment's pixels over those on which it is drawn: with fewer it would be blurred."""


@dataclass(frozen=True)
class Source:
    """The garment at about the size at which it is worn, with the parts of it told apart.

    picture: (h, w, 3) float32, 0–255. sharp: the same for the picture that is made, which may be
    larger than the scene. alpha: coverage. body: what is not sleeve. inside: the back of the
    collar, seen from the front. scale: pixels of all but `sharp` for one of the garment's. opening:
    of an open front; None where it is closed.
    """

    picture: Floats
    sharp: Floats
    alpha: Mask
    body: Mask
    inside: Mask
    scale: float
    opening: Mask | None = None


@dataclass(frozen=True)
class Piece:
    """A part of a garment that can be drawn anew, larger than the scene.

    picture: the garment's, (h, w, 3) float32, 0–255. box: rows and columns of the scene. field:
    (h, w, 2), of the box: where in the picture each pixel comes from, x before y. share: (h, w),
    how much of the box's colour is this piece's; None: all.
    """

    picture: Floats
    box: Box
    field: Floats
    share: Mask | None = None


@dataclass(frozen=True)
class Cloth:
    """A garment's colour on a part of the scene.

    box: rows and columns; what lies outside is not covered. colour: (h, w, 3) float32, 0–255, of
    the box. pieces: what it was drawn from; none where the picture is no larger than the scene.
    """

    box: Box
    colour: Floats
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True)
class SleeveLayer:
    """A sleeve within the box of its cloth.

    cover: 0–1. along: 0 at the seam, 1 at the cuff. aside: 0 on the outer, 1 on the inner edge.
    """

    cloth: Cloth
    cover: Mask
    along: Floats
    aside: Floats
    side: Side


@dataclass(frozen=True)
class TopLayers:
    """A top on the body, not yet lit.

    body: the garment without sleeves. cover: where that is, 0–1, of the whole scene. inside: which
    of it is the inside of its back. opening: where an open front shows what is worn under it, which
    the body does not cover; None elsewhere.
    """

    body: Cloth
    cover: Mask
    inside: Mask
    sleeves: tuple[SleeveLayer, ...]
    opening: Mask | None = None


def warp_top(scene: Scene, garment: Garment, target: TopTarget) -> TopLayers:
    """All layers of a top or one-piece."""
    outline = garment.outline
    assert isinstance(outline, TopOutline)
    source = prepare(garment, target.scale, enlarge=scene.place.enlarge)
    body, cover, inside, opening = warp_body(scene, source, outline, target)
    sleeves = []
    for side in SIDES:
        flat, worn = outline.side(side).sleeve, target.side(side).sleeve
        if flat is not None and worn is not None:
            sleeves.append(warp_sleeve(scene, source, flat, worn, side))
    worn_sleeves = tuple(layer for layer in sleeves if layer is not None)
    return TopLayers(body, cover, inside, worn_sleeves, opening)


class Spline:
    """A thin-plate spline from points of the plane to values, fitted once.

    Source: Bookstein, Principal Warps, IEEE PAMI 11 (1989).
    """

    def __init__(self, points: Points, values: Floats, stiffness: float = _STIFFNESS) -> None:
        self._centre = points.mean(0)
        self._spread = float(points.std()) + 1e-6
        self._knots = (points - self._centre).astype(np.float64) / self._spread
        count = len(points)
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = self._kernel(self._knots) + stiffness * np.eye(count)
        system[:count, count:] = self._affine(self._knots)
        system[count:, :count] = system[:count, count:].T
        right = np.concatenate([values, np.zeros((3, values.shape[1]))])
        try:
            self._weights = np.linalg.solve(system, right)
        except np.linalg.LinAlgError:  # points on one line, as a limb seen from its end
            self._weights = np.linalg.lstsq(system, right, rcond=None)[0]

    def __call__(self, points: Points) -> Floats:
        """(n, values): the spline at (n, 2) points."""
        scaled = (points - self._centre).astype(np.float64) / self._spread
        count = len(self._knots)
        curved = self._kernel(scaled) @ self._weights[:count]
        return np.asarray(curved + self._affine(scaled) @ self._weights[count:], np.float32)

    def field(self, left: int, top: int, height: int, width: int) -> Floats:
        """(height, width, values): at every pixel of a box."""
        return self.enlarged(self.nodes(left, top, height, width), height, width)

    def nodes(self, left: int, top: int, height: int, width: int) -> Floats:
        """(rows, columns, values): at every `_GRID`th pixel of a box, from its corner on."""
        x = np.arange(left, left + width + _GRID, _GRID, dtype=np.float32)
        y = np.arange(top, top + height + _GRID, _GRID, dtype=np.float32)
        nodes = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
        return self(nodes).reshape(len(y), len(x), -1)

    @staticmethod
    def enlarged(coarse: Floats, height: int, width: int) -> Floats:
        """(height, width, values): at every pixel, from what is known at the nodes."""
        enlarge = np.array([[_GRID, 0, 0], [0, _GRID, 0]], np.float64)
        field = cv2.warpAffine(
            coarse,
            enlarge,
            (width, height),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return cast("Floats", field)

    def _kernel(self, points: _Doubles) -> _Doubles:
        squares = (
            (points**2).sum(1)[:, None] + (self._knots**2).sum(1)[None] - 2 * points @ self._knots.T
        )
        squares = np.maximum(squares, 1e-12)
        return cast("_Doubles", 0.5 * squares * np.log(squares))

    @staticmethod
    def _affine(points: _Doubles) -> _Doubles:
        return np.hstack([np.ones((len(points), 1)), points])


# --- the garment ----------------------------------------------------------------------------


def worn_size(garment: Garment, scale: float) -> tuple[int, int]:
    """Height and width at which its pattern does not alias. scale: scene pixels over its own."""
    shrink = min(1.0, scale * _FINER)
    height, width = (max(2, round(side * shrink)) for side in garment.alpha.shape)
    return height, width


def prepare(garment: Garment, scale: float, *, enlarge: float = 1.0) -> Source:
    """The garment shrunk to the size at which it is worn.

    enlarge: how many times as large as the scene the picture is that is made.
    """
    outline = garment.outline
    assert isinstance(outline, TopOutline)
    small = worn_size(garment, scale)
    factor = small[1] / garment.alpha.shape[1]
    picture, finer = resize(garment.picture, *small), scale * enlarge
    return Source(
        picture=picture,
        sharp=picture if enlarge == 1 else resize(garment.picture, *worn_size(garment, finer)),
        alpha=resize(garment.alpha, *small),
        body=_body_mask(outline, factor, small),
        inside=_inside_mask(outline, factor, small),
        scale=factor,
        opening=None if garment.opening is None else resize(garment.opening, *small),
    )


def _body_mask(outline: TopOutline, factor: float, size: tuple[int, int]) -> Mask:
    """All but the sleeves: cut along the seams from shoulder tips to armpits."""
    height, width = size
    if outline.left.sleeve is None and outline.right.sleeve is None:
        return np.ones(size, np.float32)
    points: list[Points] = []
    for side in SIDES:
        flat = outline.left if side == "left" else outline.right
        out = np.array([OUTWARD[side] * width, 0], np.float32)
        up = np.array([0, -height], np.float32)
        chain = [
            flat.neck * factor + up * 0.3,
            flat.tip * factor + out * _UNDER_SLEEVE + up * 0.1,
            flat.tip * factor + out * _UNDER_SLEEVE,
            flat.pit * factor + out * _UNDER_SLEEVE,
            *(flat.side[1:] * factor + out * 0.03),
            flat.hem * factor + out * 0.05 - up * 0.1,
        ]
        points.extend(chain if side == "left" else reversed(chain))
    return blur(fill(size, np.asarray(points, np.float32)), 1.0)


def _inside_mask(outline: TopOutline, factor: float, size: tuple[int, int]) -> Mask:
    if outline.neckline is None:
        return np.zeros(size, np.float32)
    line = outline.neckline * factor
    up = np.array([0, -0.3 * size[0]], np.float32)
    polygon = np.concatenate([line, (line[-1] + up)[None], (line[0] + up)[None]])
    return blur(fill(size, np.asarray(polygon, np.float32)), 0.8)


# --- the torso ------------------------------------------------------------------------------


def warp_body(
    scene: Scene, source: Source, outline: TopOutline, target: TopTarget
) -> tuple[Cloth, Mask, Mask, Mask | None]:
    """The garment without its sleeves, and what `TopLayers` has beside it, in its order."""
    on_garment, on_body = _torso_pairs(outline, target)
    spline = Spline(on_body, on_garment * source.scale)
    nodes = spline.nodes(0, 0, scene.height, scene.width)
    box, part = _shows(nodes, source.alpha.shape, scene)
    height, width = box[0].stop - box[0].start, box[1].stop - box[1].start
    field = spline.enlarged(nodes[part], height, width)
    cover, inside = (np.zeros((scene.height, scene.width), np.float32) for _ in range(2))
    masks = np.dstack([source.alpha * source.body, source.inside])
    seen = look_up(masks, field, replicate=False)
    cover[box], inside[box] = seen[..., 0], seen[..., 1]
    colour = look_up(source.picture, field, replicate=True)
    cloth = Cloth(box, colour, pieces(scene, (source.picture, source.sharp), box, field))
    if source.opening is None:
        return cloth, cover, inside, None
    # An opening goes on below the hem, further than the garment shows.
    everywhere = spline.enlarged(nodes, scene.height, scene.width)
    opening = look_up(source.opening, everywhere, replicate=True)
    return cloth, cover * (1 - opening), inside, opening


def _shows(nodes: Floats, size: tuple[int, ...], scene: Scene) -> tuple[Box, Box]:
    """The part of the scene in which a garment of this size can show, and the same of the nodes."""
    x, y = nodes[..., 0], nodes[..., 1]
    # Between two nodes that both lie outside there is nothing of it, but for its corners.
    within = (x > -_GRID) & (x < size[1] + _GRID) & (y > -_GRID) & (y < size[0] + _GRID)
    around = 2 + ceil(_BESIDE * scene.body.shoulder_width / _GRID)
    near = cv2.dilate(within.astype(np.uint8), np.ones((2 * around - 1,) * 2, np.uint8)) > 0
    spans = []
    for axis, most in ((1, scene.height), (0, scene.width)):
        at = np.flatnonzero(near.any(axis))
        first, last = (int(at[0]), int(at[-1])) if len(at) else (0, 1)
        spans.append((slice(first * _GRID, min(most, last * _GRID)), slice(first, last + 2)))
    (rows, of_rows), (columns, of_columns) = spans
    return (rows, columns), (of_rows, of_columns)


def pieces(
    scene: Scene,
    pictures: tuple[Floats, Floats],
    box: Box,
    field: Floats,
    share: Mask | None = None,
) -> tuple[Piece, ...]:
    """What a cloth in the scene is drawn from once more, where the picture that is made is larger.

    pictures: the garment's as it was drawn, and the larger one. field: the first two of its values
    are where in the former each pixel of the box comes from. share: as in `Piece`.
    """
    if scene.place.enlarge == 1:
        return ()
    drawn, sharp = pictures
    finer = np.array([sharp.shape[1] / drawn.shape[1], sharp.shape[0] / drawn.shape[0]], np.float32)
    return (Piece(sharp, box, np.asarray(field[..., :2] * finer, np.float32), share),)


def _torso_pairs(outline: TopOutline, target: TopTarget) -> tuple[Points, Points]:
    """Points of the garment, and where they go; about forty-five of each."""
    flat: list[Points] = [outline.hem[1:-1]]
    worn: list[Points] = [target.hem[1:-1]]
    for of_garment, on_body in ((outline.left, target.left), (outline.right, target.right)):
        flat += [of_garment.neck[None], of_garment.tip[None], of_garment.side]
        worn += [on_body.neck[None], on_body.tip[None], on_body.side]
        if of_garment.sleeve is not None:
            flat.append(of_garment.shoulder)
            worn.append(on_body.shoulder)
    rows = slice(1, 8, 2)
    flat.append(np.float32(0.5) * (outline.left.side[rows] + outline.right.side[rows]))
    worn.append(np.float32(0.5) * (target.left.side[rows] + target.right.side[rows]))
    return np.concatenate(flat), np.concatenate(worn)


def look_up(picture: Floats, field: Floats, *, replicate: bool) -> Floats:
    border = cv2.BORDER_REPLICATE if replicate else cv2.BORDER_CONSTANT
    # Two maps: from one of two channels OpenCV 5.0 leaves what lies far outside as it found it.
    x, y = (np.ascontiguousarray(field[..., i]) for i in (0, 1))
    return cast("Floats", cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=border))


# --- the sleeves ----------------------------------------------------------------------------


def warp_sleeve(
    scene: Scene, source: Source, flat: SleeveOutline, target: SleeveTarget, side: Side
) -> SleeveLayer | None:
    """One sleeve along the arm; None where it lies outside the scene."""
    count = min(len(target.outer), _ALONG_SLEEVE)
    across = np.linspace(0, 1, _ACROSS_SLEEVE, dtype=np.float32)[None, :, None]
    worn = [resample(rail, count) for rail in (target.outer, target.inner)]
    mesh = worn[0][:, None] * (1 - across) + worn[1][:, None] * across
    outer, inner = (resample(rail, count) * source.scale for rail in (flat.outer, flat.inner))
    flat_mesh = outer[:, None] * (1 - across) + inner[:, None] * across
    lengthwise = np.repeat(np.linspace(0, 1, count), _ACROSS_SLEEVE)
    values = np.column_stack([flat_mesh.reshape(-1, 2), lengthwise, np.tile(across.ravel(), count)])
    box = _sleeve_box(scene, mesh.reshape(-1, 2))
    if box is None:
        return None
    left, top, height, width = box
    field = Spline(mesh.reshape(-1, 2).astype(np.float32), values.astype(np.float32)).field(
        left, top, height, width
    )
    polygon = np.concatenate([_dense(target.outer), _dense(target.inner)[::-1]])
    cover = blur(fill((height, width), polygon - np.array([left, top], np.float32)), 0.7)
    # The sides are the rails'; the cuff ends where the garment does.
    cuff = smoothstep(field[..., 2], 0.75, 0.85)
    cover *= 1 - cuff * (1 - look_up(source.alpha, field, replicate=False))
    where = np.s_[top : top + height, left : left + width]
    colour = look_up(source.picture, field[..., :2], replicate=True)
    return SleeveLayer(
        Cloth(where, colour, pieces(scene, (source.picture, source.sharp), where, field)),
        cover=cover,
        along=np.ascontiguousarray(field[..., 2]),
        aside=np.ascontiguousarray(field[..., 3]),
        side=side,
    )


def _sleeve_box(scene: Scene, mesh: Points) -> tuple[int, int, int, int] | None:
    """left, top, height, width of the sleeve and a little round it, within the scene."""
    low, high = np.floor(mesh.min(0)) - _MARGIN, np.ceil(mesh.max(0)) + _MARGIN
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(scene.width, int(high[0])), min(scene.height, int(high[1]))
    if right - left < 2 or bottom - top < 2:
        return None
    return left, top, bottom - top, right - left


def _dense(rail: Points) -> Points:
    """(161, 2): a smooth curve through a rail's points, not a polyline.

    Source: Catmull and Rom, A Class of Local Interpolating Splines, 1974.
    """
    padded = np.concatenate([2 * rail[:1] - rail[1:2], rail, 2 * rail[-1:] - rail[-2:-1]])
    at = np.linspace(0, len(rail) - 1, 161)
    first = np.minimum(at.astype(int), len(rail) - 2)
    t = (at - first)[:, None]
    p0, p1, p2, p3 = (padded[first + i] for i in range(4))
    curve = 0.5 * (
        2 * p1
        + (p2 - p0) * t
        + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
        + (3 * p1 - p0 - 3 * p2 + p3) * t**3
    )
    return np.asarray(curve, np.float32)
