"""Who stands in the sample pictures: body sliders, skin, hair and clothes of adults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Color = tuple[float, float, float]  # linear, 0..1

SMILE = {
    "expression/units/caucasian/mouth-corner-puller": 0.38,
    "expression/units/caucasian/eye-left-slit": 0.12,
    "expression/units/caucasian/eye-right-slit": 0.12,
}

NARROW = {"torso/measure-shoulder-dist-decr": 1.0}
RELAXED = {"view": "full", "arm": 21, "drop": 7, "shift": 2.2}


@dataclass(frozen=True)
class Hair:
    """kind: "short", "curly" or "bob"; part: how far right of the middle, as the picture shows it.

    Lengths in metres.
    """

    kind: str
    line: str  # "woman" or "man": the hairline
    melanin: float
    red: float
    top: float = 0.05
    side: float = 0.014
    length: float = 0.27
    part: float = 0.03
    grey: bool = False  # more variation from strand to strand
    strands: int = 15_000


@dataclass(frozen=True)
class Top:
    """sleeve: share of the upper arm covered; hem: metres above the hip joint; loose: ease."""

    color: Color
    sleeve: float
    hem: float
    loose: float


@dataclass(frozen=True)
class Trousers:
    """straight: fall from the thighs instead of following the legs.

    end: metres above the ankle joint; where legs show, skirts look better on them.
    """

    color: Color
    denim: bool = False
    straight: bool = False
    end: float = 0.015


@dataclass(frozen=True)
class Person:
    """skin: PNG below the skins folder; tone multiplies it; head_turn in degrees.

    subsurface: how much light the skin scatters; darker skin less. view: "half" or "full".
    arm, drop and shift: of the pose, see body.standing.
    """

    body: dict[str, Any]
    skin: str
    tone: Color
    hair: Hair
    brows: float
    iris: Color
    top: Top
    trousers: Trousers
    head_turn: float
    seed: int
    subsurface: float = 0.22
    shoes: Color = (0.5, 0.5, 0.49)
    view: str = "half"
    arm: float = 17
    drop: float = 5
    shift: float = 0


PEOPLE = {
    "mia": Person(
        body=dict(
            male=0,
            age=0.52,
            muscle=0.45,
            weight=0.42,
            height=0.55,
            proportions=0.8,
            cup=0.45,
            ancestry={"caucasian": 1.0},
            details=SMILE,
        ),
        skin="young_caucasian_female/textures/young_lightskinned_female_diffuse.png",
        tone=(1.0, 0.96, 0.93),
        hair=Hair("bob", "woman", melanin=0.62, red=0.35, length=0.27, part=0.025),
        brows=0.8,
        iris=(0.20, 0.30, 0.16),
        top=Top((0.78, 0.78, 0.76), sleeve=0.45, hem=-0.01, loose=0.05),
        trousers=Trousers((0.055, 0.085, 0.17), denim=True),
        head_turn=4,
        seed=311,
    ),
    "leo": Person(
        body=dict(
            male=1,
            age=0.53,
            muscle=0.62,
            weight=0.48,
            height=0.6,
            proportions=0.8,
            ancestry={"caucasian": 0.8, "african": 0.2},
            details=SMILE,
        ),
        skin="young_caucasian_male/textures/young_lightskinned_male_diffuse.png",
        tone=(0.90, 0.84, 0.80),
        hair=Hair("short", "man", melanin=0.85, red=0.25, top=0.055, side=0.014),
        brows=1.25,
        iris=(0.10, 0.055, 0.03),
        top=Top((0.035, 0.055, 0.10), sleeve=0.55, hem=-0.03, loose=0.08),
        trousers=Trousers((0.30, 0.25, 0.19)),
        head_turn=-4,
        seed=320,
    ),
    "ada": Person(
        body=dict(
            male=0,
            age=0.53,
            muscle=0.5,
            weight=0.58,
            height=0.5,
            proportions=0.7,
            cup=0.6,
            ancestry={"african": 1.0},
            details=SMILE,
        ),
        skin="young_african_female/textures/young_darkskinned_female_diffuse.png",
        tone=(1.5, 1.45, 1.45),
        hair=Hair("curly", "woman", melanin=0.97, red=0.1, top=0.075),
        brows=1.0,
        iris=(0.035, 0.018, 0.01),
        top=Top((0.55, 0.33, 0.06), sleeve=0.40, hem=-0.01, loose=0.05),
        trousers=Trousers((0.018, 0.018, 0.022)),
        head_turn=3,
        seed=294,
        subsurface=0.12,
    ),
    "ken": Person(
        body=dict(
            male=1,
            age=0.56,
            muscle=0.5,
            weight=0.45,
            height=0.5,
            proportions=0.7,
            ancestry={"asian": 1.0},
            details=SMILE,
        ),
        skin="young_asian_male/textures/young_lightskinned_male_diffuse3.png",
        tone=(0.97, 0.92, 0.86),
        hair=Hair("short", "man", melanin=0.98, red=0.05, top=0.05, side=0.02, part=-0.03),
        brows=1.1,
        iris=(0.03, 0.016, 0.01),
        top=Top((0.42, 0.43, 0.44), sleeve=0.55, hem=-0.03, loose=0.08),
        trousers=Trousers((0.03, 0.045, 0.085), denim=True),
        head_turn=3,
        seed=318,
    ),
    "ruth": Person(
        body=dict(
            male=0,
            age=0.74,
            muscle=0.42,
            weight=0.60,
            height=0.45,
            proportions=0.6,
            cup=0.55,
            firmness=0.35,
            ancestry={"caucasian": 1.0},
            details=SMILE,
        ),
        skin="middleage_caucasian_female/textures/middleage_lightskinned_female_diffuse.png",
        tone=(1.0, 0.95, 0.92),
        hair=Hair("bob", "woman", melanin=0.10, red=0.1, length=0.20, part=-0.02, grey=True),
        brows=0.7,
        iris=(0.22, 0.32, 0.40),
        top=Top((0.10, 0.26, 0.24), sleeve=1.0, hem=-0.02, loose=0.08),
        trousers=Trousers((0.05, 0.05, 0.055)),
        head_turn=-3,
        seed=451,
    ),
    "sam": Person(
        body=dict(
            male=1,
            age=0.62,
            muscle=0.55,
            weight=0.78,
            height=0.55,
            proportions=0.5,
            ancestry={"african": 0.9, "caucasian": 0.1},
            details=SMILE,
        ),
        skin="middleage_african_male/textures/middleage_darkskinned_male_diffuse.png",
        tone=(1.25, 1.2, 1.2),
        hair=Hair("short", "man", melanin=0.99, red=0.05, top=0.008, side=0.006),
        brows=1.2,
        iris=(0.03, 0.016, 0.01),
        top=Top((0.62, 0.60, 0.56), sleeve=0.6, hem=-0.05, loose=0.07),
        trousers=Trousers((0.045, 0.06, 0.10), denim=True),
        head_turn=-3,
        seed=321,
        subsurface=0.12,
    ),
    "ines": Person(
        body=dict(
            male=0,
            age=0.52,
            muscle=0.48,
            weight=0.40,
            height=0.52,
            proportions=0.75,
            cup=0.42,
            ancestry={"asian": 0.8, "caucasian": 0.2},
            details=SMILE | NARROW,
        ),
        skin="young_asian_female/textures/young_lightskinned_female_diffuse3.png",
        tone=(0.98, 0.93, 0.88),
        hair=Hair("bob", "woman", melanin=0.97, red=0.05, length=0.33, part=0.02),
        brows=0.6,
        iris=(0.04, 0.02, 0.012),
        top=Top((0.62, 0.36, 0.34), sleeve=0.42, hem=-0.015, loose=0.05),
        trousers=Trousers((0.30, 0.32, 0.34), straight=True, end=0.20),
        head_turn=4,
        seed=501,
        shoes=(0.62, 0.60, 0.57),
        **RELAXED,
    ),
    "omar": Person(
        body=dict(
            male=1,
            age=0.88,
            muscle=0.50,
            weight=0.52,
            height=0.55,
            proportions=0.7,
            ancestry={"caucasian": 0.75, "african": 0.25},
            details=SMILE | NARROW,
        ),
        skin="old_caucasian_male/textures/old_lightskinned_male_diffuse.png",
        tone=(0.82, 0.74, 0.68),
        hair=Hair("short", "man", melanin=0.14, red=0.05, top=0.035, side=0.010, grey=True),
        brows=0.9,
        iris=(0.05, 0.03, 0.018),
        top=Top((0.055, 0.075, 0.06), sleeve=0.55, hem=-0.01, loose=0.08),
        trousers=Trousers((0.20, 0.19, 0.175), straight=True, end=0.34),
        head_turn=-4,
        seed=502,
        shoes=(0.09, 0.055, 0.035),
        **RELAXED,
    ),
    "nia": Person(
        body=dict(
            male=0,
            age=0.56,
            muscle=0.48,
            weight=0.80,
            height=0.50,
            proportions=0.6,
            cup=0.58,
            ancestry={"african": 1.0},
            details=SMILE | NARROW,
        ),
        skin="young_african_female/textures/young_darkskinned_female_diffuse.png",
        tone=(1.75, 1.62, 1.55),
        hair=Hair("curly", "woman", melanin=0.97, red=0.1, top=0.045),
        brows=0.8,
        iris=(0.035, 0.018, 0.01),
        top=Top((0.76, 0.74, 0.70), sleeve=0.42, hem=-0.015, loose=0.06),
        trousers=Trousers((0.02, 0.02, 0.024), straight=True, end=0.20),
        head_turn=-3,
        seed=503,
        subsurface=0.12,
        **RELAXED | dict(shift=-2.2),
    ),
    "tom": Person(
        body=dict(
            male=1,
            age=0.60,
            muscle=0.52,
            weight=0.76,
            height=0.58,
            proportions=0.6,
            ancestry={"caucasian": 1.0},
            details=SMILE | NARROW,
        ),
        skin="young_caucasian_male/textures/young_lightskinned_male_diffuse.png",
        tone=(1.0, 0.92, 0.87),
        hair=Hair("short", "man", melanin=0.45, red=0.55, top=0.05, side=0.018, part=-0.03),
        brows=0.9,
        iris=(0.16, 0.24, 0.30),
        top=Top((0.10, 0.17, 0.26), sleeve=0.55, hem=-0.02, loose=0.07),
        trousers=Trousers((0.045, 0.06, 0.10), denim=True, straight=True, end=0.34),
        head_turn=3,
        seed=504,
        shoes=(0.42, 0.42, 0.42),
        **RELAXED | dict(shift=-2.0),
    ),
}
