"""Goals as pure arithmetic: the load at a level, the numbers of a run, and which candidate is better.

Goals that ask for the most of something ('cameras', 'fps') are searched over levels: whole numbers, each a heavier load
than the one before. Level n is n cameras, or a rate of 1.02^n frames per second of each camera. The other goals have
one level, the number of cameras.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from msgspec.structs import replace

from framepace.analyze.stages import frames
from framepace.analyze.summary import summarize
from framepace.facts.plan import Target
from framepace.facts.settings import Case
from framepace.facts.summary import Cost, Summary
from framepace.facts.trace import Trace
from framepace.facts.tuning import Candidate, Figures, Goal, Trial, carried
from framepace.facts.workload import Paced
from framepace.units import NS_PER_MS

_CAME = 0.8  # of the frames that a level asks for: with fewer, the run says nothing about that level
STEP = 1.02  # ratio of rates that are distinguished
Standing = tuple[float, float, float]


def scales(goal: Goal) -> bool:
    """Whether the goal asks for the most of something, so that a candidate has many levels."""
    return goal.objective in ("cameras", "fps")


def rate(goal: Goal, level: int) -> float:
    """Frames per second of all cameras together at `level`."""
    if goal.objective == "fps":
        return (goal.cameras or 1) * float(STEP**level)
    return level * goal.fps


def level_of(goal: Goal, fps: float) -> int:
    """The highest level whose cameras together bring no more than `fps` frames per second; 0 where none does."""
    if not scales(goal):
        return goal.cameras or 1
    if goal.objective == "fps":
        return max(0, math.floor(math.log(max(1.0, fps / (goal.cameras or 1))) / math.log(STEP) + 1e-9))
    return max(0, math.floor(fps / goal.fps + 1e-9))


def case_at(case: Case, goal: Goal, level: int) -> Case:
    """The case under the load of `level`."""
    cameras = goal.cameras or 1
    if goal.objective == "cameras":
        cameras = level
    fps = rate(goal, level) / cameras
    workload = replace(case.workload, load=Paced(fps=fps), input=replace(case.workload.input, cameras=cameras))
    plan = replace(case.plan, target=Target(fps=fps, p99_ms=goal.p99_ms))
    return Case(plan=plan, workload=workload)


def figures(trace: Trace, summary: Summary | None = None) -> Figures:
    """The numbers of a run that decide. p99 is the quantile of the delivered frames, without an interval."""
    summary = summary or summarize(trace)
    latency = frames(trace.measured())["latency"]
    result = _without_latency(summary, len(latency))
    if not len(latency):
        return result
    return replace(result, p99=float(np.quantile(latency, 0.99)), missed=summary.missed or 0.0)


def _without_latency(s: Summary, frames: int) -> Figures:
    """The numbers of a run of so many frames, as if all of them had been missed."""
    return Figures(
        frames=frames,
        missed=1.0,
        throughput=s.throughput,
        cpu=s.process_cpu,
        energy=_energy(s, frames),
        power=_power(s),
        device_memory=(s.cost or Cost()).device_memory,
        neighbours=s.neighbours_cpu,
        stages={stage.name: stage.mean for stage in s.frames.stages},
    )


def _power(s: Summary) -> float | None:
    """Power of all GPUs together, W."""
    powers = [device.medians["power_mw"] for device in s.devices if "power_mw" in device.medians]
    if not powers:
        return None
    return sum(powers) / 1000


def _energy(s: Summary, frames: int) -> float | None:
    """Energy of all GPUs per frame, J: by their counters, else by the power."""
    counters = [device.energy_mj for device in s.devices if device.energy_mj is not None]
    if counters and frames:
        return sum(counters) / 1000 / frames
    power = _power(s)
    if power is None or s.throughput <= 0:
        return None
    return power / s.throughput


def met(goal: Goal, result: Figures, level: int) -> bool:
    """Whether a run at `level` kept the constraints."""
    return not shortfalls(goal, result, level)


def shortfalls(goal: Goal, result: Figures, level: int) -> tuple[str, ...]:
    """A sentence for each constraint that a run at `level` did not keep, saying by how much."""
    return tuple(_shortfalls(goal, result, rate(goal, level)))


def _shortfalls(goal: Goal, result: Figures, fps: float) -> Iterator[str]:
    if result.missed > goal.late:
        late = f"{result.missed:.1%} of the frames were late, {goal.late:.0%} allowed"
        if result.p99 is not None:
            late += f" (p99 {result.p99 / NS_PER_MS:.1f} ms, allowed {goal.p99_ms:.1f} ms)"
        yield late
    used = result.device_memory or 0
    if goal.memory_bytes is not None and used > goal.memory_bytes:
        yield f"{used / 2**20:.0f} MiB of device memory in use, {goal.memory_bytes / 2**20:.0f} MiB allowed"
    if result.throughput < _CAME * fps:
        yield f"{result.throughput:.0f} of {fps:.0f} frames/s came through"


def value(goal: Goal, result: Figures) -> float:
    """The number that a goal without levels minimises; infinite where it was not measured."""
    numbers = {"p99": result.p99, "cpu": result.cpu, "energy": result.energy}
    return _or_infinite(numbers.get(goal.objective))


def came(goal: Goal, trial: Trial) -> float:
    """Frames per second of each camera that came through in a trial."""
    return min(rate(goal, trial.level), trial.figures.throughput) / (goal.cameras or 1)


def standing(goal: Goal, trials: Sequence[Trial]) -> Standing | None:
    """How good a candidate is by these trials, the larger the better; None without any.

    With levels: the level carried, then the share of late frames and p99 there, both negated (at the lowest level,
    where none is carried). Without: whether the constraints were kept in half of the trials, then the median of the
    number to minimise, negated; of p99 where they were not kept.
    """
    if not trials:
        return None
    if scales(goal):
        return _standing_by_level(trials)
    kept = sum(trial.met for trial in trials) * 2 >= len(trials)
    p99 = _median([trial.figures.p99 for trial in trials])
    if not kept:  # numbers of runs that break a constraint say little; p99 says how far off they are
        return (0.0, -p99, -p99)
    return (1.0, -_median([value(goal, trial.figures) for trial in trials]), -p99)


def _standing_by_level(trials: Sequence[Trial]) -> Standing:
    # A median over all trials of that level, not the last one: a single run may be lucky or disturbed.
    level = carried(trials)
    lowest = min(trial.level for trial in trials)
    figures = [trial.figures for trial in trials if trial.level == (level or lowest)]
    return (float(level), -_median([f.missed for f in figures]), -_median([f.p99 for f in figures]))


def _median(values: Sequence[float | None]) -> float:
    return float(np.median([_or_infinite(number) for number in values]))


def _or_infinite(number: float | None) -> float:
    if number is None:
        return math.inf
    return number


def best_of(goal: Goal, candidates: Sequence[Candidate], *, measured: bool = True) -> int | None:
    """The number of the best candidate by its measurements (or predictions); None where there are none."""
    ranked = []
    for number, candidate in enumerate(candidates):
        stands = standing(goal, candidate.measured if measured else candidate.predicted)
        if candidate.error is None and stands is not None:
            ranked.append((stands, -number))
    if not ranked:
        return None
    return -max(ranked)[1]
