"""Lights, cameras and rendering, and the ground truth of a picture: labels and joints."""

from __future__ import annotations

import contextlib
from pathlib import Path

import bpy
import cv2
import materials
import numpy as np
from body import SKIN_VERTICES, Body
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from meshes import add_mesh, link

WIDTH, HEIGHT = 768, 1024
LABELS = {"background": 0, "skin": 1, "hair": 2, "upper": 3, "lower": 4, "shoes": 5, "eyes": 6}
LABEL_STEP = 25.5  # grey levels between labels while rendering
SIDED_JOINTS = {
    "eye": "eye",
    "shoulder": "shoulder",
    "elbow": "elbow",
    "wrist": "hand",
    "hip": "upper-leg",
    "knee": "knee",
    "ankle": "ankle",
}


def set_label(thing, name: str) -> None:
    level = LABELS[name] * LABEL_STEP / 255
    thing.color = (level, level, level, 1)


def aim(thing, place, target) -> None:
    thing.location = place
    direction = Vector(target) - Vector(place)
    thing.rotation_euler = direction.to_track_quat("-Z", "Y").to_euler()


def area_light(place, target, *, size: float, watts: float, color=(1, 1, 1)) -> None:
    light = bpy.data.lights.new("area", "AREA")
    light.energy, light.size, light.color = watts, size, color
    aim(link(light, "area"), place, target)


def ambient(color, strength: float) -> None:
    world = bpy.data.worlds.new("world")
    bpy.context.scene.world = world
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (*color, 1)
    background.inputs["Strength"].default_value = strength


def photo_studio() -> None:
    """A grey backdrop that curves up behind the person, and four soft lights."""
    floor = [(-6 + i * 0.5, 0.0) for i in range(14)]
    curve = [(1.2 + np.sin(a) * 1.2, 1.2 - np.cos(a) * 1.2) for a in np.linspace(0, np.pi / 2, 16)]
    profile = [*floor, *curve, (2.4, 6.0)]
    vertices = [(x, y, z) for y, z in profile for x in (-6, 0, 6)]
    faces = [
        (i * 3 + j, i * 3 + j + 1, i * 3 + j + 4, i * 3 + j + 3)
        for i in range(len(profile) - 1)
        for j in range(2)
    ]
    backdrop = add_mesh("backdrop", vertices, faces)
    backdrop.data.materials.append(materials.plain((0.52, 0.53, 0.55), 0.95, "backdrop"))
    set_label(backdrop, "background")
    area_light((-1.9, -2.6, 2.6), (0, 0, 1.2), size=1.3, watts=115, color=(1, 0.97, 0.94))  # key
    area_light((2.4, -2.2, 1.7), (0, 0, 1.1), size=1.8, watts=38, color=(0.95, 0.97, 1))  # fill
    area_light((1.4, 1.3, 2.6), (0, 0, 1.35), size=0.8, watts=45)  # rim
    area_light((0, -1.0, 4.2), (0, 1.4, 0), size=2.6, watts=60)  # top and floor
    ambient((0.9, 0.95, 1), 0.22)


def table() -> None:
    """Soft lights from two sides over things that lie at the origin."""
    area_light((-1.7, 0.9, 1.3), (0, -0.35, 0), size=0.9, watts=42)
    area_light((1.6, -1.2, 2.2), (0, -0.35, 0), size=1.8, watts=34)
    ambient((1, 1, 1), 0.62)


def add_camera():
    camera = bpy.data.cameras.new("camera")
    camera.sensor_fit = "VERTICAL"
    bpy.context.scene.camera = link(camera, "camera")
    return bpy.context.scene.camera


def frame_person(view: str, *, top: float, hip: float) -> None:
    """view: "half", down to the thighs, or "full"; top and hip: heights of skull and hip joint."""
    if view == "half":
        high, low, distance, raised = top + 0.14, hip - 0.14, 4.2, 0.05
    else:
        high, low, distance, raised = top + 0.12, -0.10, 5.5, 0.1
    camera, middle = add_camera(), (high + low) / 2
    aim(camera, (0, -distance, middle + raised), (0, 0, middle))
    camera.data.angle = 2 * np.arctan((high - low) / 2 / distance)


def frame_flat(vertices: np.ndarray, room: float = 1.16) -> None:
    """Look straight down on all of a garment; room: the picture's height over the garment's."""
    low, high = vertices.min(0), vertices.max(0)
    width, height = (high - low)[:2]
    camera = add_camera()
    camera.data.type = "ORTHO"
    camera.data.ortho_scale = max(height * room, width * 1.14 * HEIGHT / WIDTH)
    camera.location = (0, (low[1] + high[1]) / 2, 3)


def render(path: Path, *, samples: int, scale: float, threads: int) -> None:
    """Write a PNG of WIDTH × HEIGHT times scale; threads 0 means all cores."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x, scene.render.resolution_y = int(WIDTH * scale), int(HEIGHT * scale)
    scene.render.threads_mode = "FIXED" if threads else "AUTO"
    scene.render.threads = threads or 1
    scene.render.use_persistent_data = True
    scene.view_settings.view_transform = "Khronos PBR Neutral"
    scene.view_settings.exposure = -0.45
    cycles = scene.cycles
    cycles.device, cycles.samples, cycles.use_denoising = "CPU", samples, True
    cycles.use_adaptive_sampling, cycles.adaptive_threshold = True, 0.02
    cycles.max_bounces, cycles.transparent_max_bounces = 8, 8
    cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transmission_bounces = 3, 3, 4
    write_png(path)


def write_png(path: Path) -> None:
    render = bpy.context.scene.render
    render.image_settings.file_format = "PNG"
    render.filepath = str(path)
    bpy.ops.render.render(write_still=True)


@contextlib.contextmanager
def changed(*settings):
    """Set (object, attribute, value) triples and put the old values back."""
    old = [(thing, name, getattr(thing, name)) for thing, name, _ in settings]
    for thing, name, value in settings:
        setattr(thing, name, value)
    try:
        yield
    finally:
        for thing, name, value in old:
            setattr(thing, name, value)


def render_labels(path: Path) -> None:
    """Write the scene just rendered as a PNG of LABELS: one sample, no filter, so no mixtures."""
    scene = bpy.context.scene
    cycles, view = scene.cycles, scene.view_settings
    with changed(
        (scene.view_layers[0], "material_override", materials.label()),
        (cycles, "samples", 1),
        (cycles, "use_denoising", False),
        (cycles, "use_adaptive_sampling", False),
        (cycles, "pixel_filter_type", "BOX"),
        (cycles, "filter_width", 0.01),
        (view, "exposure", 0),
        (view, "view_transform", "Raw"),
        (scene.render, "dither_intensity", 0),
    ):
        write_png(path)
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(path), np.round(grey / LABEL_STEP).astype(np.uint8))


def joints_in_picture(body: Body, posed: np.ndarray) -> dict[str, list[float]]:
    """Where the joints lie, in pixels; left and right are the person's."""
    scene = bpy.context.scene
    points = {"nose": nose(body, posed)}
    for side in ("left", "right"):
        for name, marker in SIDED_JOINTS.items():
            points[f"{side}_{name}"] = body.joint(f"{side[0]}-{marker}", posed)
    width, height = scene.render.resolution_x, scene.render.resolution_y
    found = {}
    for name, point in points.items():
        at = world_to_camera_view(scene, scene.camera, Vector(point))
        found[name] = [round(at.x * width, 1), round((1 - at.y) * height, 1)]
    return found


def nose(body: Body, posed: np.ndarray) -> np.ndarray:
    """The foremost vertex between the eyes and about 35 mm below the left one."""
    skin = posed[:SKIN_VERTICES]
    left, right = body.joint("l-eye", posed), body.joint("r-eye", posed)
    depth = np.where(np.abs(skin[:, 0] - (left[0] + right[0]) / 2) < 0.012, skin[:, 1], 9)
    return skin[np.argmin(depth + 4 * np.abs(skin[:, 2] - (left[2] - 0.035)))]
