"""The sizes of a network, and what in them must fit together. Imports no framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from app.errors import SettingsError

COLOURS = 3
"""Channels of a picture; a drawn pose has one more."""


@dataclass(frozen=True)
class Architecture:
    """Those of the published network, of which the file of weights tells only the shapes.

    height, width: of the pictures it works on, pixels. patch: the side of a token's square, pixels.
    hidden: channels of a token. heads: of attention; each has hidden / heads channels, which `axes`
        shares out between the three coordinates of a token's place (the first is always 0).
    mixers: blocks that see the person alone. pairs: blocks in which person and garment have weights
        of their own. blocks: those after them, with one set of weights for both.
    expansion: of the layers between attentions. classes: categories of garments.
    frequencies: of the time, in sines and cosines. theta: the slowest wave of a place.
    """

    height: int = 864
    width: int = 576
    patch: int = 12
    hidden: int = 1280
    heads: int = 10
    axes: tuple[int, int, int] = (16, 56, 56)
    mixers: int = 4
    pairs: int = 8
    blocks: int = 16
    expansion: int = 4
    classes: int = 3
    frequencies: int = 256
    theta: int = 10_000

    def __post_init__(self) -> None:
        if fault := self._fault():
            raise SettingsError(f"fashn: the network cannot have these sizes: {fault}.")

    @property
    def grid(self) -> tuple[int, int]:
        """Tokens down and across."""
        return self.height // self.patch, self.width // self.patch

    @property
    def head(self) -> int:
        """Channels of one head."""
        return self.hidden // self.heads

    def _fault(self) -> str | None:
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name != "axes" and (type(value) is not int or value < 1):
                return f"{one.name} must be a whole number above 0"
        if self.height % self.patch or self.width % self.patch:
            return "patch must divide height and width"
        if self.hidden % self.heads or sum(self.axes) != self.head:
            return "axes must add up to hidden / heads"
        if len(self.axes) != 3 or any(axis < 0 or axis % 2 for axis in self.axes):
            return "axes must be three even numbers"
        return "frequencies must be even" if self.frequencies % 2 else None


def architecture(sizes: Mapping[str, Any]) -> Architecture:
    """The published one with other sizes, as a table of options has them. Raises SettingsError."""
    known = {one.name for one in fields(Architecture)}
    if unknown := sorted(set(sizes) - known):
        raise SettingsError(f"fashn: a network has no {unknown[0]}; it has {', '.join(known)}")
    found: dict[str, Any] = {
        name: tuple(value) if name == "axes" else value for name, value in sizes.items()
    }
    return replace(Architecture(), **found)
