"""What a tuning found, in words and as a plan: the best, why it is, or by how much the goal is missed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from framepace.facts.plan import Plan, Target
from framepace.facts.settings import Case, apply, text
from framepace.facts.tuning import Candidate, Goal, Trial, Tuning, carried, decisive
from framepace.tuning.objective import STEP, best_of, came, met, rate, scales, shortfalls, value
from framepace.units import NS_PER_MS

_TOLD = 0.05  # a difference below that share is not told
_AS_GIVEN = "the plan as given"


def settings_text(settings: Mapping[str, Any]) -> str:
    """'workers=2 batch=4', or that nothing differs from the plan as given."""
    return text(settings) or _AS_GIVEN


def level_text(goal: Goal, level: int) -> str:
    """'9 cameras', or the rate of each camera."""
    if goal.objective == "fps":
        return f"{rate(goal, level) / (goal.cameras or 1):.4g} frames/s"
    return f"{level} camera{'' if level == 1 else 's'}"


def concluded(case: Case, goal: Goal, candidates: Sequence[Candidate], machine: str) -> Tuning:
    """The tuning with its best candidate, plan and reasons."""
    best = best_of(goal, candidates)
    found = Tuning(goal=goal, candidates=tuple(candidates), machine=machine)
    if best is None:
        return found
    chosen = candidates[best]
    short = _short(goal, chosen)
    return replace(
        found,
        best=best,
        plan=_plan(case, goal, chosen, machine),
        met=not short,
        why=". ".join(_reasons(goal, candidates[0], chosen)),
        shortfalls=short,
        limit=_limit(goal, chosen) if short else "",
    )


def _plan(case: Case, goal: Goal, chosen: Candidate, machine: str) -> Plan:
    at = decisive(chosen.measured)
    fps = came(goal, at) if goal.objective == "fps" and at is not None and at.met else goal.fps
    traces = tuple(t.trace for t in chosen.measured if t.trace is not None)
    target = Target(fps=fps, p99_ms=goal.p99_ms)
    return replace(apply(case, chosen.settings).plan, target=target, machine=machine, traces=traces)


def _short(goal: Goal, chosen: Candidate) -> tuple[str, ...]:
    """What is missing to the goal."""
    at = decisive(chosen.measured)
    if not scales(goal):
        return () if at is None or _kept(goal, chosen) else _missing(goal, at)
    level = carried(chosen.measured)
    if level == 0:
        return () if at is None else (f"not even {level_text(goal, at.level)}: {'; '.join(_missing(goal, at))}",)
    if goal.objective == "cameras" and level < (goal.cameras or 1):
        return (f"{level_text(goal, level)} carried, {goal.cameras} wanted",)
    if goal.objective == "fps" and at is not None and came(goal, at) * STEP < goal.fps:
        return (f"{came(goal, at):.4g} frames/s of each camera reached, {goal.fps:g} wanted",)
    return ()


def _missing(goal: Goal, at: Trial) -> tuple[str, ...]:
    return shortfalls(goal, at.figures, at.level)


def _kept(goal: Goal, chosen: Candidate) -> bool:
    return sum(met(goal, t.figures, t.level) for t in chosen.measured) * 2 >= len(chosen.measured)


def _limit(goal: Goal, chosen: Candidate) -> str:
    """What stands in the way: the highest load that was not carried, in the words of its stages."""
    failed = [t for t in chosen.measured if not t.met]
    if not failed:
        return ""
    at = min(failed, key=lambda t: t.level)
    wanted, got = rate(goal, at.level), at.figures.throughput
    if got < (1 - _TOLD) * wanted:
        return f"throughput: {got:.0f} frames/s come out where the cameras bring {wanted:.0f}{_mostly(at)}"
    return f"latency{_mostly(at)}"


def _mostly(at: Trial) -> str:
    work = {n: ns for n, ns in at.figures.stages.items() if n not in ("queue", "backlog")}
    if not work:
        return ""
    name = max(work, key=lambda n: work[n])
    return f"; of the work on a frame, {name} takes most ({work[name] / NS_PER_MS:.1f} ms)"


def _reasons(goal: Goal, given: Candidate, best: Candidate) -> Iterator[str]:
    if best.settings == given.settings or not given.measured:
        return
    a, b = decisive(given.measured), decisive(best.measured)
    if a is None or b is None:
        return
    if scales(goal):
        yield f"{_carries(goal, b)} instead of {_carries(goal, a)} with {_AS_GIVEN}"
    else:
        told = goal if _kept(goal, given) and _kept(goal, best) else replace(goal, objective="p99")
        yield f"{_value(told, b)} instead of {_value(told, a)} with {_AS_GIVEN}"
    cpu_a, cpu_b = a.figures.cpu, b.figures.cpu
    if goal.objective != "cpu" and cpu_a and cpu_b and abs(cpu_b / cpu_a - 1) > _TOLD:
        yield f"A frame takes {cpu_b / NS_PER_MS:.2f} ms of CPU time instead of {cpu_a / NS_PER_MS:.2f}"
    yield from _stages(goal, given, best)


def _carries(goal: Goal, at: Trial) -> str:
    if not at.met:
        return "none" if goal.objective == "cameras" else f"less than {level_text(goal, at.level)}"
    return f"{came(goal, at):.4g} frames/s" if goal.objective == "fps" else level_text(goal, at.level)


def _stages(goal: Goal, given: Candidate, best: Candidate) -> Iterator[str]:
    """The two stages that changed most, at the heaviest load that both were measured at."""
    common = {t.level for t in given.measured} & {t.level for t in best.measured}
    if not common:
        return
    a, b = (next(t for t in c.measured if t.level == max(common)).figures.stages for c in (given, best))
    moved = sorted(a.keys() & b.keys(), key=lambda n: -abs(b[n] - a[n]))[:2]
    told = [
        f"{n} {a[n] / NS_PER_MS:.2f} to {b[n] / NS_PER_MS:.2f} ms" for n in moved if abs(b[n] - a[n]) > _TOLD * a[n]
    ]
    if told:
        yield f"At {level_text(goal, max(common))}: {', '.join(told)}"


def _value(goal: Goal, at: Trial) -> str:
    found = value(goal, at.figures)
    if goal.objective == "energy":
        return f"energy a frame of {found * 1000:.1f} mJ"
    return f"{'a p99 of' if goal.objective == 'p99' else 'CPU time a frame of'} {found / NS_PER_MS:.2f} ms"
