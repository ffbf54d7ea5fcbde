"""How many cameras a plan carries: the count to try next, whether it holds, and what limits it where it does not.

Doubling to the first miss, then halving the gap between what holds and what does not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from framepace.analyze.summary import summarize
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.machine import Machine
from framepace.facts.summary import Cost, Percentile, Summary
from framepace.facts.trace import Trace
from framepace.units import NS_PER_S, format_ms

LATE = 0.01  # share of frames that may be late where there are too few for a p99: the same claim
_GREY = 0.05  # beyond this share a miss is certain
_BUSY = 0.9  # share from which a resource is used up
_NEIGHBOURS = 0.1  # share of the machine from which other processes are mentioned
_WAITING = ("backlog", "hand-over", "queue", "other models")  # stages in which a frame waits for others


def next_count(holds: Mapping[int, bool], highest: int) -> int | None:
    """The count to try next; None when the largest that holds is known, or `highest` holds.

    `holds` says of the counts tried so far whether each held.
    """
    failed = [count for count, held in holds.items() if not held]
    missed = min(failed, default=highest + 1)
    largest = max((count for count, held in holds.items() if held and count < missed), default=0)
    if missed - largest <= 1:
        return None
    if failed:
        return (largest + missed) // 2
    return min(max(1, 2 * largest), highest)


def next_step(points: Sequence[CapacityPoint], highest: int) -> tuple[int, bool] | None:
    """The count to measure next and whether for long; None when the answer is known. `points` in order of time.

    A count of which another run might say otherwise, and the answer itself, are measured a second time, for long.
    """
    runs = Counter(p.cameras for p in points)
    if points and not points[-1].sure and runs[points[-1].cameras] == 1:
        return points[-1].cameras, True
    last = decisive(points)
    count = next_count({p.cameras: p.holds for p in last}, highest)
    if count is not None:
        return count, False
    best = carried(last)
    if runs[best] == 1:
        return best, True
    return None


def decisive(points: Iterable[CapacityPoint]) -> tuple[CapacityPoint, ...]:
    """One point per count, the last run of it, by count."""
    last = {point.cameras: point for point in points}
    return tuple(last[count] for count in sorted(last))


def carried(points: Iterable[CapacityPoint]) -> int:
    """The largest count that holds, and below which none misses; 0 for none."""
    best = 0
    for point in sorted(points, key=lambda p: p.cameras):
        if not point.holds:
            break
        best = point.cameras
    return best


def capacity_point(trace: Trace, cameras: int, *, measured: bool = True, path: str | None = None) -> CapacityPoint:
    """The result of a run with `cameras` cameras.

    A count holds when p99 meets the budget with its whole interval; where the interval or the number of frames does
    not decide, when at most one frame in a hundred is late; and never when a frame is dropped or fails.
    """
    s = summarize(trace)
    late = _late(s)
    lost = sum(s.frames.outcomes.get(outcome, 0) for outcome in ("dropped", "failed"))
    holds = lost == 0 and s.frames.requests > 0 and _in_budget(s)
    p99 = s.frames.percentile(99) or Percentile(q=99, estimate=None)
    limited_by = ""
    if not holds:
        limited_by = limit(s, cameras, trace.meta.plan.engine.workers, trace.meta.machine)
    return CapacityPoint(
        cameras=cameras,
        holds=holds,
        late=late,
        seconds=s.seconds,
        sure=s.met is not None or lost > 0 or not 0 < late <= _GREY,
        lost=lost,
        p99=p99.estimate,
        refused=p99.refused,
        throughput=s.throughput,
        cpu=(s.cost or Cost()).cores,
        limited_by=limited_by,
        measured=measured,
        trace=path,
    )


def _late(s: Summary) -> float:
    """The share of late frames; all of them where none was measured."""
    if s.missed is None:
        return 1.0
    return s.missed


def _in_budget(s: Summary) -> bool:
    """Whether p99 is within the budget, or few enough frames are late where too few decide that."""
    if s.met is None:
        return _late(s) <= LATE
    return s.met


def capacity(
    points: Sequence[CapacityPoint], fps: float, budget: float, *, stopped: str = "", simulated: bool = False
) -> Capacity:
    """The verdict of `points`; `budget` in ns."""
    measured = decisive(p for p in points if p.measured)
    predicted = decisive(p for p in points if not p.measured)
    result = Capacity(
        cameras=carried(measured),
        fps=fps,
        budget=budget,
        points=measured + predicted,
        stopped=stopped,
        simulated=simulated,
    )
    if predicted:
        result = replace(result, predicted=carried(predicted))
    for point in measured:
        if not point.holds:
            return replace(result, missed=point.cameras, limited_by=point.limited_by)
    return result


def limit(s: Summary, cameras: int, workers: int, machine: Machine) -> str:
    """What limits the count, in words: the frame itself, the GPU, the CPU, the workers, or where the slowest wait."""
    if not s.frames.stages:
        return "no frame was delivered"
    itself = _slow(s)
    if cameras == 1 and itself:
        return itself
    return _full(s, workers, machine) or itself or _longest(s)


def _slow(s: Summary) -> str:
    """The time of a frame that waits for no other, in words, if that exceeds the budget; else ''."""
    alone = [stage for stage in s.frames.stages if stage.name not in _WAITING]
    total = sum(stage.median for stage in alone)
    if s.budget is None or total <= s.budget:
        return ""
    largest = max(alone, key=lambda stage: stage.median)
    part = f"{largest.name} {format_ms(largest.median)}"
    return f"the path of a frame: {format_ms(total)} without waiting for others ({part})"


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
    at_work = sum(s.cost.models.values()) / max(1.0, s.seconds * NS_PER_S * workers)
    if at_work < _BUSY:
        return ""
    subject = "the worker"
    if workers != 1:
        subject = f"the {workers} workers"
    return f"{subject}: busy {min(at_work, 1.0):.0%} of the time"


def _longest(s: Summary) -> str:
    stage = max(s.frames.stages, key=lambda stage: stage.p99)
    others = s.neighbours_cpu or 0.0
    text = f"{stage.name}: {format_ms(stage.p99)} in the slowest 1 % of the frames"
    if others >= _NEIGHBOURS:
        text += f", while others used {others:.0%} of the machine's CPU time"
    return text
