"""The cost of a batch between and beyond the sizes that were measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.line import Line


@given(st.floats(0, 100), st.floats(0.1, 10), st.integers(1, 64))
def test_costs_on_a_line_are_met_at_any_size(a: float, k: float, size: int) -> None:
    """Between the measured sizes and beyond the last, a + b k is given back."""
    line = Line.through((b, a + b * k) for b in (8, 1, 4))
    assert line.at(size) == pytest.approx(a + size * k)


def test_one_size_counts_per_frame() -> None:
    """From one measured size, larger batches cost in proportion; smaller ones cost as much as it does."""
    line = Line((4,), (8.0,))
    assert line.at(8) == 16.0
    assert line.at(1) == 8.0
