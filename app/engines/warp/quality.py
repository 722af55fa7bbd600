"""How good the picture is, and what the shopper should know about it."""

from __future__ import annotations

from types import MappingProxyType

from app.engines import Caution

MESSAGES = MappingProxyType(
    {
        "sleeves_shortened": "The sleeves end sooner than on the garment.",
        "stretched": "The garment was made longer or shorter to fit; its print may look different.",
        "old_hem_visible": "The old garment is longer than the new one: part of it is a guess.",
        "skin_painted": "The old garment hid skin that shows now; it is painted, not photographed.",
        "hips_out_of_frame": "The hips are not in the photo: the garment's length is a guess.",
        "garment_unclear": "The garment's outline was not clear everywhere.",
        "person_unclear": "The person's outline was not clear everywhere.",
    }
)
"""Every code that a stage may raise, and its sentence for the shopper."""


def caution(code: str) -> Caution:
    return Caution(code, MESSAGES.get(code, "This picture may not be right everywhere."))
