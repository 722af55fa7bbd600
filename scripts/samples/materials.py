"""Cycles materials written as code.

They read what the meshes carry on their vertices: `rest`, the place in the rest pose or on the
flat pattern, so that textures stick to a moved surface; `edge` and `neck`, distances to hems and
neckline in metres; others where they are used.
"""

from __future__ import annotations

import bpy
import numpy as np


class Nodes:
    """The node tree of one new material. A socket, a number or a colour may stand for any input."""

    def __init__(self, name: str) -> None:
        self.material = bpy.data.materials.new(name)
        self.tree = self.material.node_tree
        self.tree.nodes.clear()
        self.output = self.tree.nodes.new("ShaderNodeOutputMaterial")

    def add(self, kind: str, /, inputs=None, **properties):
        node = self.tree.nodes.new(f"ShaderNode{kind}")
        for name, value in properties.items():
            setattr(node, name, value)
        for key, value in (inputs or {}).items():
            self.connect(node.inputs[key], value)
        return node

    def connect(self, socket, value) -> None:
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        elif socket.type == "RGBA" and not isinstance(value, int | float):
            socket.default_value = (*value, 1)[:4]
        else:
            socket.default_value = value

    def finish(self, shader):
        self.tree.links.new(shader.outputs[0], self.output.inputs[0])
        return self.material

    def number(self, attribute: str):
        return self.add("Attribute", attribute_name=attribute).outputs["Fac"]

    def vector(self, attribute: str):
        return self.add("Attribute", attribute_name=attribute).outputs["Vector"]

    def noise(self, at, scale: float, detail: float, distortion: float = 0.0):
        inputs = {"Vector": at, "Scale": scale, "Detail": detail, "Distortion": distortion}
        return self.add("TexNoise", inputs).outputs[0]

    def math(self, operation: str, *values):
        return self.add("Math", dict(enumerate(values)), operation=operation).outputs[0]

    def ramp(self, value, low, high, start=0.0, end=1.0):
        """Map low..high to start..end, clamped."""
        inputs = {"Value": value, "From Min": low, "From Max": high, "To Min": start, "To Max": end}
        return self.add("MapRange", inputs, clamp=True).outputs[0]

    def mix(self, factor, first, second, blend_type="MIX"):
        inputs = {"Fac": factor, "Color1": first, "Color2": second}
        return self.add("MixRGB", inputs, blend_type=blend_type).outputs[0]

    def bump(self, height, strength: float, distance: float, normal=None):
        inputs = {"Strength": strength, "Distance": distance, "Height": height}
        if normal is not None:
            inputs["Normal"] = normal
        return self.add("Bump", inputs).outputs[0]

    def principled(self, **inputs):
        named = {name.replace("_", " "): value for name, value in inputs.items()}
        return self.add("BsdfPrincipled", named)


def times(color, factor: float, plus: float = 0.0) -> tuple[float, ...]:
    return tuple(np.minimum(np.array(color) * factor + plus, 1))


def plain(color, roughness: float, name: str):
    n = Nodes(name)
    return n.finish(n.principled(Base_Color=color, Roughness=roughness))


def skin(texture: str, tone, subsurface: float):
    n = Nodes("skin")
    image = bpy.data.images.load(texture)
    uv = n.add("UVMap").outputs[0]
    painted = n.add("TexImage", {"Vector": uv}, image=image, interpolation="Cubic").outputs[0]
    at = n.vector("rest")
    blotches, grain = n.noise(at, 22, 4), n.noise(at, 420, 3)
    color = n.mix(1.0, painted, tone, "MULTIPLY")
    redder = n.mix(1.0, color, (1.0, 0.74, 0.66), "MULTIPLY")
    color = n.mix(n.ramp(blotches, 0.35, 0.75, 0.0, 0.16), color, redder)
    darker = n.mix(1.0, color, (0.80, 0.72, 0.68), "MULTIPLY")
    color = n.mix(n.ramp(grain, 0.3, 0.7, 0.0, 0.10), color, darker)
    pores = n.add("TexVoronoi", {"Vector": at, "Scale": 900.0}).outputs[0]
    height = n.math("ADD", n.math("MULTIPLY", grain, 0.5), n.math("MULTIPLY", pores, 0.5))
    shader = n.principled(
        Base_Color=color,
        Roughness=n.ramp(blotches, 0.3, 0.7, 0.44, 0.56),
        Subsurface_Weight=subsurface,
        Subsurface_Scale=0.006,
        Subsurface_Radius=(1.0, 0.36, 0.2),
        Specular_IOR_Level=0.42,
        Normal=n.bump(height, 0.22, 0.0006),
    )
    return n.finish(shader)


def eye(iris):
    """`sight`: distance from the line of sight in eye radii; 2 on the back."""
    n = Nodes("eye")
    at, sight = n.add("TexCoord").outputs["Object"], n.number("sight")
    fibres = n.ramp(n.noise(at, 18, 6), 0.35, 0.65)
    color = n.mix(fibres, times(iris, 0.6), times(iris, 1.5))
    color = n.mix(n.ramp(sight, 0.36, 0.47), color, times(iris, 0.12))
    white = n.mix(n.ramp(sight, 0.5, 0.95), (0.72, 0.69, 0.66), (0.60, 0.38, 0.33))
    color = n.mix(n.ramp(sight, 0.46, 0.52), color, white)
    color = n.mix(n.ramp(sight, 0.17, 0.20), (0.004, 0.004, 0.004), color)
    return n.finish(n.principled(Base_Color=color, Roughness=0.08, Coat_Weight=1.0))


def lashes(transparent: float):
    n = Nodes("lashes")
    dark = n.add("BsdfDiffuse", {"Color": (0.01, 0.008, 0.006)}).outputs[0]
    clear = n.add("BsdfTransparent").outputs[0]
    return n.finish(n.add("MixShader", {0: 1 - transparent, 1: clear, 2: dark}))


def hair(melanin: float, red: float, grey: bool = False):
    n = Nodes("hair")
    inputs = {
        "Melanin": melanin,
        "Melanin Redness": red,
        "Roughness": 0.32,
        "Radial Roughness": 0.35,
        "Random Color": 0.35 if grey else 0.18,
        "Random Roughness": 0.2,
    }
    return n.finish(n.add("BsdfHairPrincipled", inputs, parametrization="MELANIN"))


def shoe(color):
    """Leather above a light sole."""
    n = Nodes("shoe")
    at = n.add("TexCoord").outputs["Object"]
    height = n.add("SeparateXYZ", {"Vector": at}).outputs[2]
    color = n.mix(n.math("LESS_THAN", height, 0.022), color, (0.75, 0.74, 0.71))
    return n.finish(n.principled(Base_Color=color, Roughness=0.55))


def worn_fabric(color, denim: bool = False):
    """Cloth on a body; `fade`: 0..1, where denim is worn lighter."""
    n = Nodes("fabric")
    at, edge, neck = n.vector("rest"), n.number("edge"), n.number("neck")
    soft, weave = n.noise(at, 9, 4), n.noise(at, 700, 2)
    shade = n.mix(n.ramp(soft, 0.3, 0.7, 0.0, 0.22), color, times(color, 0.78))
    if denim:
        inputs = {"Vector": at, "Scale": 260.0, "Distortion": 2.0, "Detail": 2.0}
        twill = n.add("TexWave", inputs, bands_direction="DIAGONAL").outputs[0]
        shade = n.mix(n.ramp(twill, 0.1, 0.9, 0.0, 0.35), shade, times(color, 2.4, 0.03))
        faded = n.math("MULTIPLY", n.number("fade"), n.ramp(soft, 0.2, 0.8, 0.25, 0.75))
        shade = n.mix(faded, shade, times(color, 2.6, 0.05))
    rib = n.math("LESS_THAN", neck, 0.0165)
    shade = n.mix(n.math("MULTIPLY", rib, 0.35), shade, times(color, 0.72))

    def line(distance, at_m: float, half_width: float):
        off = n.math("ABSOLUTE", n.math("SUBTRACT", distance, at_m))
        return n.math("LESS_THAN", off, half_width)

    seam = n.math("MAXIMUM", line(edge, 0.020, 0.0011), line(neck, 0.0175, 0.0012))
    shade = n.mix(n.math("MULTIPLY", seam, 0.45), shade, times(color, 0.4))
    fine = n.math("SUBTRACT", n.math("MULTIPLY", weave, 0.25), n.math("MULTIPLY", seam, 0.8))
    stretched = n.add("Mapping", {"Vector": at, "Scale": (1.0, 1.0, 0.55)}).outputs[0]
    wrinkles = n.noise(stretched, 10, 2.5, 1.1)  # which the mesh is too coarse to hold
    normal = n.bump(fine, 0.5, 0.0012, n.bump(wrinkles, 0.55, 0.016))
    shader = n.principled(
        Base_Color=shade, Roughness=0.88, Normal=normal, Sheen_Weight=0.18, Specular_IOR_Level=0.2
    )
    return n.finish(shader)


def flat_fabric(colour: np.ndarray, height: np.ndarray, half_width: float, fuzzy: bool):
    """Cloth of a pattern piece, painted by prints.py; `front`: 1 on the front, 0 on the back."""
    n = Nodes("cloth")
    at = n.vector("rest")
    across = n.add("SeparateXYZ", {"Vector": at})
    u = n.ramp(across.outputs[0], -half_width, half_width)
    v = n.ramp(across.outputs[1], 0.1 - 2 * half_width, 0.1)
    uv = n.add("CombineXYZ", {"X": u, "Y": v}).outputs[0]

    def texture(pixels: np.ndarray, name: str, color_space: str):
        image = as_image(pixels, name, color_space)
        return n.add("TexImage", {"Vector": uv}, image=image, interpolation="Cubic").outputs[0]

    color = texture(colour, "colour", "Linear Rec.709")
    relief = texture(height, "height", "Non-Color")
    weave, soft = n.noise(at, 650, 2), n.noise(at, 7, 4)
    shaded = n.mix(1.0, color, (0.8, 0.8, 0.8), "MULTIPLY")
    color = n.mix(n.ramp(soft, 0.3, 0.7, 0.0, 0.18), color, shaded)
    color = n.mix(n.ramp(n.number("front"), 0.3, 0.4, 0.45, 0.0), color, (0.02, 0.02, 0.02))
    bumps = n.math("ADD", n.math("MULTIPLY", relief, 0.5), n.math("MULTIPLY", weave, 0.5))
    shader = n.principled(
        Base_Color=color,
        Roughness=0.9,
        Normal=n.bump(bumps, 0.6, 0.0010),
        Sheen_Weight=0.65 if fuzzy else 0.25,
        Specular_IOR_Level=0.15,
    )
    return n.finish(shader)


def as_image(pixels: np.ndarray, name: str, color_space: str):
    """pixels: (n, n) or (n, n, 3) float32, top row first."""
    n = len(pixels)
    image = bpy.data.images.new(name, n, n, float_buffer=True)
    image.colorspace_settings.name = color_space
    rgba = np.ones((n, n, 4), np.float32)
    rgba[..., :3] = pixels if pixels.ndim == 3 else pixels[..., None]
    image.pixels.foreach_set(rgba[::-1].ravel())
    image.pack()
    return image


def label():
    """Every object in its own flat colour, without light."""
    n = Nodes("label")
    color = n.add("ObjectInfo").outputs["Color"]
    return n.finish(n.add("Emission", {"Color": color}))
