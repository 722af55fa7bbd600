"""Hair and eyebrows as strands, grown on the head by NumPy and SciPy; no asset is needed.

A bundle of strands is (points (strands, steps, 3) in metres, root radius in metres).
"""

from __future__ import annotations

import numpy as np
from body import FACE_BONES, SKIN_VERTICES, Body
from meshes import unit
from people import Hair
from scipy.spatial import cKDTree

Bundle = tuple[np.ndarray, float]

# The elevation in degrees, from the middle of the head, above which hair grows, by azimuth from
# the front.
AZIMUTHS = [0, 25, 45, 60, 72, 84, 96, 110, 130, 180]
HAIRLINES = {
    "woman": [39, 37, 30, 15, -2, -8, 4, -10, -32, -42],
    "man": [42, 44, 40, 27, 4, -12, 6, -12, -30, -38],
}
# As the picture shows them.
RIGHT, BACK, UP = np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), np.array([0, 0, 1.0])


class Head:
    """The surface that hair grows on, in the posed space.

    vertices and normals are the whole skin's, faces those of the head; `middle` is in the skull.
    """

    def __init__(self, body: Body, posed: np.ndarray) -> None:
        quads = np.array([[vertex for vertex, _ in face] for face in body.faces("body")])
        triangles = np.vstack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        self.vertices = posed[:SKIN_VERTICES]
        on_head = body.bone_share(FACE_BONES)[:SKIN_VERTICES] > 0.5
        self.faces = triangles[on_head[triangles].all(1)]
        a, b, c = self.corners()
        cross = np.cross(b - a, c - a)
        self.areas = np.linalg.norm(cross, axis=1) / 2
        self.face_normals = cross / np.maximum(2 * self.areas[:, None], 1e-12)
        self.normals = vertex_normals(self.vertices, triangles)
        self.eyes = np.stack([body.joint("l-eye", posed), body.joint("r-eye", posed)])

        between = self.eyes.mean(0)
        surface = self.vertices[np.unique(self.faces)]
        self.top = surface[:, 2].max()
        back = surface[np.abs(surface[:, 2] - between[2] - 0.02) < 0.02][:, 1].max()
        self.middle = np.array([between[0], (between[1] + back) / 2 + 0.005, between[2] + 0.01])
        ring = surface[np.abs(surface[:, 2] - self.middle[2] - 0.055) < 0.012]
        self.half_width = np.abs(ring[:, 0] - self.middle[0]).max()

    def corners(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return tuple(self.vertices[self.faces[:, k]] for k in range(3))

    def angles(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Azimuth from the front, 0..180, and elevation, seen from the middle; degrees."""
        d = points - self.middle
        azimuth = np.degrees(np.arctan2(np.abs(d[:, 0]), -d[:, 1]))
        elevation = np.degrees(np.arctan2(d[:, 2], np.hypot(d[:, 0], d[:, 1])))
        return azimuth, elevation

    def above_hairline(self, points: np.ndarray, line: str) -> np.ndarray:
        azimuth, elevation = self.angles(points)
        return elevation - np.interp(azimuth, AZIMUTHS, HAIRLINES[line])

    def roots(self, n: int, line: str, rng) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Up to n points where hair grows, their normals, and 0 (hairline) .. 1 (well inside)."""
        a, b, c = self.corners()
        chance = np.where(self.above_hairline((a + b + c) / 3, line) > -12, self.areas, 0)
        face = rng.choice(len(chance), n * 2, p=chance / chance.sum())
        r1, r2 = np.sqrt(rng.rand(2 * n)), rng.rand(2 * n)
        u, v, w = (1 - r1)[:, None], (r1 * (1 - r2))[:, None], (r1 * r2)[:, None]
        points = a[face] * u + b[face] * v + c[face] * w
        inside = self.above_hairline(points, line) + rng.randn(2 * n) * 2.5
        azimuth, elevation = self.angles(points)
        sticks_out = np.abs(points[:, 0] - self.middle[0]) > self.half_width + 0.004
        ear = (np.abs(azimuth - 97) < 22) & (elevation < 14) & sticks_out
        keep = (inside > 0) & ~ear
        points, face = points[keep][:n], face[keep][:n]
        return points, self.face_normals[face], np.clip(inside[keep][:n] / 15, 0, 1)


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    cross, sums = np.cross(b - a, c - a), np.zeros_like(vertices)
    for k in range(3):
        np.add.at(sums, triangles[:, k], cross)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def along_surface(direction: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return unit(direction - (direction * normals).sum(-1, keepdims=True) * normals + 1e-9)


def grow(
    points,
    normals,
    length,
    comb,
    rng,
    *,
    obstacles,
    steps,
    lift,
    jitter,
    stiff,
    gravity=0.0,
    curl=0.0,
) -> np.ndarray:
    """Grow one strand from each point.

    comb(points, normals, s) is the wanted direction at 0..1 of the strand; stiff, how much of the
    last direction is kept; lift, the distance kept from the obstacles (points, normals); curl, the
    radius of the curls. All lengths in metres.
    """
    strands = np.empty((len(points), steps + 1, 3))
    strands[:, 0] = points - normals * 0.001
    direction = unit(normals * 0.5 + comb(points, normals, 0.0))
    surface, surface_normals = obstacles
    tree = cKDTree(surface)
    step = (length / steps)[:, None]
    lift = np.broadcast_to(lift, (len(points),))
    phase, pace = rng.rand(len(points)) * 6.28, 1 + rng.rand(len(points)) * 0.3
    for i in range(steps):
        s = (i + 1) / steps
        wanted = unit(comb(strands[:, i], normals, s))
        noise = rng.randn(len(points), 3) * jitter * 0.5
        fall = np.array([0, 0, -gravity])
        direction = unit(stiff * direction + (1 - stiff) * wanted + fall + noise)
        tip = strands[:, i] + direction * step
        if curl:
            side = unit(np.cross(direction, normals))
            up, angle = np.cross(side, direction), phase + pace * s * 40
            tip = tip + (side * np.cos(angle)[:, None] + up * np.sin(angle)[:, None]) * curl
        for _ in range(2):
            distance, nearest = tree.query(tip, workers=2)
            normals = surface_normals[nearest]
            depth = ((tip - surface[nearest]) * normals).sum(1)
            needed = np.minimum(lift * min(1, 2.5 * s), 0.03)
            push = np.where((depth < needed) & (distance < 0.06), needed - depth, 0)
            tip = tip + normals * push[:, None]
        strands[:, i + 1] = tip
    return strands


def clump(strands, roots, rng, guides: int, amount: float) -> np.ndarray:
    """Pull strands towards the nearest of some guide strands, more at the tips."""
    chosen = rng.choice(len(strands), min(guides, len(strands)), replace=False)
    _, nearest = cKDTree(roots[chosen]).query(roots)
    towards_tip = np.linspace(0, 1, strands.shape[1])[None, :, None] ** 1.3
    pull = amount * (0.6 + 0.8 * rng.rand(len(strands)))[:, None, None].clip(0, 1)
    return strands + (strands[chosen[nearest]] - strands) * towards_tip * pull * 0.9


def scalp(head: Head, style: Hair, rng, obstacles) -> Bundle:
    points, normals, inside = head.roots(style.strands, style.line, rng)
    kinds = {"short": short, "curly": curly, "bob": bob}
    return kinds[style.kind](head, style, rng, obstacles, points, normals, inside)


def short(head, style, rng, obstacles, points, normals, inside) -> Bundle:
    """Longer on top and combed to one side, close at the sides."""
    part, sign = head.middle[0] + style.part, np.sign(style.part)
    topness = np.clip((head.angles(points)[1] - 35) / 30, 0, 1)
    length = style.side + (style.top - style.side) * topness
    length = length * (0.75 + 0.5 * rng.rand(len(points))) * (0.45 + 0.55 * inside)
    top = topness[:, None]

    def comb(at, n, s):
        sideways = -sign * np.tanh((part - at[:, 0]) * sign / 0.012 + 1.2)[:, None]
        on_top = sideways * RIGHT * 0.75 + BACK * 0.45 + UP * 0.2
        wanted = top * on_top + (1 - top) * (BACK * 0.45 - UP)
        return along_surface(wanted, n) + n * (0.42 * top + 0.10) * (1 - 0.6 * s)

    lift = 0.002 + 0.013 * topness * rng.rand(len(points))
    strands = grow(
        points, normals, length, comb, rng,
        obstacles=obstacles, steps=9, lift=lift, jitter=0.14, stiff=0.6,
    )  # fmt: skip
    return clump(strands, points, rng, 700, 0.45), 0.00016


def curly(head, style, rng, obstacles, points, normals, inside) -> Bundle:
    """Away from the head all around, in small curls."""
    length = style.top * (0.7 + 0.6 * rng.rand(len(points))) * (0.5 + 0.5 * inside)

    def comb(at, n, s):
        return unit(at - head.middle) + 0.15 * rng.randn(len(at), 3)

    strands = grow(
        points, normals, length, comb, rng,
        obstacles=obstacles, steps=22, lift=0.001, jitter=0.5, stiff=0.4, curl=0.0045,
    )  # fmt: skip
    return clump(strands, points, rng, 900, 0.5), 0.00016


def bob(head, style, rng, obstacles, points, normals, inside) -> Bundle:
    """From the parting over the skull, then down, the ends turned in."""
    middle = head.middle
    away_from_part = np.where(points[:, 0] > middle[0] + style.part, 1.0, -1.0)[:, None]
    azimuth, elevation = head.angles(points)
    length = style.length * (0.82 + 0.25 * rng.rand(len(points)))
    length = length * np.where(elevation < 0, 0.72, 1.0) * (0.8 + 0.2 * inside)
    backwards = 0.55 + 0.3 * (azimuth[:, None] < 40)

    def comb(at, n, s):
        height = np.clip((at[:, 2] - middle[2] + 0.01) / (head.top - middle[2]), 0, 1)[:, None]
        off_the_face = np.where(at[:, 1] < middle[1] - 0.02, 0.75, 0)[:, None] * BACK * (1 - s)
        over = height * (away_from_part * RIGHT * 1.1 + BACK * backwards)
        wanted = over - (1 - height * 0.6) * UP * 1.25 + off_the_face
        wanted = along_surface(wanted, n) * height + wanted * (1 - height)
        if s > 0.7:
            inward = middle - at
            inward[:, 2] = 0
            wanted = unit(wanted) + unit(inward) * (s - 0.7) * 2.2
        return wanted

    lift = 0.004 + 0.016 * rng.rand(len(points)) ** 0.8
    strands = grow(
        points, normals, length, comb, rng,
        obstacles=obstacles, steps=26, lift=lift, jitter=0.05, stiff=0.62, gravity=0.10,
    )  # fmt: skip
    return clump(strands, points, rng, 420, 0.55), 0.00018


def brows(head: Head, rng, *, strands: int, thick: float, above_eye: float) -> Bundle:
    """Short hairs on an arc above each eye, laid on the face's surface."""
    on_head = np.unique(head.faces)
    vertices, normals = head.vertices[on_head], head.normals[on_head]
    front = vertices[:, 1] < head.middle[1] - 0.03
    vertices, normals = vertices[front], normals[front]
    tree = cKDTree(vertices[:, [0, 2]])
    bundles = []
    for eye in head.eyes:
        sign = np.sign(eye[0] - head.middle[0])
        t = rng.rand(strands)  # 0 at the nose, 1 at the temple
        width = (0.0044 * thick) * np.interp(t, [0, 0.15, 0.6, 1], [0.85, 1, 0.9, 0.2])
        arch = np.interp(t, [0, 0.3, 0.62, 1], [-0.0005, 0.0015, 0.0032, -0.0015])
        x = eye[0] + sign * (-0.0185 + 0.047 * t)
        z = eye[2] + above_eye + arch + (rng.rand(strands) * 2 - 1) * width
        distance, nearest = tree.query(np.stack([x, z], 1), k=4)
        share = 1 / (distance + 1e-4)
        share /= share.sum(1, keepdims=True)
        y = (vertices[nearest][:, :, 1] * share).sum(1)
        out = unit((normals[nearest] * share[..., None]).sum(1))[:, None]
        angle = np.radians(np.interp(t, [0, 0.25, 1], [48, 22, -16]) + rng.randn(strands) * 9)
        direction = np.stack([sign * np.cos(angle), 0 * t, np.sin(angle)], 1)[:, None]
        direction = unit(direction - (direction * out).sum(-1, keepdims=True) * out)
        length = 0.0066 * np.interp(t, [0, 0.2, 1], [0.6, 1, 0.9])
        length = (length * (0.7 + 0.5 * rng.rand(strands)))[:, None, None]
        s = np.linspace(0, 1, 5)[None, :, None]
        roots = np.stack([x, y, z], 1)[:, None] + out * 0.0022
        bundles.append(roots + direction * length * s + out * length * 0.44 * s * (1 - s))
    return np.concatenate(bundles), 0.00011
