"""`explain --what-if`: each stage is made slower by a known amount, in runs that take turns with plain ones."""

from __future__ import annotations

import math
from collections.abc import Iterator

from msgspec.structs import replace

from framepace.analyze.sensitivity import sensitivity
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.trial import BLOCK_COST_S, SHORTEST_BLOCK_S, block
from framepace.facts.settings import Case, apply
from framepace.facts.slowing import SLOW_STAGES, SlowStage
from framepace.facts.strategy import strategy_of
from framepace.facts.trace import Trace
from framepace.facts.workload import load_fps
from framepace.lab.lab import Lab
from framepace.units import NS_PER_MS

SHARE = 0.4
"""Of the time that is left after the scopes; the scopes leave as much of the whole."""
_FEWEST_ROUNDS = 3
_MOST_ROUNDS = 12
_BLOCK_REQUESTS = 60
_ROUNDING = 1e-6  # of a round
_ADDED = 0.1  # of the mean latency
_SLACK = 0.25  # of the time that a worker has between frames: more would let a queue grow
_SHORTEST_MS = 0.02
_FELT = 0.01  # of the latency, that a stage takes at least for it to be worth a question
_IN_PROCESSES = "what a millisecond is worth can be measured in this process only: strategy=workers"
_NO_TIME = "no time was left to measure what a millisecond in {} is worth: it takes about {} s more (--time-limit)"
_SCOPES_SHARE = 0.3  # of any more time, at most, that the scopes take


def profile(lab: Lab, evidence: Evidence, draft: Draft) -> None:
    """Measure what a millisecond in each stage is worth, into `draft.what_if`. Raises Interrupted after Ctrl-C."""
    kind = strategy_of(evidence.case.plan.engine)
    if kind.spawns_models or kind.spawns_engines:
        draft.notes.append(_IN_PROCESSES)
        return
    stages = _affordable(lab, evidence, draft)
    if not stages:
        return
    base = evidence.kept_up("stream")
    added_ms = _added_ms(evidence)
    cases: dict[SlowStage | None, Case] = {None: base}
    cases |= {stage: apply(base, {"slow": f"{stage}:{added_ms:.6f}"}) for stage in stages}
    traces = _take_turns(lab, cases, *_length(_usable_s(lab, len(cases), draft), evidence.case, len(cases), draft))
    found = (sensitivity(stage, added_ms * NS_PER_MS, traces[None], traces[stage], evidence.budget) for stage in stages)
    draft.what_if = tuple(replace(one, on_host=one.stage == "infer" and evidence.on_gpu) for one in found)


def _affordable(lab: Lab, evidence: Evidence, draft: Draft) -> tuple[SlowStage, ...]:
    """The stages that there is time for, the longest where it is not enough for all; a note names the others."""
    wanted = tuple(_stages(evidence))
    most = int(lab.left / _least_s(1, draft)) - 1  # beside the plain runs
    if most < 1:
        draft.notes.append(_no_time("any stage", lab.missing(_least_s(2, draft))))
        return ()
    ranked = sorted(wanted, key=evidence.stage, reverse=True)
    if ranked[most:]:
        draft.notes.append(_no_time(", ".join(ranked[most:]), lab.missing(_least_s(len(wanted) + 1, draft))))
    return tuple(stage for stage in wanted if stage in ranked[:most])


def _no_time(stages: str, missing_s: float) -> str:
    """The note for stages that so many seconds were missing for."""
    return _NO_TIME.format(stages, math.ceil(missing_s / (1 - _SCOPES_SHARE)))


def _stages(evidence: Evidence) -> Iterator[SlowStage]:
    """The stages that take a hundredth of the latency or more."""
    for stage in SLOW_STAGES:
        if evidence.stage(stage) >= _FELT * evidence.latency:
            yield stage


def _least_s(cases: int, draft: Draft) -> float:
    """Seconds that the fewest rounds of so many cases take."""
    return _FEWEST_ROUNDS * cases * (draft.within(SHORTEST_BLOCK_S) + draft.within(BLOCK_COST_S))


def _usable_s(lab: Lab, cases: int, draft: Draft) -> float:
    """Seconds for so many cases: their share of what is left, or what the fewest rounds take."""
    return max(SHARE * lab.left, _least_s(cases, draft))


def _added_ms(evidence: Evidence) -> float:
    """A delay that is seen, and that lets no queue grow."""
    added = _ADDED * evidence.latency
    if evidence.period is not None and not evidence.overloaded:
        work = sum(evidence.stage(stage) for stage in SLOW_STAGES)
        added = min(added, _SLACK * max(0.0, evidence.period * evidence.case.plan.engine.workers - work))
    return max(_SHORTEST_MS, added / NS_PER_MS)


def _length(usable_s: float, case: Case, cases: int, draft: Draft) -> tuple[float, int]:
    """Seconds per run, and rounds in which each of so many cases runs once."""
    fps = load_fps(case.workload.load)
    wanted = draft.within(_BLOCK_REQUESTS / fps if fps else 1.0)
    cost_s = draft.within(BLOCK_COST_S)
    fair = usable_s / (2 * _FEWEST_ROUNDS * cases) - cost_s
    seconds = max(draft.within(SHORTEST_BLOCK_S), min(wanted, fair))
    fitting = usable_s / (cases * (seconds + cost_s))
    return seconds, min(_MOST_ROUNDS, int(fitting + _ROUNDING))


def _take_turns(
    lab: Lab, cases: dict[SlowStage | None, Case], seconds: float, rounds: int
) -> dict[SlowStage | None, list[Trace]]:
    """The runs of each case; every other round in the opposite order, so that a trend cancels."""
    traces: dict[SlowStage | None, list[Trace]] = {stage: [] for stage in cases}
    for number in range(rounds):
        order = list(cases) if number % 2 == 0 else list(reversed(cases))
        for stage in order:
            lab.say(f"what a millisecond in {stage or 'no stage'} is worth ({number + 1}/{rounds})")
            traces[stage].append(block(lab, cases[stage], seconds))
    return traces
