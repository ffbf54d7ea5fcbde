"""What a gap after each inference does to latency: the levels it goes through, beside that back to back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from framepace.analyze.tiers import settled
from framepace.facts.summary import Tier
from framepace.facts.sweep import Settling

EQUAL = 0.01
"""Relative difference from back to back up to which a gap costs nothing."""


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
