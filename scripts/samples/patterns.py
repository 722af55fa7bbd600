"""Sewing patterns: outlines of front and back, and the mesh of both sewn together.

Metres, x to the right, y up from the neck (or the waistband); every piece is symmetric.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import Delaunay, cKDTree


@dataclass(frozen=True)
class Cut:
    """The closed outlines (N, 2) of front and back; their necklines differ, the seams do not.

    armhole: where the seam of the right sleeve starts and ends.
    """

    front: np.ndarray
    back: np.ndarray
    armhole: tuple[tuple[float, float], tuple[float, float]] = ((0.205, -0.045), (0.243, -0.245))


def mirrored(half) -> np.ndarray:
    """Close a right half, given from the neck to the middle of the hem."""
    half = np.array(half, float)
    return np.vstack([half, (half * [-1, 1])[::-1]])


def neckline(half_width: float, depth: float, points: int = 9) -> list[tuple[float, float]]:
    """From the middle of the neckline up to the shoulder."""
    angles = np.linspace(0, np.pi / 2, points)
    return [(half_width * np.sin(a), -depth * np.cos(a)) for a in angles]


def bow(start, end, sag: float, points: int = 8) -> list[tuple[float, float]]:
    """A curve from start (left out) to end; sag: metres it leaves the chord to the left."""
    start, end = np.array(start, float), np.array(end, float)
    along = end - start
    left = np.array([-along[1], along[0]]) / np.hypot(*along)
    t = np.linspace(0, 1, points + 1)[1:, None]
    curve = start + along * t + left * sag * 4 * t * (1 - t)
    return [(float(x), float(y)) for x, y in curve]


def path(start, *legs) -> list[tuple[float, float]]:
    """Legs are points, or (point, sag) where the way there is a bow."""
    points = [start]
    for leg in legs:
        end, sag = leg if isinstance(leg[0], tuple) else (leg, 0.0)
        points += bow(points[-1], end, sag) if sag else [end]
    return points


SLEEVE_END = (0.538, -0.600)  # of a long sleeve, at its upper edge


def shaped_top(
    sleeves: str,
    *,
    neck: float,
    depth: float,
    chest: float = 0.255,
    hem: float = 0.255,
    length: float = 0.70,
    tail: float = 0.0,
    wide: float = 1.0,
) -> Cut:
    """A top as a shop would lay it: sleeves away from the body, curved seams.

    tail: how much deeper the hem is in the middle; wide: of the sleeves.
    """
    end = 0.205
    if sleeves == "short":
        tip, under = (0.392, -0.245), (0.304, -0.328)
    else:
        tip, under = SLEEVE_END, (SLEEVE_END[0] - 0.088 * wide, SLEEVE_END[1] - 0.045)
    armpit = (chest - 0.012, -0.245)
    rest = path(
        (neck, 0.0),
        (end, -0.045),
        (tip, 0.010),
        under,
        (armpit, -0.010),
        ((chest - 0.004, -0.46), 0.006),
        (hem, tail - length),
        ((0.0, -length), 0.25 * tail - 0.003),
    )[1:]
    return Cut(mirrored(neckline(neck, depth) + rest), mirrored(neckline(neck, 0.015) + rest))


def skirt(length: float = 0.62, waist: float = 0.175, hem: float = 0.315) -> Cut:
    side = path(
        (waist, 0.0), ((waist + 0.055, -0.20), 0.008), (hem, -length), ((0, -length - 0.02), 0.012)
    )
    return Cut(mirrored([(0, 0), *side]), mirrored([(0, -0.008), *side]))


def straight_trousers(length: float = 1.03, *, knee: float = 0.228, ankle: float = 0.215) -> Cut:
    leg = path(
        (0.195, 0.0),
        ((0.240, -0.24), 0.010),
        (knee + 0.008, -0.60 * length),
        (ankle, -length),
        (ankle - 0.130, -length - 0.004),
    )
    inside = path((ankle - 0.130, -length - 0.004), ((0.014, -0.315), -0.008), (0, -0.300))[1:]
    return Cut(mirrored([(0, 0), *leg, *inside]), mirrored([(0, -0.014), *leg, *inside]))


def tea_dress() -> Cut:
    """A V neck, short sleeves, a waist and a wide skirt to below the knee."""
    rest = path(
        (0.095, 0.0),
        (0.205, -0.042),
        ((0.372, -0.222), 0.010),
        (0.288, -0.300),
        ((0.215, -0.235), -0.006),
        ((0.180, -0.400), -0.010),
        ((0.315, -1.030), -0.012),
        ((0, -1.055), 0.014),
    )[1:]
    neck = path((0.0, -0.165), ((0.095, 0.0), -0.010))
    return Cut(mirrored(neck + rest), mirrored(neckline(0.095, 0.025) + rest))


def top(
    sleeves: str,
    *,
    body: float = 0.27,
    neck: float = 0.085,
    depth: float = 0.085,
    cuff: float = 0.085,
) -> Cut:
    """sleeves: "short" or "long"; body and neck: half widths; depth: of the front neckline."""
    shoulder = [(0.225, -0.05)]
    if sleeves == "short":
        sleeve = [(0.385, -0.155), (0.345, -0.275), (0.262, -0.235)]
    else:
        sleeve = [(0.385, -0.50), (0.400, -0.58), (0.400 - cuff, -0.60), (0.266, -0.25)]
    side = [(body, -0.45), (body, -0.70), (0, -0.708)]
    rest = [*shoulder, *sleeve, *side]
    front, back = neckline(neck, depth) + rest, neckline(neck, 0.02) + rest
    return Cut(mirrored(front), mirrored(back), armhole=((0.225, -0.05), (0.262, -0.24)))


def trousers() -> Cut:
    leg = [(0.20, 0.0), (0.235, -0.24), (0.225, -0.60), (0.195, -1.02), (0.075, -1.025)]
    inside = [(0.055, -0.62), (0.012, -0.30), (0, -0.285)]
    return Cut(mirrored([(0, 0), *leg, *inside]), mirrored([(0, -0.012), *leg, *inside]))


def dress() -> Cut:
    armhole = [(0.165, -0.03), (0.185, -0.20), (0.165, -0.38)]
    skirt = [(0.22, -0.62), (0.295, -0.98), (0.15, -0.998), (0, -1.0)]
    rest = armhole + skirt
    return Cut(mirrored(neckline(0.08, 0.11) + rest), mirrored(neckline(0.08, 0.03) + rest))


def signed_distance(outline: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Millimetres to the outline, positive inside."""
    polygon = (outline * 1000).astype(np.float32)
    at = points * 1000
    return np.array([cv2.pointPolygonTest(polygon, (float(x), float(y)), True) for x, y in at])


def dense_outline(outline: np.ndarray, step: float) -> np.ndarray:
    points = []
    for a, b in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        n = max(1, int(np.hypot(*(b - a)) / step))
        points += [a + (b - a) * i / n for i in range(n)]
    points = np.array(points)
    apart = np.r_[True, np.hypot(*np.diff(points, axis=0).T) > step * 0.25]
    return points[apart]


def piece(outline: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Fill an outline with triangles; return points, faces and how many points are on the rim."""
    on_rim = dense_outline(outline, step)
    low, high = outline.min(0), outline.max(0)
    columns = np.arange(low[0] + step / 2, high[0], step)
    rows = np.arange(low[1] + step / 2, high[1], step * 0.87)
    grid = np.array([(x + (j % 2) * step / 2, y) for j, y in enumerate(rows) for x in columns])
    inner = grid[signed_distance(on_rim, grid) > step * 450]
    points = np.vstack([on_rim, inner])
    faces = Delaunay(points).simplices
    faces = faces[signed_distance(on_rim, points[faces].mean(1)) > 0]
    a, b, c = (points[faces[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    faces, area = faces[np.abs(area) > 1e-9], area[np.abs(area) > 1e-9]
    faces[area < 0] = faces[area < 0][:, ::-1]
    return points, faces, len(on_rim)


def sew(cut: Cut, step: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices, faces and for each vertex 1 (front) or 0 (back).

    The back lies a few millimetres below the front. Where the outlines agree they share vertices:
    at shoulders, sleeves and sides, but not at the hem.
    """
    front, front_faces, front_rim = piece(cut.front, step)
    back, back_faces, back_rim = piece(cut.back, step)
    n = len(front)
    vertices = np.vstack([np.c_[front, np.full(n, 0.012)], np.c_[back, np.full(len(back), 0.004)]])
    faces = np.vstack([front_faces, back_faces[:, ::-1] + n])
    distance, partner = cKDTree(front[:front_rim]).query(back[:back_rim])
    above_hem = front[partner][:, 1] > cut.front[:, 1].min() + 0.006
    sewn = (distance < 1e-4) & above_hem
    replaced = np.arange(len(vertices))
    replaced[n : n + back_rim][sewn] = partner[sewn]
    vertices[partner[sewn], 2] = 0.007
    faces = replaced[faces]
    used = np.unique(faces)
    renumbered = -np.ones(len(vertices), int)
    renumbered[used] = np.arange(len(used))
    return vertices[used], renumbered[faces], (used < n).astype(float)
