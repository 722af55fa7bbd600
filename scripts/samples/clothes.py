"""T-shirts and trousers, cut with planes from the base mesh's tights and loosened off the body.

No cloth solver runs here: at this mesh's size it tore armpits and hems and added few folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import bmesh
import bpy
import numpy as np
from body import ARM_BONES, SKIN_VERTICES, Body
from mathutils import Vector
from meshes import averaging, link, positions, relax, rim
from people import Top, Trousers
from scipy.spatial import cKDTree

NECK_LIFT, NECK_TILT = 0.006, 30  # metres above the neck joint, degrees towards the front
WAIST = 0.105  # metres above the hip joint
SMOOTHING = 6
GAP = 0.008  # metres between skin and cloth
SLEEVE_EASE = 0.18
FLARE = 0.55  # ease at the trousers' hem
TROUSERS_EASE = 0.06
LEG_AT_HEM = 0.64  # of its radius at the thigh, for trousers that fall straight
NOT_NEAR = 9.0  # metres; for clothes without a neckline


@dataclass
class Shell:
    """A garment in the rest pose, tight as cut; distances in metres, for hems and collars."""

    vertices: np.ndarray
    faces: list[tuple[int, ...]]
    weights: np.ndarray
    arm_share: np.ndarray
    edge_distance: np.ndarray
    neck_distance: np.ndarray


class Cutter:
    """The tights as a mesh to cut."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.ids = body.vertices_of("helper-tights")
        self.mesh = bmesh.new()
        self.arm = self.mesh.verts.layers.float.new("arm")
        new = {}
        for i, share in zip(self.ids, body.bone_share(ARM_BONES)[self.ids], strict=True):
            new[i] = self.mesh.verts.new(body.rest[i])
            new[i][self.arm] = share
        for face in body.faces("helper-tights"):
            corners = [vertex for vertex, _ in face]
            if all(i in new for i in corners):
                try:
                    self.mesh.faces.new([new[i] for i in corners])
                except ValueError:
                    pass  # the same face again
        self.mesh.normal_update()

    def is_arm(self, face, above: float = 0.5) -> bool:
        return sum(v[self.arm] for v in face.verts) / len(face.verts) > above

    def cut(self, faces, point, outward) -> None:
        """Remove, of these faces, what lies outward of a plane."""
        faces = [face for face in faces if face.is_valid]
        edges = (edge for face in faces for edge in face.edges)
        corners = (vertex for face in faces for vertex in face.verts)
        pieces = list(dict.fromkeys([*faces, *edges, *corners]))  # in order: one mesh every run
        bmesh.ops.bisect_plane(
            self.mesh,
            geom=pieces,
            dist=1e-5,
            plane_co=Vector(point),
            plane_no=Vector(outward),
            clear_outer=True,
            clear_inner=False,
        )

    def keep_biggest_piece(self) -> None:
        seen, biggest = set(), []
        for start in self.mesh.verts:
            if start in seen:
                continue
            seen.add(start)
            waiting, piece = [start], []
            while waiting:
                vertex = waiting.pop()
                piece.append(vertex)
                for edge in vertex.link_edges:
                    other = edge.other_vert(vertex)
                    if other not in seen:
                        seen.add(other)
                        waiting.append(other)
            if len(piece) > len(biggest):
                biggest = piece
        keep = set(biggest)
        rest = [v for v in self.mesh.verts if v not in keep]
        bmesh.ops.delete(self.mesh, geom=rest, context="VERTS")

    def subdivided(self) -> tuple[np.ndarray, list[tuple[int, ...]]]:
        """Weld, subdivide twice and return vertices and faces; the cutter is used up."""
        bmesh.ops.remove_doubles(self.mesh, verts=self.mesh.verts[:], dist=0.0015)
        coarse = bpy.data.meshes.new("tights")
        self.mesh.to_mesh(coarse)
        self.mesh.free()
        thing = link(coarse, "tights")
        modifier = thing.modifiers.new("subdivide", "SUBSURF")
        modifier.levels, modifier.boundary_smooth = 2, "PRESERVE_CORNERS"
        evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
        fine = bpy.data.meshes.new_from_object(evaluated)
        bpy.data.objects.remove(thing)
        return positions(fine), [tuple(face.vertices) for face in fine.polygons]

    def finish(self, neckline=None) -> Shell:
        """neckline: a point and a normal of the plane that cut it."""
        self.keep_biggest_piece()
        vertices, faces = self.subdivided()
        distance, nearest = cKDTree(self.body.rest[self.ids]).query(vertices, k=4)
        share = 1 / (distance + 1e-4) ** 2
        share /= share.sum(1, keepdims=True)
        weights = (self.body.weights[self.ids][nearest] * share[..., None]).sum(1)
        edge = rim(faces)
        return Shell(
            vertices=vertices,
            faces=faces,
            weights=weights,
            arm_share=self.body.bone_share(ARM_BONES, weights),
            edge_distance=cKDTree(vertices[edge]).query(vertices)[0],
            neck_distance=distance_to_neckline(vertices, edge, neckline),
        )


def distance_to_neckline(vertices, edge, neckline) -> np.ndarray:
    if neckline is None:
        return np.full(len(vertices), NOT_NEAR)
    point, normal = neckline
    at = vertices[edge]
    near = (
        (np.abs((at - point) @ normal) < 0.02)
        & (np.abs(at[:, 0]) < 0.15)
        & (at[:, 2] > point[2] - 0.12)
    )
    return cKDTree(vertices[edge[near]]).query(vertices)[0]


def cut_top(body: Body, top: Top) -> Shell:
    cutter = Cutter(body)
    hem = body.joint("l-upper-leg")[2] + top.hem
    trunk = [face for face in cutter.mesh.faces if not cutter.is_arm(face, 0.6)]
    cutter.cut(trunk, (0, 0, hem), (0, 0, -1))
    for side, sign in (("l", 1), ("r", -1)):
        shoulder, elbow, _ = body.arm(side)
        along = elbow - shoulder
        arm = [
            face
            for face in cutter.mesh.faces
            if face.calc_center_median().x * sign > 0.05 and cutter.is_arm(face)
        ]
        cutter.cut(arm, shoulder + along * top.sleeve, along / np.linalg.norm(along))
    neck, tilt = body.joint("neck"), np.radians(NECK_TILT)
    point = neck + np.array([0, 0, NECK_LIFT])
    normal = np.array([0, -np.sin(tilt), np.cos(tilt)])
    chest = [
        face
        for face in cutter.mesh.faces
        if abs(face.calc_center_median().x) < 0.13 and face.calc_center_median().z > neck[2] - 0.25
    ]
    cutter.cut(chest, point, normal)
    return cutter.finish((point, normal))


def cut_trousers(body: Body, trousers: Trousers) -> Shell:
    cutter = Cutter(body)
    waist = body.joint("l-upper-leg")[2] + WAIST
    cutter.cut(list(cutter.mesh.faces), (0, 0, waist), (0, 0, 1))
    arms = [face for face in cutter.mesh.faces if cutter.is_arm(face, 0.3)]
    bmesh.ops.delete(cutter.mesh, geom=arms, context="FACES")
    ankle = body.joint("l-ankle")[2] + trousers.end
    cutter.cut(list(cutter.mesh.faces), (0, 0, ankle), (0, 0, -1))
    return cutter.finish()


def loosen(body: Body, shell: Shell, garment: Top | Trousers, body_tree) -> np.ndarray:
    """Return the shell's vertices with the body's hollows bridged and ease added."""
    average = averaging(len(shell.vertices), shell.faces)
    vertices = shell.vertices
    for _ in range(SMOOTHING):
        vertices = vertices + 0.5 * (average @ vertices - vertices)
    if isinstance(garment, Top):
        widen_top(body, vertices, shell.arm_share, garment.loose)
    else:
        widen_trousers(body, vertices)
        if garment.straight:
            straighten_legs(body, vertices)
    return relax(vertices, average, body_tree, GAP)


def widen_top(body: Body, vertices: np.ndarray, arm_share: np.ndarray, ease: float) -> None:
    """More ease towards the hem than at the chest; sleeves wider around the axis of the arm."""
    chest, hip = body.joint("spine-2")[2] + 0.10, body.joint("l-upper-leg")[2]
    trunk = 1 - arm_share
    down = np.clip((chest - vertices[:, 2]) / (chest - hip), 0, 1) * trunk
    middle = np.interp(vertices[:, 2], *depth_of_trunk(body))
    vertices[:, 0] *= 1 + ease * (0.3 + 0.35 * down) * trunk
    vertices[:, 1] = middle + (vertices[:, 1] - middle) * (1 + ease * (0.35 + 0.5 * down) * trunk)
    for side, sign in (("l", 1), ("r", -1)):
        shoulder, elbow, wrist = body.arm(side)
        upper = (elbow - shoulder) / np.linalg.norm(elbow - shoulder)
        lower = (wrist - elbow) / np.linalg.norm(wrist - elbow)
        sleeve = (arm_share > 0.3) & (vertices[:, 0] * sign > 0)
        at = vertices[sleeve]
        axis = shoulder + ((at - shoulder) @ upper)[:, None] * upper
        below = ((at - elbow) @ lower) > 0
        axis[below] = (elbow + ((at - elbow) @ lower)[:, None] * lower)[below]
        wider = 1 + SLEEVE_EASE * np.clip((arm_share[sleeve] - 0.3) / 0.5, 0, 1)
        vertices[sleeve] = axis + (at - axis) * wider[:, None]


def widen_trousers(body: Body, vertices: np.ndarray) -> None:
    """Wider around the axis of each leg, most at the hem."""
    for side, sign in (("l", 1), ("r", -1)):
        hip, knee, ankle = (body.joint(f"{side}-{name}") for name in ("upper-leg", "knee", "ankle"))
        leg = (vertices[:, 0] * sign > 0) & (vertices[:, 2] < hip[2] - 0.06)
        z = vertices[leg][:, 2]
        heights = [ankle[2], knee[2], hip[2]]
        axis = np.stack([np.interp(z, heights, [ankle[i], knee[i], hip[i]]) for i in range(3)], 1)
        levels = [ankle[2], knee[2] - 0.12, knee[2], hip[2] - 0.15, hip[2] - 0.06]
        wider = np.interp(z, levels, [FLARE, 0.16, 0.13, 0.06, 0.0]) + TROUSERS_EASE * 0.5
        vertices[leg, :2] = axis[:, :2] + (vertices[leg, :2] - axis[:, :2]) * (1 + wider)[:, None]
        inner = vertices[leg, 0] * sign < 0.004  # the legs do not cross the middle
        vertices[leg, 0] = np.where(inner, sign * 0.004, vertices[leg, 0])


def straighten_legs(body: Body, vertices: np.ndarray) -> None:
    """Let each trouser leg narrow evenly from the thigh to the hem, wherever the leg is thinner."""
    for side, sign in (("l", 1), ("r", -1)):
        hip, knee, ankle = (body.joint(f"{side}-{name}") for name in ("upper-leg", "knee", "ankle"))
        top = hip[2] - 0.16
        leg = (vertices[:, 0] * sign > 0) & (vertices[:, 2] < top)
        z = vertices[leg][:, 2]
        heights = [ankle[2], knee[2], hip[2]]
        axis = np.stack([np.interp(z, heights, [ankle[i], knee[i], hip[i]]) for i in (0, 1)], 1)
        off = vertices[leg, :2] - axis
        radius = np.hypot(*off.T)
        at_top = np.median(radius[z > top - 0.04])
        wanted = np.interp(z, [ankle[2], top], [LEG_AT_HEM * at_top, at_top])
        begun = np.clip((top - z) / 0.20, 0, 1)
        wider = 1 + begun * (np.clip(wanted / np.maximum(radius, 1e-3), 1, 2) - 1)
        vertices[leg, :2] = axis + off * wider[:, None]
        inner = vertices[leg, 0] * sign < 0.004
        vertices[leg, 0] = np.where(inner, sign * 0.004, vertices[leg, 0])


def depth_of_trunk(body: Body) -> tuple[np.ndarray, np.ndarray]:
    """Heights and, at each, how far forward the middle between chest and back lies."""
    skin = body.rest[:SKIN_VERTICES]
    heights, middles = np.linspace(0.6, 1.6, 21), []
    for height in heights:
        slice_ = skin[(np.abs(skin[:, 2] - height) < 0.03) & (np.abs(skin[:, 0]) < 0.14)]
        middles.append((slice_[:, 1].min() + slice_[:, 1].max()) / 2 if len(slice_) else 0)
    return heights, np.array(middles)
