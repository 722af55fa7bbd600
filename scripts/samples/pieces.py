"""What is sewn onto a flat garment: collars, a hood, pockets, waistbands, cords.

Outlines are metres in the plane of the pattern (see patterns.py). A piece lies on the cloth below
it, `lift` metres higher, and rises towards `fold`, the line along which a collar is turned over.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from patterns import SLEEVE_END, path, piece
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Piece:
    """lining: seen from inside, in shadow. shade: of the garment's colour."""

    outline: np.ndarray
    lift: float = 0.003
    thickness: float = 0.0022
    fold: np.ndarray | None = None
    rise: float = 0.010
    lining: bool = False
    shade: float = 1.0
    color: tuple[float, float, float] | None = None


def both_sides(right: Piece) -> list[Piece]:
    flip = np.array([-1, 1])
    fold = None if right.fold is None else right.fold * flip
    left = Piece(
        right.outline[::-1] * flip,
        right.lift + 0.0004,
        right.thickness,
        fold,
        right.rise,
        right.lining,
        right.shade,
        right.color,
    )
    return [left, right]


def lay(
    part: Piece, flat: np.ndarray, lying: np.ndarray, step: float = 0.005
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rest positions, positions and faces of a piece on a garment that lies on a table."""
    points, faces, _ = piece(part.outline, step)
    distance, nearest = cKDTree(flat[:, :2]).query(points, k=8)
    weight = 1 / (distance + 0.004) ** 2
    weight /= weight.sum(1, keepdims=True)
    moved = ((lying - flat)[nearest][..., :2] * weight[..., None]).sum(1)
    height = 0.6 * (lying[nearest][..., 2] * weight).sum(1) + 0.4 * lying[nearest][..., 2].max(1)
    height += part.lift
    if part.fold is not None:
        height += part.rise * np.exp(-((cKDTree(part.fold).query(points)[0] / 0.016) ** 2))
    rest = np.c_[points, np.zeros(len(points))]
    return rest, np.c_[points + moved, height], faces


def dense(points, step: float = 0.003) -> np.ndarray:
    out = []
    for a, b in zip(points, points[1:], strict=False):
        n = max(1, int(np.hypot(b[0] - a[0], b[1] - a[1]) / step))
        out += [(a[0] + (b[0] - a[0]) * i / n, a[1] + (b[1] - a[1]) * i / n) for i in range(n)]
    return np.array([*out, points[-1]])


def collar(*, neck: float, depth: float, point: tuple[float, float], gap: float) -> list[Piece]:
    """A turned-down collar; neck and depth: of the neckline; gap: between its two halves."""
    fold = path((gap, -depth), ((neck - 0.004, 0.016), -0.014))
    outer = path(
        fold[-1],
        ((neck + 0.036, -0.016), 0.006),
        ((point[0], point[1]), 0.004),
        ((gap, -depth - 0.004), -0.003),
    )[1:]
    leaf = Piece(np.array(fold + outer), 0.004, 0.0030, dense(fold), 0.009)
    top = path((-neck, 0.014), ((neck, 0.014), 0.012))
    stand = path((neck - 0.006, -0.026), ((-neck + 0.006, -0.026), -0.012))
    inside = Piece(np.array(top + stand), 0.002, lining=True, shade=0.72)
    return [inside, *both_sides(leaf)]


def smooth(points) -> list[tuple[float, float]]:
    """A spline from the middle of the body to the middle again, level at both ends."""
    points = np.array(points, float)
    along = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    level = np.array([1.0, 0.0])
    ends = ((1, level), (1, -level))
    curve = CubicSpline(along, points, bc_type=ends)(np.linspace(0, along[-1], 28))
    return [(max(0.0, float(x)), float(y)) for x, y in curve]


def strip(left: float, right: float, top: float, bottom: float, **more) -> Piece:
    outline = [(left, top), (left, bottom), (right, bottom), (right, top)]
    return Piece(np.array(outline), **more)


def polo() -> list[Piece]:
    placket = strip(-0.017, 0.017, -0.078, -0.245, lift=0.0022)
    return [placket, *collar(neck=0.080, depth=0.080, point=(0.072, -0.140), gap=0.003)]


def shirt() -> list[Piece]:
    placket = strip(-0.018, 0.018, -0.085, -0.752, lift=0.0020)
    pocket = Piece(
        np.array(
            [(0.06, -0.20), (0.165, -0.20), (0.165, -0.31), (0.1125, -0.33), (0.06, -0.31)]
        ),
        0.0026,
    )
    under = SLEEVE_END[0] - 0.088, SLEEVE_END[1] - 0.045
    cuffs = both_sides(cuff(SLEEVE_END, under, 0.062))
    parts = collar(neck=0.078, depth=0.088, point=(0.078, -0.158), gap=0.004)
    return [placket, pocket, *cuffs, *parts]


def cuff(outer, inner, deep: float) -> Piece:
    """A band at the end of a sleeve, whose end runs from outer to inner."""
    outer, inner = np.array(outer), np.array(inner)
    along = (outer - inner) / np.hypot(*(outer - inner))
    up = np.array([-along[1], along[0]]) * deep
    wider = along * 0.003
    outline = [outer + wider, outer + wider + up, inner - wider + up, inner - wider]
    return Piece(np.array(outline), 0.0024)


def hood() -> list[Piece]:
    """A hood that lies behind the neck, a pouch pocket and cords."""
    inner = smooth([(0, -0.108), (0.050, -0.068), (0.080, -0.010), (0.074, 0.036), (0, 0.058)])
    outer = smooth([(0, 0.104), (0.085, 0.088), (0.143, 0.022), (0.128, -0.050), (0, -0.128)])
    half = Piece(np.array(inner + outer), 0.006, 0.0050, dense(inner), 0.014)
    inside = path((-0.080, 0.0), ((0.080, 0.0), 0.075))
    inside += path((0.080, 0.0), ((0.0, -0.105), 0.010))[1:]
    inside += path((0.0, -0.105), ((-0.080, 0.0), 0.010))[1:-1]
    pouch = path(
        (-0.105, -0.43),
        ((-0.175, -0.555), -0.012),
        (-0.175, -0.628),
        (0.175, -0.628),
        (0.175, -0.555),
        ((0.105, -0.43), -0.012),
    )
    cord = strip(0.030, 0.037, -0.105, -0.300, lift=0.006, thickness=0.006, color=(0.8, 0.79, 0.76))
    return [
        Piece(np.array(pouch), 0.005, 0.0040),
        Piece(np.array(inside), 0.003, lining=True, shade=0.55),
        *both_sides(half),
        *both_sides(cord),
    ]


def waistband(half_width: float, deep: float = 0.038) -> list[Piece]:
    outline = path(
        (-half_width, 0.001),
        (half_width, 0.001),
        (half_width + 0.004, -deep),
        (-half_width - 0.004, -deep),
    )
    return [Piece(np.array(outline), 0.0024)]


def belt_loops() -> list[Piece]:
    return [
        strip(x - 0.005, x + 0.005, 0.003, -0.043, lift=0.005) for x in (-0.135, -0.06, 0.06, 0.135)
    ]
