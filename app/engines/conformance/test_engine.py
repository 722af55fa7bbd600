"""One test a check; they build on each other, so they run in their order, in one process."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from app.engines.conformance.checks import CHECKS, Finding, Kit


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_engine(kit: Kit, check: Callable[[Kit], Finding]) -> None:
    finding = check(kit)

    if finding.ok is None:
        pytest.skip(finding.said)
    assert finding.ok, finding.said
