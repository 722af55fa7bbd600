"""Hands stay whole, whatever the labels say of their tips."""

from __future__ import annotations

import numpy as np

from app.engines.warp.hands import with_hands
from app.engines.warp.scene import Scene
from app.engines.warp.values import Parts, Rgb
from tests.unit.warp.drawn import GROUND, TROUSERS, drawn_person, whole_scene

TIPS = np.s_[304:310, 236:256]
"""The last six pixels of the right hand, which lies before the ground."""
PAST = np.s_[312:330, 230:262]
NAIL = (222, 178, 160)


def _tips_not_labelled(tips: tuple[int, int, int]) -> tuple[Rgb, Parts]:
    photo, parts = drawn_person()
    photo[TIPS] = tips
    parts.arms[TIPS] = 0
    parts.lower[TIPS] = 1
    return photo, parts


def _noisy(photo: Rgb) -> Rgb:
    noise = np.random.default_rng(0).normal(0, 2, photo.shape)
    return np.asarray(np.clip(photo + noise, 0, 255), np.uint8)


def _seen(photo: Rgb, parts: Parts) -> Scene:
    return with_hands(whole_scene(_noisy(photo), parts))


def test_pale_finger_tips_are_the_hand_s_and_no_trousers() -> None:
    scene = _seen(*_tips_not_labelled(NAIL))

    inner = np.s_[304:307, 240:252]
    assert scene.hands[inner].min() > 0.95
    assert scene.parts.arms[inner].min() > 0.95
    assert scene.parts.lower[inner].max() < 0.01


def test_cloth_and_ground_beside_a_hand_are_none_of_it() -> None:
    cloth = _seen(*_tips_not_labelled(TROUSERS))
    ground = _seen(*_tips_not_labelled(GROUND))

    for scene in (cloth, ground):
        assert scene.hands[306:310, 238:254].max() < 0.01
        assert scene.hands[PAST].max() < 0.01
        assert scene.hands[286:300, 238:254].min() > 0.99, "the rest of the hand"


def test_it_begins_at_the_wrist_where_a_cuff_may_end() -> None:
    scene = _seen(*drawn_person())

    assert scene.hands[:276].max() == 0


def test_a_hand_that_is_not_seen_is_not_made_up() -> None:
    photo, parts = drawn_person()
    parts.arms[270:] = 0

    assert _seen(photo, parts).hands.max() == 0
