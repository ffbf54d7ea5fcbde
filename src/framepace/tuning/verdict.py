"""The result of a tuning, in words and as a plan: the best and why, or by how much the goal is missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from framepace.facts.plan import Plan, Target
from framepace.facts.settings import Case, apply, text
from framepace.facts.tuning import Candidate, Goal, Trial, Tuning, carried, decisive
from framepace.tuning.objective import STEP, best_of, came, met, rate, scales, shortfalls, value
from framepace.units import NS_PER_MS

_MENTIONED = 0.05  # share from which a difference is mentioned
_AS_GIVEN = "the original plan"


def settings_text(settings: Mapping[str, Any]) -> str:
    """'workers=2 batch=4', or 'the original plan' if nothing differs from it."""
    return text(settings) or _AS_GIVEN


def level_text(goal: Goal, level: int) -> str:
    """'9 cameras', or the rate of each camera."""
    if goal.objective == "fps":
        return f"{rate(goal, level) / (goal.cameras or 1):.4g} frames/s"
    if level == 1:
        return "1 camera"
    return f"{level} cameras"


def concluded(case: Case, goal: Goal, candidates: Sequence[Candidate], machine: str) -> Tuning:
    """The tuning with its best candidate, plan and reasons."""
    best = best_of(goal, candidates)
    tuning = Tuning(goal=goal, candidates=tuple(candidates), machine=machine)
    if best is None:
        return tuning
    chosen = candidates[best]
    tuning = replace(
        tuning,
        best=best,
        plan=_plan(case, goal, chosen, machine),
        met=True,
        why=". ".join(_reasons(goal, candidates[0], chosen)),
    )
    missing = _missing(goal, chosen)
    if not missing:
        return tuning
    return replace(tuning, met=False, shortfalls=missing, limit=_limit(goal, chosen))


def _plan(case: Case, goal: Goal, chosen: Candidate, machine: str) -> Plan:
    trial = decisive(chosen.measured)
    fps = goal.fps
    if goal.objective == "fps" and trial is not None and trial.met:
        fps = came(goal, trial)
    traces = tuple(t.trace for t in chosen.measured if t.trace is not None)
    target = Target(fps=fps, p99_ms=goal.p99_ms)
    return replace(apply(case, chosen.settings).plan, target=target, machine=machine, traces=traces)


def _missing(goal: Goal, chosen: Candidate) -> tuple[str, ...]:
    """By how much the goal is missed; empty where it is met."""
    trial = decisive(chosen.measured)
    if trial is None:
        return ()
    reasons = shortfalls(goal, trial.figures, trial.level)
    if not scales(goal):
        return () if _kept(goal, chosen) else reasons
    level = carried(chosen.measured)
    if level == 0:
        return (f"not even {level_text(goal, trial.level)}: {'; '.join(reasons)}",)
    if goal.objective == "cameras" and level < (goal.cameras or 1):
        return (f"{level_text(goal, level)} carried, {goal.cameras} wanted",)
    if goal.objective == "fps" and came(goal, trial) * STEP < goal.fps:
        return (f"{came(goal, trial):.4g} frames/s per camera reached, {goal.fps:g} wanted",)
    return ()


def _kept(goal: Goal, chosen: Candidate) -> bool:
    return sum(met(goal, t.figures, t.level) for t in chosen.measured) * 2 >= len(chosen.measured)


def _limit(goal: Goal, chosen: Candidate) -> str:
    """What limits the plan: throughput or latency at the lowest load that was not carried, and its longest stage."""
    failed = [trial for trial in chosen.measured if not trial.met and trial.figures.frames]
    if not failed:
        return ""
    trial = min(failed, key=lambda trial: trial.level)
    fps = rate(goal, trial.level)
    throughput = trial.figures.throughput
    if throughput < (1 - _MENTIONED) * fps:
        text = f"throughput: {throughput:.0f} frames/s come out, the cameras send {fps:.0f}"
        return text + _longest_stage(trial)
    return f"latency{_longest_stage(trial)}"


def _longest_stage(trial: Trial) -> str:
    work = {n: ns for n, ns in trial.figures.stages.items() if n not in ("queue", "backlog")}
    if not work:
        return ""
    name = max(work, key=lambda n: work[n])
    return f"; the largest part of a frame is {name} ({work[name] / NS_PER_MS:.1f} ms)"


def _reasons(goal: Goal, as_given: Candidate, best: Candidate) -> Iterator[str]:
    """Why the best is better than the original plan."""
    if best.settings == as_given.settings:
        return
    before = decisive(as_given.measured)
    after = decisive(best.measured)
    if before is None or after is None:
        return
    if scales(goal):
        yield f"{_carries(goal, after)} instead of {_carries(goal, before)} with {_AS_GIVEN}"
    else:
        compared = goal
        if not _kept(goal, as_given) or not _kept(goal, best):
            compared = replace(goal, objective="p99")
        yield f"{_value(compared, after)} instead of {_value(compared, before)} with {_AS_GIVEN}"
    if goal.objective != "cpu":
        yield from _cpu(before, after)
    yield from _stages(goal, as_given, best)


def _cpu(before: Trial, after: Trial) -> Iterator[str]:
    a = before.figures.cpu
    b = after.figures.cpu
    if a and b and abs(b / a - 1) > _MENTIONED:
        yield f"A frame takes {b / NS_PER_MS:.2f} ms of CPU time instead of {a / NS_PER_MS:.2f}"


def _carries(goal: Goal, trial: Trial) -> str:
    if goal.objective == "fps" and trial.met:
        return f"{came(goal, trial):.4g} frames/s"
    if trial.met:
        return level_text(goal, trial.level)
    if goal.objective == "cameras":
        return "none"
    return f"less than {level_text(goal, trial.level)}"


def _stages(goal: Goal, as_given: Candidate, best: Candidate) -> Iterator[str]:
    """The two stages that changed most, at the heaviest load at which both were measured."""
    common = {trial.level for trial in as_given.measured} & {trial.level for trial in best.measured}
    if common:
        level = max(common)
        changes = list(_changes(_stages_at(as_given, level), _stages_at(best, level)))
        if changes:
            yield f"At {level_text(goal, level)}: {', '.join(changes)}"


def _stages_at(candidate: Candidate, level: int) -> Mapping[str, float]:
    return next(trial for trial in candidate.measured if trial.level == level).figures.stages


def _changes(a: Mapping[str, float], b: Mapping[str, float]) -> Iterator[str]:
    for name in sorted(a.keys() & b.keys(), key=lambda name: -abs(b[name] - a[name]))[:2]:
        if abs(b[name] - a[name]) > _MENTIONED * a[name]:
            yield f"{name} {a[name] / NS_PER_MS:.2f} to {b[name] / NS_PER_MS:.2f} ms"


def _value(goal: Goal, trial: Trial) -> str:
    number = value(goal, trial.figures)
    if goal.objective == "energy":
        return f"energy per frame of {number * 1000:.1f} mJ"
    if goal.objective == "p99":
        return f"a p99 of {number / NS_PER_MS:.2f} ms"
    return f"CPU time per frame of {number / NS_PER_MS:.2f} ms"
