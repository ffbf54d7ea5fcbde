"""How many cameras a plan carries: which count to try next, whether it holds, and what is in the way where it does not.

Doubling to the first miss, then halving the gap between what holds and what does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from framepace.analyze.summary import summarize
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.machine import Machine
from framepace.facts.summary import Summary
from framepace.facts.trace import Trace
from framepace.units import format_ms

LATE = 0.01  # share of frames that may be late where there are too few for a p99: the same claim
_GREY = 0.05  # beyond this share nobody doubts a miss
_BUSY = 0.9  # share from which a resource is used up
_NEIGHBOURS = 0.1  # share from which others are worth a word
_WAITING = ("backlog", "hand-over", "queue", "other models")  # stages in which a frame waits for others


def next_count(known: Mapping[int, bool], most: int) -> int | None:
    """The count to try next, by which counts held; None when the largest that holds is known, or `most` holds."""
    missed = min((count for count, holds in known.items() if not holds), default=None)
    held = max((count for count, holds in known.items() if holds and count < (missed or most + 1)), default=0)
    if missed is None:
        return None if held >= most else min(max(1, 2 * held), most)
    return (held + missed) // 2 if missed - held > 1 else None


def next_step(points: Sequence[CapacityPoint], most: int) -> tuple[int, bool] | None:
    """The count to measure next and whether for long; None when the answer is known. `points` in order of time.

    A count of which another run might say otherwise, and the answer itself, are measured a second time, for long.
    """
    runs = Counter(p.cameras for p in points)
    if points and not points[-1].sure and runs[points[-1].cameras] == 1:
        return points[-1].cameras, True
    last = decisive(points)
    count = next_count({p.cameras: p.holds for p in last}, most)
    if count is not None:
        return count, False
    best = carried(last)
    return (best, True) if runs[best] == 1 else None


def decisive(points: Iterable[CapacityPoint]) -> tuple[CapacityPoint, ...]:
    """One point for each count, the last run of it, by count."""
    found = {point.cameras: point for point in points}
    return tuple(found[count] for count in sorted(found))


def carried(points: Iterable[CapacityPoint]) -> int:
    """The largest count that holds, and below which none misses; 0 for none."""
    best = 0
    for point in sorted(points, key=lambda p: p.cameras):
        if not point.holds:
            break
        best = point.cameras
    return best


def capacity_point(trace: Trace, cameras: int, *, measured: bool = True, path: str | None = None) -> CapacityPoint:
    """What a run with so many cameras says.

    A count holds when p99 meets the budget with its whole interval; where the interval or the number of frames does
    not decide, when at most one frame in a hundred is late; and never when a frame is dropped or fails.
    """
    s = summarize(trace)
    late, lost = 1.0 if s.missed is None else s.missed, sum(s.frames.outcomes.get(n, 0) for n in ("dropped", "failed"))
    holds = lost == 0 and s.frames.requests > 0 and (s.met if s.met is not None else late <= LATE)
    p99 = s.frames.percentile(99)
    return CapacityPoint(
        cameras=cameras,
        holds=holds,
        late=late,
        seconds=s.seconds,
        sure=s.met is not None or lost > 0 or not 0 < late <= _GREY,
        lost=lost,
        p99=p99.estimate if p99 is not None else None,
        refused=p99.refused if p99 is not None else None,
        throughput=s.throughput,
        cpu=s.cost.cores if s.cost is not None else None,
        limited_by="" if holds else limit(s, cameras, trace.meta.plan.engine.workers, trace.meta.machine),
        measured=measured,
        trace=path,
    )


def capacity(
    points: Sequence[CapacityPoint], fps: float, budget: float, *, stopped: str = "", simulated: bool = False
) -> Capacity:
    """The verdict of `points`; `budget` in ns."""
    measured, predicted = (decisive(p for p in points if p.measured is kind) for kind in (True, False))
    missed = next((p for p in measured if not p.holds), None)
    return Capacity(
        cameras=carried(measured),
        fps=fps,
        budget=budget,
        missed=None if missed is None else missed.cameras,
        limited_by="" if missed is None else missed.limited_by,
        points=measured + predicted,
        predicted=carried(predicted) if predicted else None,
        stopped=stopped,
        simulated=simulated,
    )


def limit(s: Summary, cameras: int, workers: int, machine: Machine) -> str:
    """What is in the way, in words: the frame itself, the GPU, the CPU, the workers, or where the slowest wait."""
    if not s.frames.stages:
        return "no frame was delivered"
    itself = _slow(s)
    return (cameras == 1 and itself) or _full(s, workers, machine) or itself or _longest(s)


def _slow(s: Summary) -> str:
    """How much a frame takes that waits for no other, where that is over the budget; else ''."""
    alone = [stage for stage in s.frames.stages if stage.name not in _WAITING]
    own, largest = sum(stage.median for stage in alone), max(alone, key=lambda stage: stage.median)
    if s.budget is None or own <= s.budget:
        return ""
    part = f"{largest.name} {format_ms(largest.median)}"
    return f"the way of a frame: {format_ms(own)} without waiting for others ({part})"


def _full(s: Summary, workers: int, machine: Machine) -> str:
    """Which resource is used up; '' when none is."""
    busy = max((d.busy for d in s.devices if d.busy is not None), default=0.0)
    if busy >= _BUSY:
        return f"the GPU: busy {min(busy, 1.0):.0%} of the time"
    if s.cost is None:
        return ""
    cores = machine.cpu_limit or machine.cores_logical
    if s.cost.cores is not None and s.cost.cores >= _BUSY * cores:
        return f"the CPU: {s.cost.cores:.1f} of {cores:g} cores busy"
    at_work = sum(s.cost.models.values()) / max(1.0, s.seconds * 1e9 * workers)
    named = "the worker: at work" if workers == 1 else f"the {workers} workers: at work"
    return f"{named} {min(at_work, 1.0):.0%} of the time" if at_work >= _BUSY else ""


def _longest(s: Summary) -> str:
    stage = max(s.frames.stages, key=lambda stage: stage.p99)
    others = s.neighbours_cpu or 0.0
    beside = f", while others used {others:.0%} of the machine's CPU time" if others >= _NEIGHBOURS else ""
    return f"{stage.name}: {format_ms(stage.p99)} in the slowest of a hundred frames{beside}"
