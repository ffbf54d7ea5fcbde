"""What a gap after each inference does to latency: the levels it goes through, beside that back to back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from framepace.analyze.correlation import Values
from framepace.analyze.effective import plain_tiers
from framepace.analyze.tiers import find_tiers, settled
from framepace.facts.summary import Tier
from framepace.facts.sweep import Settling

EQUAL = 0.01
"""Relative difference from back to back up to which a gap costs nothing."""

_SETTLED_REQUESTS = 30  # a shorter last level may be another beginning


def last_level(values: Values) -> int:
    """The request from which a series (shape (n,), > 0, in time order) stays on its last level; 0 where it always did.

    Only a plain change counts, which no slow noise explains.
    """
    series = np.asarray(values, dtype=np.float64)
    first = settled(plain_tiers(series, find_tiers(series))) or 0
    if len(series) - first < _SETTLED_REQUESTS:
        return 0
    return first


def settling(tiers: Sequence[Tier], back_to_back: Sequence[Tier]) -> Settling | None:
    """The levels of a run with gaps and of one without; None where either has no request."""
    if not tiers or not back_to_back:
        return None
    change = next((tier for before, tier in pairwise(tiers) if before.kind == "level"), None)
    return Settling(
        level=tiers[0].level,
        jump=None if change is None else change.first,
        change=None if change is None else change.kind,
        settle=settled(tiers),
        settled=tiers[-1].level_end,
        back_to_back=back_to_back[-1].level_end,
    )


def gap_sentence(settlings: Sequence[Settling]) -> str:
    """In how many of the cells the settled level is above or below that back to back; '' without cells."""
    if not settlings:
        return ""
    slower = sum(cell.cost > EQUAL for cell in settlings)
    faster = sum(cell.cost < -EQUAL for cell in settlings)
    parts = [f"slower than back to back in {slower}"]
    if faster:
        parts.append(f"faster in {faster} (as devices are that cannot hold their clock without gaps)")
    same = len(settlings) - slower - faster
    if same:
        parts.append(f"the same in {same}")
    return f"with gaps, {', '.join(parts)} of {len(settlings)} cells"
