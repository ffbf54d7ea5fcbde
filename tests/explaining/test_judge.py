"""The verdict on a trial, and the words at the top: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.explaining.trial import MATERIAL, judge
from framepace.facts.summary import Estimate

ratios = st.floats(0.01, 3)


@pytest.mark.parametrize(
    ("value", "low", "high", "verdict"),
    [
        (0.5, 0.4, 0.6, "confirmed"),
        (0.94, 0.92, 0.97, "confirmed"),
        (0.97, 0.96, 0.98, "refuted"),
        (1.0, 0.99, 1.01, "refuted"),
        (1.2, 0.92, 1.6, "refuted"),
        (1.2, 0.8, 1.6, "undecided"),
        (0.8, 0.5, 1.1, "undecided"),
        (0.8, None, None, "undecided"),
    ],
)
def test_only_a_sure_and_material_effect_confirms(value: float, low: float, high: float, verdict: str) -> None:
    """Sure: the whole interval is below 1. Material: at least 5 %. Anything between is undecided."""
    assert judge(Estimate(value=value, low=low, high=high)) == verdict


@given(ratios, ratios, ratios)
def test_nothing_is_confirmed_that_may_be_nothing(a: float, b: float, c: float) -> None:
    """An interval that reaches 1, or an effect under 5 %, is never a cause."""
    low, value, high = sorted((a, b, c))
    if judge(Estimate(value=value, low=low, high=high)) == "confirmed":
        assert high < 1
        assert value <= 1 - MATERIAL
