"""A latency that changed its level, in words: where it settled and what it was before, or that it has not settled."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.facts.summary import Percentile, Tier
from framepace.reporting.views.text import estimate, optional
from framepace.units import format_ms

_CLOCKS = {"sm_clock_mhz": "SM clock", "cpu_mhz": "CPU clock"}
_MATERIAL = 0.05  # a smaller change of a clock is not worth a word


def settled_words(tiers: Sequence[Tier]) -> str:
    """The median and the highest percentile of the last of several levels; '' where none lasts for half of the run."""
    if len(tiers) < 2 or tiers[-1].kind == "ramp":
        return ""
    last = tiers[-1]
    if last.first > last.last / 2:
        return ""
    told = [percentile for percentile in last.percentiles if percentile.estimate is not None and percentile.q <= 99]
    if not told:
        return ""
    words = ", ".join(_percentile_words(percentile) for percentile in dict.fromkeys((told[0], told[-1])))
    begin = f"before, {format_ms(tiers[0].level)} until request {tiers[0].last:,}"
    return f"settled from request {last.first:,}: {words}; {begin}{_clock_words(tiers[0], last)}"


def unsettled_words(tiers: Sequence[Tier]) -> str:
    """That the latency still rises or falls when the run ends; '' where it does not."""
    if not tiers or tiers[-1].kind != "ramp":
        return ""
    first = tiers[0]
    last = tiers[-1]
    way = "rising" if last.level_end > last.level else "falling"
    begin = format_ms(first.level)
    if first is not last:
        begin += f" until request {first.last:,}"
    return f"not settled: {begin}, {format_ms(last.level_end)} at the end and still {way}{_clock_words(first, last)}"


def _percentile_words(percentile: Percentile) -> str:
    return f"p{percentile.q:g} {optional(percentile.estimate, lambda value: estimate(value, 'ns'))}"


def _clock_words(first: Tier, last: Tier) -> str:
    """', SM clock 585 instead of 1,590 MHz'; '' where no clock was measured or none changed."""
    for key, name in _CLOCKS.items():
        before = first.beside.get(key, 0.0)
        after = last.beside.get(key, 0.0)
        if before and after and abs(after / before - 1) >= _MATERIAL:
            return f"; {name} {after:,.0f} instead of {before:,.0f} MHz"
    return ""
