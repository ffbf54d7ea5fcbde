"""What a goal asks, as pure arithmetic: the load at a level, the numbers of a run, and which candidate is better.

Goals that ask for the most of something ('cameras', 'fps') are searched over levels: whole numbers that stand for ever
heavier loads. Level n is n cameras, or a rate of 1.02^n frames a second of each camera. The other goals have one level,
the number of cameras.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from framepace.analyze.stages import frames
from framepace.analyze.summary import summarize
from framepace.facts.plan import Target
from framepace.facts.settings import Case
from framepace.facts.summary import Summary
from framepace.facts.trace import Trace
from framepace.facts.tuning import Candidate, Figures, Goal, Trial, carried
from framepace.facts.workload import Paced
from framepace.units import NS_PER_MS

_CAME = 0.8  # of the frames that a level asks for: with less, the run says nothing of that level
STEP = 1.02  # between rates that are told apart
Standing = tuple[float, float, float]


def scales(goal: Goal) -> bool:
    """Whether the goal asks for the most of something, so that a candidate has many levels."""
    return goal.objective in ("cameras", "fps")


def rate(goal: Goal, level: int) -> float:
    """Frames a second of all cameras together at `level`."""
    if goal.objective == "fps":
        return (goal.cameras or 1) * float(STEP**level)
    return level * goal.fps


def level_of(goal: Goal, fps: float) -> int:
    """The highest level whose cameras together bring no more than `fps` frames a second; 0 where none does."""
    if not scales(goal):
        return goal.cameras or 1
    if goal.objective == "fps":
        return max(0, math.floor(math.log(max(1.0, fps / (goal.cameras or 1))) / math.log(STEP) + 1e-9))
    return max(0, math.floor(fps / goal.fps + 1e-9))


def case_at(case: Case, goal: Goal, level: int) -> Case:
    """The case under the load of `level`."""
    cameras = level if goal.objective == "cameras" else goal.cameras or 1
    each = rate(goal, level) / cameras
    workload = replace(case.workload, load=Paced(fps=each), input=replace(case.workload.input, cameras=cameras))
    plan = replace(case.plan, target=Target(fps=each, p99_ms=goal.p99_ms))
    return Case(plan=plan, workload=workload)


def figures(trace: Trace, summary: Summary | None = None) -> Figures:
    """The numbers of a run that decide. p99 is the quantile of what was delivered, without an interval."""
    s = summary or summarize(trace)
    latency = frames(trace.measured())["latency"]
    used = [d.energy_mj for d in s.devices if d.energy_mj is not None]
    powers = [d.medians["power_mw"] for d in s.devices if "power_mw" in d.medians]
    power = sum(powers) / 1000 if powers else None
    energy = sum(used) / 1000 / len(latency) if used and len(latency) else None
    if energy is None and power is not None and s.throughput > 0:
        energy = power / s.throughput
    return Figures(
        frames=len(latency),
        p99=float(np.quantile(latency, 0.99)) if len(latency) else None,
        missed=s.missed or 0.0 if len(latency) else 1.0,
        throughput=s.throughput,
        cpu=s.process_cpu,
        energy=energy,
        power=power,
        device_memory=s.cost.device_memory if s.cost is not None else None,
        neighbours=s.neighbours_cpu,
        stages={stage.name: stage.mean for stage in s.frames.stages},
    )


def met(goal: Goal, found: Figures, level: int) -> bool:
    """Whether a run at `level` kept the constraints."""
    return not shortfalls(goal, found, level)


def shortfalls(goal: Goal, found: Figures, level: int) -> tuple[str, ...]:
    """A sentence for each constraint that a run at `level` did not keep, saying by how much."""
    told = []
    if found.missed > goal.late:
        late = f"{found.missed:.1%} of the frames were late, {goal.late:.0%} may be"
        over = "" if found.p99 is None else f" (p99 {found.p99 / NS_PER_MS:.1f} ms, allowed {goal.p99_ms:.1f} ms)"
        told.append(late + over)
    if goal.memory_bytes is not None and (found.device_memory or 0) > goal.memory_bytes:
        used, allowed = (found.device_memory or 0) / 2**20, goal.memory_bytes / 2**20
        told.append(f"{used:.0f} MiB of device memory in use, {allowed:.0f} MiB allowed")
    if found.throughput < _CAME * (wanted := rate(goal, level)):
        told.append(f"{found.throughput:.0f} frames/s came through, {wanted:.0f} were to come")
    return tuple(told)


def value(goal: Goal, found: Figures) -> float:
    """What a goal without levels makes small; infinite where it was not measured."""
    of = {"p99": found.p99, "cpu": found.cpu, "energy": found.energy}.get(goal.objective)
    return math.inf if of is None else of


def came(goal: Goal, at: Trial) -> float:
    """Frames a second of each camera that came through in a trial."""
    return min(rate(goal, at.level), at.figures.throughput) / (goal.cameras or 1)


def standing(goal: Goal, trials: Sequence[Trial]) -> Standing | None:
    """How good a candidate is by these trials, the larger the better; None without any.

    With levels: the level carried, then how few frames were late and how small p99 was there (or at the lowest level,
    where none is carried). Without: whether the constraints were kept in half of the trials, then the median of what
    is made small, by p99 where they were not kept.
    """
    if not trials:
        return None
    if scales(goal):
        level = carried(trials)
        at = [t for t in trials if t.level == (level or min(x.level for x in trials))]
        return (float(level), -_middle([t.figures.missed for t in at]), -_middle([t.figures.p99 for t in at]))
    kept = sum(t.met for t in trials) * 2 >= len(trials)
    made_small = [value(goal, t.figures) if kept else t.figures.p99 for t in trials]
    return (float(kept), -_middle(made_small), -_middle([t.figures.p99 for t in trials]))


def _middle(values: Sequence[float | None]) -> float:
    return float(np.median([math.inf if v is None else v for v in values]))


def best_of(goal: Goal, candidates: Sequence[Candidate], *, measured: bool = True) -> int | None:
    """The number of the best candidate by what was measured (or predicted); None where nothing was."""
    ranked = [
        (stands, -number)
        for number, c in enumerate(candidates)
        if c.error is None and (stands := standing(goal, c.measured if measured else c.predicted)) is not None
    ]
    return -max(ranked)[1] if ranked else None
