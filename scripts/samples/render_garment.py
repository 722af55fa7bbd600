"""Render flat-lay garments: NAME.png and, with --truth, NAME_labels.png (0 table, 3 garment).

A garment is a sewn pattern, dropped on a table by Blender's cloth solver and seen from above.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import bpy  # isort: skip  (first: only then bmesh and mathutils can be imported)
import materials
import numpy as np
import patterns
import pieces
import prints
import studio
from meshes import add_mesh, add_modifier, averaging, positions, set_float, set_vector
from pieces import Piece
from scipy.spatial import cKDTree

FRAMES = 9  # of the cloth solver; longer, and the two layers tangle


@dataclass(frozen=True)
class Garment:
    cut: patterns.Cut
    color: tuple[float, float, float]  # linear
    art: prints.Art
    seed: int
    step: float = 0.0115  # metres between vertices
    ribbed_neck: bool = True
    fuzzy: bool = False
    pieces: tuple[Piece, ...] = ()
    straight: bool = True  # seams as cut; otherwise as the solver left them
    room: float = 1.16  # of the picture's height over its own


GARMENTS = {
    "tshirt-print": Garment(
        patterns.shaped_top("short", neck=0.085, depth=0.085),
        (0.92, 0.91, 0.88),
        prints.sunset,
        seed=1322,
    ),
    "longsleeve-striped": Garment(
        patterns.shaped_top("long", neck=0.09, depth=0.07),
        (0.90, 0.89, 0.86),
        prints.stripes,
        seed=1949,
    ),
    "henley": Garment(
        patterns.shaped_top("short", neck=0.08, depth=0.10),
        (0.03, 0.12, 0.09),
        prints.button_placket,
        seed=442,
    ),
    "sweater": Garment(
        patterns.top("long", body=0.285, depth=0.075, cuff=0.08),
        (0.48, 0.10, 0.07),
        prints.knit,
        seed=763,
        fuzzy=True,
    ),
    "chinos": Garment(
        patterns.trousers(),
        (0.34, 0.29, 0.21),
        prints.chino,
        seed=903,
        step=0.013,
        ribbed_neck=False,
    ),
    "dress-dotted": Garment(
        patterns.dress(),
        (0.06, 0.08, 0.22),
        prints.dots,
        seed=545,
        step=0.013,
        ribbed_neck=False,
    ),
    "polo": Garment(
        patterns.shaped_top("short", neck=0.080, depth=0.090),
        (0.20, 0.018, 0.035),
        prints.polo_buttons,
        seed=7,
        ribbed_neck=False,
        pieces=tuple(pieces.polo()),
    ),
    "shirt": Garment(
        patterns.shaped_top("long", neck=0.078, depth=0.095, length=0.76, tail=0.05),
        (0.42, 0.56, 0.78),
        prints.shirt_buttons,
        seed=8,
        ribbed_neck=False,
        pieces=tuple(pieces.shirt()),
    ),
    "hoodie": Garment(
        patterns.shaped_top(
            "long", neck=0.085, depth=0.115, chest=0.285, hem=0.27, length=0.69, wide=1.2
        ),
        (0.20, 0.27, 0.17),
        prints.hoodie,
        seed=9,
        ribbed_neck=False,
        fuzzy=True,
        pieces=tuple(pieces.hood()),
    ),
    "skirt": Garment(
        patterns.skirt(),
        (0.15, 0.035, 0.09),
        prints.pleats,
        seed=10,
        ribbed_neck=False,
        pieces=tuple(pieces.waistband(0.176)),
    ),
    "jeans": Garment(
        patterns.straight_trousers(),
        (0.018, 0.032, 0.075),
        prints.jeans,
        seed=11,
        step=0.013,
        ribbed_neck=False,
        pieces=(*pieces.waistband(0.196), *pieces.belt_loops()),
    ),
    "dress-leaves": Garment(
        patterns.tea_dress(),
        (0.020, 0.150, 0.190),
        prints.leaves,
        seed=12,
        step=0.013,
        ribbed_neck=False,
        room=1.3,
    ),
}


def rumpled(flat: np.ndarray, front: np.ndarray, rng) -> np.ndarray:
    """Where the cloth starts: a little too narrow for its size and waved, so that it folds."""
    waves = np.zeros(len(flat))
    for _ in range(26):
        direction = rng.randn(2) * rng.uniform(8, 26)
        waves += np.sin(flat[:, :2] @ direction + rng.rand() * 6.28) / 26**0.5
    start = flat.copy()
    start[:, 2] += 0.006 * (waves + 1.8) * (0.15 + 0.85 * front)
    start[:, :2] *= 0.992
    start[:, 0] += 0.004 * np.interp(flat[:, 1], [-1, 0], [rng.randn(), 0])
    return start


def drop(start: np.ndarray, flat: np.ndarray, faces) -> np.ndarray:
    """Let cloth, whose own lengths are those of `flat`, fall from `start` onto the table."""
    cloth = add_mesh("cloth", start, faces)
    cloth.shape_key_add(name="Basis")
    own_size = cloth.shape_key_add(name="own size")
    own_size.data.foreach_set("co", flat.ravel().astype(np.float32))
    own_size.value = 0
    held = cloth.vertex_groups.new(name="held")
    held.add(range(len(start)), 0.09, "REPLACE")  # a little everywhere: it lies, it does not flow
    modifier = cloth.modifiers.new("cloth", "CLOTH")
    settings = modifier.settings
    settings.quality, settings.mass, settings.air_damping = 5, 0.25, 2.0
    settings.tension_stiffness = settings.compression_stiffness = 12
    settings.shear_stiffness, settings.bending_stiffness = 6, 0.9
    settings.tension_damping = settings.compression_damping = 8
    settings.rest_shape_key = own_size
    settings.vertex_group_mass, settings.pin_stiffness = "held", 1
    touch = modifier.collision_settings
    touch.distance_min, touch.collision_quality = 0.0018, 2
    touch.use_self_collision, touch.self_distance_min = True, 0.003
    modifier.point_cache.frame_start, modifier.point_cache.frame_end = 1, FRAMES
    scene = bpy.context.scene
    for frame in range(1, FRAMES + 1):
        scene.frame_set(frame)
    evaluated = cloth.evaluated_get(bpy.context.evaluated_depsgraph_get())
    fallen = positions(evaluated.data).copy()
    bpy.data.objects.remove(cloth)
    scene.frame_set(1)
    return fallen


def settle(vertices: np.ndarray, faces, front: np.ndarray) -> np.ndarray:
    """Take off spikes, keep all above the table and the front above the back."""
    average = averaging(len(vertices), faces)
    for _ in range(3):
        vertices = vertices + 0.35 * (average @ vertices - vertices)
    vertices[:, 2] = np.maximum(vertices[:, 2], 0.0012)
    on_back = front < 0.5
    back = vertices[on_back]
    distance, nearest = cKDTree(back[:, :2]).query(vertices[~on_back][:, :2], k=3)
    least = np.where(distance[:, 0] < 0.02, back[:, 2][nearest].max(1) + 0.0035, 0)
    vertices[~on_back, 2] = np.maximum(vertices[~on_back, 2], least)
    return vertices + 0.25 * (average @ vertices - vertices)


def straighten(vertices: np.ndarray, flat: np.ndarray, faces) -> np.ndarray:
    """Keep folds, but smooth what the fall did to the outline."""
    average = averaging(len(vertices), faces)
    moved = (vertices - flat)[:, :2]
    for _ in range(60):
        moved = average @ moved
    return np.c_[flat[:, :2] + moved, vertices[:, 2]]


def build(garment: Garment) -> np.ndarray:
    """Lay a garment on the table of a new scene and return its vertices."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    flat, faces, front = patterns.sew(garment.cut, garment.step)
    table = add_mesh("table", [(-4, -4, 0), (4, -4, 0), (4, 4, 0), (-4, 4, 0)], [(0, 1, 2, 3)])
    table.modifiers.new("solid", "COLLISION")
    table.collision.thickness_outer, table.collision.thickness_inner = 0.001, 0.02
    table.collision.cloth_friction, table.collision.use_culling = 25, False
    start = rumpled(flat, front, np.random.RandomState(garment.seed))
    vertices = settle(drop(start, flat, faces), faces, front)
    table.modifiers.clear()
    table.data.materials.append(materials.plain((0.93, 0.93, 0.925), 0.9, "table"))
    studio.set_label(table, "background")

    if garment.straight:
        vertices = straighten(vertices, flat, faces)

    thing = add_mesh("garment", vertices, faces)
    set_vector(thing.data, "rest", flat)
    set_float(thing.data, "front", front)
    half_width = max(0.56, flat[:, 0].max() + 0.02, -flat[:, 1].min() / 2 + 0.1)
    colour, height = prints.paint(
        garment.color, garment.art, garment.cut, half_width, ribbed_neck=garment.ribbed_neck
    )
    look = materials.flat_fabric(colour, height, half_width, garment.fuzzy)
    thing.data.materials.append(look)
    add_modifier(thing, "SUBSURF", levels=2, render_levels=2)
    add_modifier(thing, "SOLIDIFY", thickness=0.003 if garment.fuzzy else 0.0016, offset=0)
    studio.set_label(thing, "upper")
    for part in garment.pieces:
        add_piece(part, garment, flat, vertices, half_width)
    return vertices


def add_piece(part: Piece, garment: Garment, flat, lying, half_width: float) -> None:
    rest, vertices, faces = pieces.lay(part, flat, lying)
    thing = add_mesh("piece", vertices, faces)
    set_vector(thing.data, "rest", rest)
    set_float(thing.data, "front", np.full(len(rest), 0.0 if part.lining else 1.0))
    color = part.color or tuple(c * part.shade for c in garment.color)
    art = prints.plain if part.color else garment.art
    colour, height = prints.paint_piece(color, art, part.outline, half_width)
    look = materials.flat_fabric(colour, height, half_width, garment.fuzzy)
    thing.data.materials.append(look)
    add_modifier(thing, "SUBSURF", levels=1, render_levels=1)
    add_modifier(thing, "SOLIDIFY", thickness=part.thickness, offset=0)
    studio.set_label(thing, "upper")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(GARMENTS)}; all")
    parser.add_argument("--out", type=Path, default=Path("out/garments"))
    parser.add_argument("--samples", type=int, default=8, help="per pixel (default %(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="of 768 × 1024 pixels")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--truth", action="store_true", help="write labels, too")
    args = parser.parse_args()
    if unknown := set(args.names) - set(GARMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    args.out.mkdir(parents=True, exist_ok=True)

    for name in args.names or GARMENTS:
        start = time.monotonic()
        vertices = build(GARMENTS[name])
        built = time.monotonic()
        studio.table()
        studio.frame_flat(vertices, GARMENTS[name].room)
        studio.render(
            args.out / f"{name}.png", samples=args.samples, scale=args.scale, threads=args.threads
        )
        print(
            f"{name}: built in {built - start:.1f} s, rendered in {time.monotonic() - built:.1f} s"
        )
        if args.truth:
            studio.render_labels(args.out / f"{name}_labels.png")


if __name__ == "__main__":
    main()
