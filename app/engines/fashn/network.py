"""The network: noisy pictures, their time, person and garment in; the way to the picture out.

A transformer on pixels, after FLUX's: each square of 12 × 12 pixels is a token. What attends to
what, and the names of all parameters, are those of FASHN VTON 1.5, so that its published weights
fit; the program is our own. B: pictures at once, L: tokens of one picture, C: channels of a token.
Sources: Esser et al., Scaling Rectified Flow Transformers, 2024 (the pairs of streams); Dehghani
et al., Scaling Vision Transformers to 22 Billion Parameters, 2023 (attention beside the layers);
Peebles and Xie, Scalable Diffusion Models with Transformers, 2023 (modulation by the time).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.engines.fashn.architecture import COLOURS, Architecture

_EPSILON = 1e-6
_TIME_SCALE = 1000.0
_SLOWEST_TIME = 10_000.0
"""The longest wave of the time's embedding, in thousandths of the way."""


def _nothing() -> None:
    """Between two blocks, where nobody waits for a word."""


@dataclass(frozen=True)
class Conditions:
    """What the picture is to show. All in -1 to 1, of one size, and of the network's precision.

    person, garment: (B, 3, height, width). person_pose, garment_pose: (B, 1, height, width).
    category: (B,) int64, 1 and up; 0 stands for none.
    """

    person: Tensor
    garment: Tensor
    person_pose: Tensor
    garment_pose: Tensor
    category: Tensor

    def beside_none(self) -> Conditions:
        """The same, and after each of the pictures those of nobody: 0, which is a middle grey."""
        return Conditions(
            *(
                torch.cat([one, torch.zeros_like(one)])
                for one in (
                    self.person,
                    self.garment,
                    self.person_pose,
                    self.garment_pose,
                    self.category,
                )
            )
        )


class Network(nn.Module):
    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.sizes = sizes
        values = COLOURS * sizes.patch**2
        # The noisy picture, the person and the pose; the garment and its pose.
        self.x_embedder = _Patches(2 * COLOURS + 1, sizes)
        self.garment_embedder = _Patches(COLOURS + 1, sizes)
        self.t_embedder = _Time(sizes)
        self.y_embedder = nn.Embedding(1 + sizes.classes, sizes.hidden)
        self.x_patch_mixer = nn.ModuleList(_Block(sizes) for _ in range(sizes.mixers))
        self.double_blocks = nn.ModuleList(_Pair(sizes) for _ in range(sizes.pairs))
        self.single_blocks = nn.ModuleList(_Block(sizes) for _ in range(sizes.blocks))
        self.final_layer = _Last(sizes, values)
        # Of the training; nothing here uses it, but the published file has it.
        self.register_buffer("patch_mixer_token", torch.zeros(1, 1, values))

    def forward(
        self,
        noisy: Tensor,
        time: Tensor,
        given: Conditions,
        between: Callable[[], None] = _nothing,
    ) -> Tensor:
        """The direction in which the pictures go, (B, 3, height, width).

        noisy: (B, 3, height, width). time: (B,), from 0, all noise, to 1, the picture.
        between: called after each block; what it raises ends the pass.
        """
        person = self.x_embedder(torch.cat([noisy, given.person, given.person_pose], 1))
        garment = self.garment_embedder(torch.cat([given.garment, given.garment_pose], 1))
        what = self.t_embedder(time) + self.y_embedder(given.category)
        turn = _turn(self.sizes, noisy.device)
        for block in self.x_patch_mixer:
            person = block(person, what, turn)
            between()
        both = turn.twice()
        for pair in self.double_blocks:
            person, garment = pair(person, garment, what, both)
            between()
        tokens = torch.cat([garment, person], 1)
        for block in self.single_blocks:
            tokens = block(tokens, what, both)
            between()
        squares = self.final_layer(tokens[:, garment.shape[1] :], what)
        down, across = self.sizes.grid
        as_picture = squares.transpose(1, 2).unflatten(2, (down, across))
        return functional.pixel_shuffle(as_picture, self.sizes.patch)


# --- what goes in, and what comes out -------------------------------------------------------


class _Patches(nn.Module):
    """(B, channels, height, width) → (B, L, C)."""

    def __init__(self, channels: int, sizes: Architecture) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, sizes.hidden, kernel_size=sizes.patch, stride=sizes.patch)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.proj(pictures).flatten(2).transpose(1, 2)


class _Time(nn.Module):
    """(B,) → (B, C)."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.frequencies = sizes.frequencies
        self.mlp = nn.Module()
        self.mlp.in_layer = nn.Linear(sizes.frequencies, sizes.hidden)
        self.mlp.out_layer = nn.Linear(sizes.hidden, sizes.hidden)

    def forward(self, time: Tensor) -> Tensor:
        # In the network's own precision first, as it was trained: of bfloat16, 8 bits are left.
        scaled = (_TIME_SCALE * time).float()
        half = self.frequencies // 2
        steps = torch.arange(half, dtype=torch.float32, device=time.device) / half
        angles = scaled[:, None] * torch.exp(-math.log(_SLOWEST_TIME) * steps)
        waves = torch.cat([angles.cos(), angles.sin()], -1).to(time.dtype)
        return self.mlp.out_layer(functional.silu(self.mlp.in_layer(waves)))


class _Last(nn.Module):
    """(B, L, C) → (B, L, values): the colours of each token's square."""

    def __init__(self, sizes: Architecture, values: int) -> None:
        super().__init__()
        self.linear = nn.Linear(sizes.hidden, values)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(sizes.hidden, 2 * sizes.hidden))

    def forward(self, tokens: Tensor, what: Tensor) -> Tensor:
        shift, scale = self.adaLN_modulation(what)[:, None].chunk(2, -1)
        return self.linear(_modulated(tokens, shift, scale))


# --- where a token is -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Turn:
    """Rotary embedding: by how far the pairs of channels of a query and a key are turned.

    cos, sin: (L, head / 2) float32. A token's place is (0, row, column), in the person's picture as
    in the garment's. Source: Su et al., RoFormer, 2021.
    """

    cos: Tensor
    sin: Tensor

    def twice(self) -> _Turn:
        """For the garment's tokens and the person's, one after the other."""
        return _Turn(torch.cat([self.cos, self.cos]), torch.cat([self.sin, self.sin]))

    def __call__(self, heads: Tensor) -> Tensor:
        """heads: (B, heads, L, head)."""
        even, odd = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
        turned = (self.cos * even - self.sin * odd, self.sin * even + self.cos * odd)
        return torch.stack(turned, -1).flatten(-2).to(heads.dtype)


@lru_cache(maxsize=2)
def _turn(sizes: Architecture, device: torch.device) -> _Turn:
    down, across = sizes.grid
    rows = torch.arange(down, dtype=torch.float64).repeat_interleave(across)
    columns = torch.arange(across, dtype=torch.float64).repeat(down)
    angles = [
        place[:, None] / sizes.theta ** (torch.arange(0, axis, 2).double() / axis)
        for place, axis in zip((torch.zeros_like(rows), rows, columns), sizes.axes, strict=True)
    ]
    # In 64 bits, and so on the CPU, up to here: not every device has them.
    both = torch.cat(angles, 1)
    return _Turn(both.cos().float().to(device), both.sin().float().to(device))


# --- blocks ---------------------------------------------------------------------------------


class _Scale(nn.Module):
    """Root mean square normalisation of each head's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, heads: Tensor) -> Tensor:
        exact = heads.float()
        root = torch.rsqrt(exact.square().mean(-1, keepdim=True) + _EPSILON)
        return (exact * root).to(heads.dtype) * self.scale


class _Norms(nn.Module):
    """(B, L, 3 C) → query, key and value, (B, heads, L, head) each."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.heads = sizes.heads
        self.query_norm = _Scale(sizes.head)
        self.key_norm = _Scale(sizes.head)

    def forward(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key = self.query_norm(query), self.key_norm(key)
        return query.to(value.dtype), key.to(value.dtype), value


def _attend(turn: _Turn, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """(B, L, C)"""
    seen = functional.scaled_dot_product_attention(turn(query), turn(key), value)
    return seen.transpose(1, 2).flatten(2)


def _modulated(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    normal = functional.layer_norm(tokens, tokens.shape[-1:], eps=_EPSILON)
    return (1 + scale) * normal + shift


class _Modulation(nn.Module):
    """(B, C) → shift, scale and gate, once or twice, (B, 1, C) each."""

    def __init__(self, sizes: Architecture, *, times: int) -> None:
        super().__init__()
        self.parts = 3 * times
        self.lin = nn.Linear(sizes.hidden, self.parts * sizes.hidden)

    def forward(self, what: Tensor) -> tuple[Tensor, ...]:
        return self.lin(functional.silu(what))[:, None].chunk(self.parts, -1)


class _Block(nn.Module):
    """Attention and layers side by side, on one set of tokens."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        inner = sizes.expansion * sizes.hidden
        self.widths = [3 * sizes.hidden, inner]
        self.linear1 = nn.Linear(sizes.hidden, sum(self.widths))
        self.linear2 = nn.Linear(sizes.hidden + inner, sizes.hidden)
        self.norm = _Norms(sizes)
        self.modulation = _Modulation(sizes, times=1)

    def forward(self, tokens: Tensor, what: Tensor, turn: _Turn) -> Tensor:
        shift, scale, gate = self.modulation(what)
        qkv, inner = self.linear1(_modulated(tokens, shift, scale)).split(self.widths, -1)
        seen = _attend(turn, *self.norm(qkv))
        inner = functional.gelu(inner, approximate="tanh")
        return tokens + gate * self.linear2(torch.cat([seen, inner], -1))


class _Attention(nn.Module):
    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.qkv = nn.Linear(sizes.hidden, 3 * sizes.hidden)
        self.norm = _Norms(sizes)
        self.proj = nn.Linear(sizes.hidden, sizes.hidden)


class _Pair(nn.Module):
    """Person and garment see each other, and are changed each by weights of its own.

    The published names call the person `img` and the garment `txt`: in FLUX it is a text.
    """

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        for stream in ("img", "txt"):
            inner = sizes.expansion * sizes.hidden
            setattr(self, f"{stream}_mod", _Modulation(sizes, times=2))
            setattr(self, f"{stream}_attn", _Attention(sizes))
            layers = (nn.Linear(sizes.hidden, inner), nn.Linear(inner, sizes.hidden))
            between = nn.GELU(approximate="tanh")
            setattr(self, f"{stream}_mlp", nn.Sequential(layers[0], between, layers[1]))

    def forward(
        self, person: Tensor, garment: Tensor, what: Tensor, turn: _Turn
    ) -> tuple[Tensor, Tensor]:
        of_person, of_garment = self.img_mod(what), self.txt_mod(what)
        heads = zip(
            self.txt_attn.norm(self.txt_attn.qkv(_modulated(garment, *of_garment[:2]))),
            self.img_attn.norm(self.img_attn.qkv(_modulated(person, *of_person[:2]))),
            strict=True,
        )
        seen = _attend(turn, *(torch.cat(pair, 2) for pair in heads))
        by_garment, by_person = seen.split([garment.shape[1], person.shape[1]], 1)
        person = _changed(person, self.img_attn.proj(by_person), self.img_mlp, of_person)
        garment = _changed(garment, self.txt_attn.proj(by_garment), self.txt_mlp, of_garment)
        return person, garment


def _changed(tokens: Tensor, seen: Tensor, layers: nn.Module, how: tuple[Tensor, ...]) -> Tensor:
    """how: two shifts, scales and gates."""
    _, _, gate, shift, scale, last_gate = how
    tokens = tokens + gate * seen
    return tokens + last_gate * layers(_modulated(tokens, shift, scale))
