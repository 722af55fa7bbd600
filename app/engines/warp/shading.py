"""The light of the photo on the new garment.

Two things are laid over it: the folds and shadows of the old garment, where it was plain and light
enough to show them, and the roundness of a body, which a garment laid flat does not have.
"""

from __future__ import annotations

import cv2
import numpy as np

from app.engines.warp.arrays import blur, disc, smoothstep
from app.engines.warp.scene import Scene
from app.engines.warp.values import Floats

_FINE, _WIDE = 0.02, 0.60
"""Folds are wider than the one and narrower than the other, in shoulder widths."""
_NARROW = 0.08
_STRENGTH = 0.85
_DARKEST, _LIGHTEST = 0.70, 1.14
_TEXTURE_NONE = 28.0
"""An old garment whose lightness varies by this much shows its pattern rather than the light."""
_DARK = (45.0, 85.0)
"""Cloth of a lightness below the first shows no shadows, above the second it shows them well."""
_FLANK_SHADE = 0.20


def believed(scene: Scene) -> float:
    """How much of the old garment's shading is light rather than pattern, 0–1."""
    lightness = _lightness(scene)
    sure = scene.parts.upper > 0.6
    middle = float(np.median(lightness[sure])) if sure.sum() > 50 else 128.0
    plain = float(np.clip(1.3 - scene.parts.upper_texture / _TEXTURE_NONE, 0, 1))
    return plain * float(np.clip((middle - _DARK[0]) / (_DARK[1] - _DARK[0]), 0, 1))


def old_relief(small: Scene) -> Floats:
    """(h, w): what the old garment's folds make of the light, 1 where there are none.

    small: the scene at half size.
    """
    weight = believed(small)
    width = small.body.shoulder_width
    worn = (small.parts.upper > 0.6).astype(np.uint8)
    sure = np.asarray(cv2.erode(worn, disc(max(3, int(0.03 * width)))))
    if weight == 0 or sure.sum() < 50:
        return np.ones(sure.shape, np.float32)
    # Buttons, letters and seams are dark and narrow: closed, so that they do not come through.
    lightness = cv2.morphologyEx(_lightness(small), cv2.MORPH_CLOSE, disc(int(_NARROW * width)))
    lightness, mask = np.asarray(lightness, np.float32), sure.astype(np.float32)
    middle = float(np.median(lightness[sure > 0]))

    def mean(sigma: float) -> Floats:
        share = np.maximum(blur(mask, sigma), 1e-3)
        return np.asarray(blur(lightness * mask, sigma) / share, np.float32)

    around = 0.5 * mean(_WIDE * width) + 0.5 * middle
    ratio = np.clip(mean(_FINE * width) / np.maximum(around, 8), _DARKEST, _LIGHTEST)
    inside = np.asarray(cv2.distanceTransform(sure, cv2.DIST_L2, 3), np.float32)
    ratio = 1 + (ratio - 1) * smoothstep(inside, 0, 0.12 * width)
    return np.asarray(ratio ** (_STRENGTH * weight), np.float32)


def roundness(beside: Floats, down: Floats) -> Floats:
    """(h, w): darker towards the flanks, below the shoulders.

    beside: 0 on the spine, 1 on the flanks. down: 0 at the shoulders, 1 at the hips.
    """
    shade = smoothstep(beside, 0.55, 1.15) * smoothstep(down, 0.0, 0.4)
    return np.asarray(1 - _FLANK_SHADE * shade, np.float32)


def sleeve_light(along: Floats, aside: Floats) -> Floats:
    """(h, w): a cylinder's light across the sleeve, and the shadow of its seam."""
    cylinder = 1 - 0.24 * smoothstep(np.abs(aside - 0.42), 0.22, 0.60)
    seam = 1 - 0.08 * np.exp(-((along / 0.05) ** 2)) * (aside > 0.12)
    return np.asarray(cylinder * seam, np.float32)


def _lightness(scene: Scene) -> Floats:
    """(h, w): L of Lab, 0–255."""
    lab = cv2.cvtColor(scene.photo / 255, cv2.COLOR_RGB2LAB)
    return np.ascontiguousarray(lab[..., 0] * 2.55)
