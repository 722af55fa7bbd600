"""The figure and the sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.engines.warp.quality import MESSAGES, Noticed, caution, judge

PERFECT = Noticed(skin=0, ground=0, below=0, stretch=1, cut=0, sure=1, trust=1)


def test_with_nothing_guessed_the_figure_is_one_and_nothing_is_said() -> None:
    assert judge(PERFECT) == (1.0, ())


@pytest.mark.parametrize(
    ("worse", "code"),
    [
        ({"skin": 0.3}, "skin_painted"),
        ({"below": 0.1}, "old_hem_visible"),
        ({"stretch": 1.2}, "stretched"),
        ({"stretch": 0.85}, "stretched"),
        ({"cut": 0.4}, "sleeves_shortened"),
        ({"left": 0.02}, "old_garment_left"),
        ({"beside": 0.01}, "old_garment_left"),
        ({"sure": 0.5}, "garment_unclear"),
        ({"trust": 0.3}, "person_unclear"),
    ],
)
def test_each_fault_lowers_the_figure_and_is_said(worse: dict[str, float], code: str) -> None:
    figure, codes = judge(replace(PERFECT, **worse))

    assert figure < 1
    assert codes == (code,)
    assert caution(code).message == MESSAGES[code]


def test_the_figure_stays_between_0_and_1() -> None:
    worst = Noticed(9, 9, 9, stretch=5, cut=1, sure=0, trust=0, left=1, beside=1, uneven=1)

    assert judge(worst)[0] == 0


def test_a_code_that_is_not_known_still_has_a_sentence() -> None:
    assert caution("something_else").message
