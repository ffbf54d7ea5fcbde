"""How much longer it would take to decide what stayed undecided. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from framepace.programtrials.arm import Arm
from framepace.programtrials.schedule import BLOCK_SHARE, FIRST_LONGEST_S, FIRST_SHARE, ROUNDS, FirstRun, run_cost_s

SURER = 1.3  # times as many pairs as would do if they went on as those before
_STEP_S = 10.0


def wanted_pairs(arm: Arm) -> int | None:
    """So many pairs of a setting should decide it; None where no number does."""
    needed = arm.needed()
    return None if needed is None else math.ceil(SURER * needed)


def longer(arms: Sequence[Arm], first: FirstRun) -> Iterator[str]:
    """Which settings stayed undecided, and the time limit with which that should be another."""
    undecided = [arm for arm in arms if arm.error is None and arm.verdict == "undecided"]
    clear = [arm for arm in undecided if wanted_pairs(arm) is not None and (arm.within_runs or arm.count < ROUNDS)]
    if clear:
        names = ", ".join(arm.name for arm in clear)
        limit = _STEP_S * math.ceil(limit_s(clear, first) / _STEP_S)
        yield f"for a verdict on {names} allow about --time-limit {limit:.0f}: so much do the frames scatter"
    unclear = ", ".join(arm.name for arm in undecided if arm not in clear)
    if unclear:
        yield f"more time does not decide {unclear}: too little for how the frames scatter"


def limit_s(arms: Sequence[Arm], first: FirstRun) -> float:
    """The time limit within which these settings, and no others, should be decided; s."""
    blocks = [arm for arm in arms if arm.within_runs]
    whole = [arm for arm in arms if not arm.within_runs]
    in_blocks = _rounds(blocks) * (1 + len(blocks)) * first.block_s
    in_runs = min(_rounds(whole), 1 + ROUNDS) * (1 + len(whole)) * run_cost_s(first)
    trials = max(in_blocks + in_runs, in_blocks / BLOCK_SHARE if whole else 0.0)
    return min(trials / (1 - FIRST_SHARE), trials + FIRST_LONGEST_S)


def _rounds(arms: Sequence[Arm]) -> int:
    """Of each, and one that may not be whole; 0 for no arms."""
    return max((1 + (wanted_pairs(arm) or 0) for arm in arms), default=0)
