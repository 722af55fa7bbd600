"""The header Prefer: what is understood of it, and that nothing in it is an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.preferences import parse, wait_s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["wait=10"], 10),
        (["WAIT = 10"], 10),
        (['wait="10"'], 10),
        (["return=minimal, wait=10; strict"], 10),
        (["respond-async", "wait=10"], 10),
        (["wait=5, wait=10"], 5),
        (["wait=0"], 0),
        (["wait=00000000000010"], 10),
        (["wait=31"], 30),
        (["wait=" + "9" * 5000], 30),
        ([], None),
        ([""], None),
        (["wait"], None),
        (["wait="], None),
        (["wait=-1"], None),
        (["wait=1.5"], None),
        (["wait=ten"], None),
        (["wait=١"], None),
        (["await=10"], None),
    ],
)
def test_how_long_a_client_would_wait(headers: list[str], seconds: int | None) -> None:
    assert wait_s(parse(headers), most=30) == seconds


def test_every_preference_is_there_by_its_name() -> None:
    assert parse(['Return=representation; a=b, foo="x y"', "bar"]) == {
        "return": "representation",
        "foo": "x y",
        "bar": "",
    }


@given(st.lists(st.text()))
def test_no_header_is_an_error(headers: list[str]) -> None:
    seconds = wait_s(parse(headers), most=30)

    assert seconds is None or 0 <= seconds <= 30
