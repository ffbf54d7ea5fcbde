"""What figures are made of: plotly's JSON, traces and layout only; colours are names of CSS properties of the page."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.summary import Estimate
from framepace.units import format_ms

Figure = dict[str, Any]
_SERIES = tuple(f"--s{i}" for i in range(1, 9))
_LOG_FROM = 10  # a largest value this many times the median would flatten everything else on a linear axis
_TINY = 1e-9


def value_axis(title: str, lowest: float, middle: float, highest: float) -> Figure:
    """A linear axis from zero, or a logarithmic one where the highest value would flatten all others."""
    axis: Figure = {"title": {"text": title}}
    if highest <= _LOG_FROM * max(middle, _TINY):
        return {**axis, "type": "linear", "rangemode": "tozero"}
    powers = range(math.floor(math.log10(max(lowest, _TINY))), math.ceil(math.log10(highest)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return {**axis, "type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def category_axis() -> Figure:
    """A category axis that reads from top to bottom and leaves room for its names."""
    return {"autorange": "reversed", "automargin": True, "type": "category", "ticklabelstandoff": 8}


def packed(values: NDArray[Any], kind: str = "f4") -> Figure:
    """An array the way plotly.js takes it without a number per line: base64 of its little-endian bytes."""
    return {"dtype": kind, "bdata": base64.b64encode(np.asarray(values, dtype=f"<{kind}").tobytes()).decode()}


def label(text: str) -> str:
    """Text from outside as plotly shows it: plotly reads a little HTML, so it is escaped."""
    return escape(text, quote=False)


def colour(i: int) -> str:
    """The i-th colour of a series."""
    return _SERIES[i % len(_SERIES)]


def labelled_bars(names: Sequence[str], lengths: Sequence[float], texts: Sequence[str], inks: Sequence[str]) -> Figure:
    """Horizontal bars, one per name from top to bottom, each with its text at its end."""
    return {
        "type": "bar",
        "orientation": "h",
        "y": [label(name) for name in names],
        "x": list(lengths),
        "text": [label(text) for text in texts],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": list(inks)},
        "hovertemplate": "%{y} %{text}<extra></extra>",
    }


def budget_line(budget: float, span: tuple[float, float], divisor: int) -> Figure:
    """A horizontal dashed line at the budget (ns)."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": f"budget {format_ms(budget)}",
        "x": list(span),
        "y": [budget / divisor] * 2,
        "line": {"color": "--bad", "width": 1.5, "dash": "dash"},
    }


def whiskers(estimates: Sequence[Estimate], divisor: float, ink: str) -> Figure:
    """The intervals of values as plotly's error bars."""
    below = [max(0.0, e.value - _or_value(e, e.low)) / divisor for e in estimates]
    above = [max(0.0, _or_value(e, e.high) - e.value) / divisor for e in estimates]
    return {"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": ink, "thickness": 1.5}


def _or_value(estimate: Estimate, end: float | None) -> float:
    return estimate.value if end is None else end
