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
    """The closed outlines (N, 2) of front and back; their necklines differ, the seams do not."""

    front: np.ndarray
    back: np.ndarray


def mirrored(half) -> np.ndarray:
    """Close a right half, given from the neck to the middle of the hem."""
    half = np.array(half, float)
    return np.vstack([half, (half * [-1, 1])[::-1]])


def neckline(half_width: float, depth: float, points: int = 9) -> list[tuple[float, float]]:
    """From the middle of the neckline up to the shoulder."""
    angles = np.linspace(0, np.pi / 2, points)
    return [(half_width * np.sin(a), -depth * np.cos(a)) for a in angles]


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
    return Cut(mirrored(neckline(neck, depth) + rest), mirrored(neckline(neck, 0.02) + rest))


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
