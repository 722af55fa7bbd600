"""What an optional network says of the parts: the file that an operator names in PERSON_PARSER.

MediaPipe's selfie_multiclass_256x256 tells ground, hair, skin of the body, skin of the face,
clothes and other things apart. It is in no package, so no test of ours has run it: what is known
of it is its documentation. Where it contradicts the silhouette it is not believed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.engines.warp.arrays import resize
from app.engines.warp.networks import Networks
from app.engines.warp.places import ARMS, FACE, FEET, HAIR, LEGS, LOWER, PARTS, UPPER
from app.engines.warp.values import Floats
from app.engines.warp.view import View

GROUND, HAIR_CLASS, BODY_SKIN, FACE_SKIN, CLOTHES, OTHERS = range(6)
"""The network's classes, in its order."""

_CLASSES_OF: dict[int, tuple[int, ...]] = {
    HAIR: (HAIR_CLASS,),
    FACE: (FACE_SKIN, BODY_SKIN),
    ARMS: (BODY_SKIN,),
    UPPER: (CLOTHES, OTHERS),
    LOWER: (CLOTHES, OTHERS),
    LEGS: (BODY_SKIN,),
    FEET: (BODY_SKIN, CLOTHES, OTHERS),
}
"""It does not tell face from neck as we do, nor a top from trousers: places and colours do."""

_WEIGHT = 2.0
"""Beside colours and places, whose costs run to 14: decides where they are near each other."""

_SURELY_NOT = 0.02
"""No share counts as less: its edges are those of 256 pixels, ours are finer."""

_AGREES = 0.75
"""Of what one of the two takes for the person, both must; below, the network sees something else
(another file, another scale of colours)."""


def opinion(networks: Networks, view: View, inside: NDArray[np.bool_]) -> Floats | None:
    """(n, PARTS): what it costs to contradict it, at the n pixels of `inside`, the silhouette.

    None without the file, and where it is not believed.
    """
    shares = networks.classify(view.picture)
    if shares is None:
        return None
    shares = resize(shares, *view.shape)
    person = shares[..., GROUND] < 0.5
    if (person & inside).sum() < _AGREES * (person | inside).sum():
        return None
    of_pixels = shares[inside]
    costs = np.empty((len(of_pixels), PARTS), np.float32)
    for part, classes in _CLASSES_OF.items():
        share = of_pixels[:, classes].sum(1)
        costs[:, part] = -_WEIGHT * np.log(np.maximum(share, _SURELY_NOT))
    return costs
