"""What is painted where the old garment was."""

from __future__ import annotations

import numpy as np
import pytest

from app.engines.warp import removal
from app.engines.warp.arms import bare_core, old_sleeve, painted_arm, see_arm
from app.engines.warp.composition import limbs_in_front
from app.engines.warp.scene import Scene, see
from app.engines.warp.targets import TopTarget, place_top
from app.engines.warp.values import Floats, Mask, Parts
from tests.unit.warp.drawn import (
    GROUND,
    SKIN,
    TROUSERS,
    drawn_body,
    drawn_garment,
    drawn_person,
    drawn_pose,
    drawn_scene,
    whole_scene,
)


def _bared(scene: Scene, seed: int = 0) -> tuple[TopTarget, Mask, Floats]:
    target = place_top(scene, drawn_garment())
    old = removal.old_top(scene, target)
    small = scene.half()
    few = old[::2, ::2]
    grounds = removal.bare_grounds(small, few, target, np.ones_like(few))
    return target, old, removal.erase(scene, grounds, seed)


def test_what_goes_reaches_a_little_beyond_the_mask() -> None:
    mask = np.zeros((40, 40), np.float32)
    mask[10:30, 10:30] = 1

    gone = removal.worn(mask, reach=2)

    assert gone[9, 20] > 0.5
    assert gone[5, 20] < 0.05
    assert gone[20, 20] == pytest.approx(1, abs=1e-4)


def test_the_old_top_is_gone_and_the_bare_arms_stay() -> None:
    scene = drawn_scene()

    _, old, _ = _bared(scene)

    assert (old[scene.parts.upper > 0.5] > 0.9).mean() > 0.98
    forearms = (scene.parts.arms > 0.5) & (scene.down > 0.6) & (scene.down < 0.9)
    assert float(old[forearms].mean()) < 0.2  # the softness at their edges


def test_an_old_sleeve_goes_with_its_garment() -> None:
    scene = drawn_scene(sleeves_to=240)

    _, old, _ = _bared(scene)

    sleeve = (scene.parts.upper > 0.5) & (np.abs(scene.aside) > 56)
    assert (old[sleeve] > 0.9).mean() > 0.97


def test_beside_the_body_comes_the_ground() -> None:
    scene = drawn_scene(sleeves_to=240)

    _, _, base = _bared(scene)

    beside = (scene.parts.person == 0) & (np.abs(scene.aside) > 90)
    assert np.abs(base[beside] - GROUND).mean() < 4


def test_under_a_sleeve_comes_skin_of_the_persons_own_tone() -> None:
    scene = drawn_scene(sleeves_to=240)

    _, _, base = _bared(scene)

    for side in ("left", "right"):
        x, y = (round(float(value)) for value in see_arm(scene, side).line[20])
        painted = base[y - 4 : y + 5, x - 3 : x + 4].reshape(-1, 3).mean(0)
        np.testing.assert_allclose(painted, SKIN, rtol=0.15)


def test_a_painted_arm_is_slimmer_than_the_sleeve_that_hid_it() -> None:
    scene = drawn_scene(sleeves_to=240)

    arm = see_arm(scene, "left")

    painted, sleeve = painted_arm(scene, arm), old_sleeve(scene, arm)
    assert painted is not None
    assert sleeve is not None
    assert 0.4 < float(painted.sum() / sleeve.sum()) < 1
    assert float((painted * (1 - scene.parts.person)).max()) < 0.5


def _before_arm(*, pattern: bool) -> tuple[Parts, Mask]:
    """A dress that hides the inner half of a forearm, and what is held for the arm's middle."""
    photo, parts = drawn_person()
    hidden = np.s_[190:262, 222:246]
    parts.arms[hidden], parts.upper[hidden], photo[hidden] = 0, 1, SKIN
    if pattern:
        photo[190:262:2, 222:246] = TROUSERS
    scene = whole_scene(photo, parts)
    return parts, bare_core(scene, see_arm(scene, "right"))


def test_a_patterned_dress_before_an_arm_is_no_arm() -> None:
    """Without a pattern it may be a dress in the colour of skin, or an arm with a wrong label."""
    parts, plain = _before_arm(pattern=False)
    _, patterned = _before_arm(pattern=True)

    dress, arm = ((plain > 0.9) & (label > 0.9) for label in (parts.upper, parts.arms))
    assert dress.sum() > 30
    assert float(patterned[dress].mean()) < 0.3
    assert float(patterned[arm].mean()) > 0.95


def test_a_bare_arm_is_not_painted() -> None:
    scene = drawn_scene()

    assert painted_arm(scene, see_arm(scene, "left")) is None


def test_a_skirt_beside_the_new_top_goes_and_the_arm_that_it_touches_stays() -> None:
    photo, parts = drawn_person()
    skirt, arm = np.s_[236:262, 226:234], np.s_[236:262, 236:254]
    photo[skirt] = TROUSERS
    for mask, value in ((parts.person, 1), (parts.arms, 1), (parts.lower, 0)):
        mask[skirt] = value  # as the labels have it: a part of the arm
    photo[236:300, 134:226], parts.upper[236:300, 134:226] = TROUSERS, 0
    parts.lower[236:300, 134:226] = 1
    scene = see(
        photo, pose=drawn_pose(), body=drawn_body(), parts=parts, category="tops", side=len(photo)
    )

    target, old, base = _bared(scene)

    left, top = scene.place.left, scene.place.top
    at = np.s_[top : top + scene.height, left : left + scene.width]
    wide = np.zeros(photo.shape[:2], np.float32)
    hidden, held = wide.copy(), wide.copy()
    hidden[236:262, 226:231], held[arm] = 1, 1  # but for the seam between them
    limbs = limbs_in_front(scene, scene.half(), target).seen
    assert float(old[hidden[at] > 0].mean()) > 0.8
    assert float(limbs[hidden[at] > 0].mean()) < 0.2
    assert np.abs(base[hidden[at] > 0] - GROUND).mean() < 40
    assert float(limbs[held[at] > 0].mean()) > 0.9


def test_the_same_seed_gives_the_same_grain() -> None:
    scene = drawn_scene()

    first, again, other = (_bared(scene, seed)[2] for seed in (3, 3, 4))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
