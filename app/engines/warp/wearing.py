"""A garment bent to the body, and what is left to do: paint it, and say how good it is.

Of the garment's own picture it keeps only what is drawn again in a larger result: the painting is
where most memory is needed, and what came before must be gone by then.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.engines.warp import composition, lower_layers
from app.engines.warp.arrays import length
from app.engines.warp.easel import Easel
from app.engines.warp.lower import BottomTarget
from app.engines.warp.quality import Noticed
from app.engines.warp.scene import Scene
from app.engines.warp.targets import TopTarget
from app.engines.warp.values import SIDES, BottomOutline, TopOutline
from app.engines.warp.warping import TopLayers


class Worn(Protocol):
    """A garment of any kind on a body."""

    scene: Scene

    def paint(self, seed: int) -> tuple[Easel, Noticed]:
        """The painting over the photo, and what of it tells how good it is."""


@dataclass
class WornTop:
    """Tops and one-pieces."""

    scene: Scene
    outline: TopOutline
    target: TopTarget
    layers: TopLayers

    def paint(self, seed: int) -> tuple[Easel, Noticed]:
        easel, bared = composition.paint_top(self.scene, self.layers, self.target, seed=seed)
        sleeves = [self.target.side(side).sleeve for side in SIDES]
        return easel, Noticed(
            skin=bared.skin,
            ground=bared.ground,
            below=bared.below,
            stretch=self.target.stretch,
            cut=max((sleeve.cut for sleeve in sleeves if sleeve is not None), default=0.0),
            sure=self.outline.sure,
            trust=self.scene.parts.trust,
            left=bared.left,
            beside=bared.beside,
            uneven=_uneven(self.outline),
        )


@dataclass
class WornBottom:
    """Trousers, shorts and skirts."""

    scene: Scene
    outline: BottomOutline
    target: BottomTarget
    layer: lower_layers.BottomLayer

    def paint(self, seed: int) -> tuple[Easel, Noticed]:
        easel, bared = lower_layers.paint_bottom(self.scene, self.layer, self.target, seed=seed)
        return easel, Noticed(
            skin=bared.skin,
            ground=bared.ground,
            below=0.0,
            stretch=self.target.stretch,
            cut=0.0,
            sure=self.outline.sure,
            trust=self.scene.parts.trust,
        )


def _uneven(outline: TopOutline) -> float:
    """How much the sleeves differ: photos of garments are even, readings of them are not always."""
    sleeves = [outline.side(side).sleeve for side in SIDES]
    lengths = [length(sleeve.outer) for sleeve in sleeves if sleeve is not None]
    return 1 - min(lengths) / max(*lengths, 1e-3) if len(lengths) == 2 else 0.0
