"""From noise to a picture: rectified flow, Euler's method, guidance without a classifier.

Sources: Liu et al., Flow Straight and Fast, 2022; Ho and Salimans, Classifier-Free Diffusion
Guidance, 2022. What the numbers are is FASHN VTON 1.5's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from app.engines.fashn.architecture import COLOURS, Architecture
from app.engines.fashn.network import Conditions, Network

GUIDANCE = 1.5
"""How far to go beyond what the garment changes; 1 is not beyond."""

_SHIFT = 1.5
"""Steps are shorter near the noise, where the picture is laid out, by e to this."""

_UNGUIDED = 1
"""So many steps at the end go without guidance, which makes colours too strong there."""


def schedule(steps: int) -> list[float]:
    """The times of a run, 0 to 1, ascending; one more than there are steps."""
    factor = math.exp(-_SHIFT)
    even = (step / steps for step in range(steps + 1))
    return [factor * t / (1 - t + factor * t) for t in even]


def noise(sizes: Architecture, seed: int) -> Tensor:
    """(1, 3, height, width) float32, made on the CPU: the same for all devices."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((1, COLOURS, sizes.height, sizes.width), generator=generator)


def sample(
    network: Network,
    given: Conditions,
    begin: Tensor,
    *,
    steps: int,
    on_step: Callable[[int], None],
    between: Callable[[], None],
) -> Tensor:
    """The picture, (1, 3, height, width) float32 in -1 to 1, on the network's device.

    begin: the noise. given: of one picture. Both on the device and in the precision to compute in.
    on_step: told how many steps are done. between: called between any two blocks of the network;
        what either raises ends the run.
    """
    picture, times = begin, schedule(steps)
    doubled = given.beside_none()
    with torch.inference_mode():
        for step, (now, later) in enumerate(pairwise(times)):
            if step < steps - _UNGUIDED:
                both = network(
                    torch.cat([picture, picture]), _at(now, picture, 2), doubled, between
                )
                with_garment, without = both.chunk(2)
                way = without + GUIDANCE * (with_garment - without)
            else:
                way = network(picture, _at(now, picture, 1), given, between)
            picture = picture + (later - now) * way
            on_step(step + 1)
    return picture.float().clamp(-1, 1)


def _at(time: float, like: Tensor, count: int) -> Tensor:
    return torch.full((count,), time, dtype=like.dtype, device=like.device)
