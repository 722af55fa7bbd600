"""Sample garments and people, so that a first try-on needs no pictures of one's own.

`catalogue.toml` names them, in the order in which they are shown; the first garment is the default
when a client sends only a photo. Every picture was rendered by this project (see NOTICE).
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Garment:
    id: str
    name: str
    category: Literal["tops", "bottoms", "one-pieces"]
    garment_photo_type: Literal["flat-lay", "model"]

    @property
    def path(self) -> Path:
        """The WebP picture."""
        return FOLDER / "garments" / f"{self.id}.webp"


@dataclass(frozen=True)
class Person:
    """`description` is the picture's alt text.

    shows: "half", down to the thighs, or "full", down to the shoes; see `suits`.
    """

    id: str
    name: str
    description: str
    shows: Literal["half", "full"]

    @property
    def path(self) -> Path:
        """The WebP picture."""
        return FOLDER / "people" / f"{self.id}.webp"

    def suits(self, garment: Garment) -> bool:
        """Whether the picture shows enough of the body for that garment."""
        return self.shows == "full" or garment.category == "tops"


@cache
def _read() -> dict[str, list[dict[str, Any]]]:
    with (FOLDER / "catalogue.toml").open("rb") as file:
        return tomllib.load(file)


@cache
def garments() -> tuple[Garment, ...]:
    return tuple(Garment(**entry) for entry in _read()["garments"])


@cache
def people() -> tuple[Person, ...]:
    return tuple(Person(**entry) for entry in _read()["people"])


def garment(garment_id: str) -> Garment | None:
    return next((one for one in garments() if one.id == garment_id), None)


def person(person_id: str) -> Person | None:
    return next((one for one in people() if one.id == person_id), None)
