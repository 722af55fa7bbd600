"""Meshes between NumPy and Blender, and the smoothing that cloth needs."""

from __future__ import annotations

import bpy
import numpy as np
import scipy.sparse as sp
from mathutils import Vector
from mathutils.bvhtree import BVHTree


def link(data, name: str):
    """Make an object of Blender data and put it into the scene."""
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def add_mesh(name: str, vertices, faces):
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([tuple(v) for v in vertices], [], [tuple(f) for f in faces])
    mesh.update()
    mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
    return link(mesh, name)


def positions(mesh) -> np.ndarray:
    flat = np.empty(len(mesh.vertices) * 3, np.float64)
    mesh.vertices.foreach_get("co", flat)
    return flat.reshape(-1, 3)


def normals(mesh) -> np.ndarray:
    flat = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("normal", flat)
    return flat.reshape(-1, 3)


def set_float(mesh, name: str, values) -> None:
    """Give each vertex a number that materials can read."""
    attribute = mesh.attributes.new(name, "FLOAT", "POINT")
    attribute.data.foreach_set("value", np.asarray(values, np.float32))


def set_vector(mesh, name: str, values) -> None:
    attribute = mesh.attributes.new(name, "FLOAT_VECTOR", "POINT")
    attribute.data.foreach_set("vector", np.asarray(values, np.float32).ravel())


def add_modifier(thing, kind: str, **settings):
    modifier = thing.modifiers.new(kind.lower(), kind)
    for name, value in settings.items():
        setattr(modifier, name, value)
    return modifier


def search_tree(vertices, faces) -> BVHTree:
    return BVHTree.FromPolygons([tuple(v) for v in vertices], faces)


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def sides(face) -> list[tuple[int, int]]:
    return [(face[i], face[(i + 1) % len(face)]) for i in range(len(face))]


def rim(faces) -> np.ndarray:
    """The vertices on open edges, those of one face only."""
    count: dict[tuple[int, ...], int] = {}
    for face in faces:
        for side in sides(face):
            edge = tuple(sorted(side))
            count[edge] = count.get(edge, 0) + 1
    return np.array(sorted({v for edge, uses in count.items() if uses == 1 for v in edge}))


def averaging(n: int, faces) -> sp.csr_matrix:
    """A matrix that puts the mean of its neighbours in each vertex's place."""
    edges = np.array([side for face in faces for side in sides(face)])
    both = np.r_[edges[:, 0], edges[:, 1]], np.r_[edges[:, 1], edges[:, 0]]
    adjacency = sp.coo_matrix((np.ones(len(edges) * 2), both), (n, n)).tocsr()
    adjacency.data[:] = 1
    neighbours = np.asarray(adjacency.sum(1)).ravel()
    return sp.diags(1 / np.maximum(neighbours, 1)) @ adjacency


def push_out(points: np.ndarray, tree: BVHTree, gap: float) -> np.ndarray:
    """Move points to at least `gap` in front of the nearest surface of a closed mesh."""
    out = points.copy()
    for i, point in enumerate(points):
        place, normal, _, _ = tree.find_nearest(Vector(point), 0.06)
        if place is None:
            continue
        distance = (Vector(point) - place).dot(normal)
        if distance < gap:
            out[i] = point + np.array(normal) * (gap - distance)
    return out


def relax(points, average, tree: BVHTree, gap: float, *, rounds: int = 4, amount: float = 0.5):
    """Smooth and push out of the body in turn, so that no face is folded over."""
    for _ in range(rounds):
        points = push_out(points + amount * (average @ points - points), tree, gap)
    return points
