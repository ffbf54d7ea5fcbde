"""Late frames against the others: what grew, in which pattern, and a receipt for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.coincidence import coincidences
from framepace.analyze.stages import frame_trace, shown_stages, stages, take
from framepace.facts.late import WAITING, Chosen, Growth, LateFrames, Pattern, Receipt
from framepace.facts.summary import Summary
from framepace.facts.trace import Column, DropCause, Mark, Outcome, Trace

_SLOWEST = 0.05
_FEWEST_FAR = 0.01  # of the frames far over the median
_FAR = 1.3
_DEVIATIONS = 5.0
_ROBUST = 1.4826  # standard deviations of a normal distribution per median absolute deviation
_FEWEST_OVER = 0.002  # of the frames over the budget; with fewer the slowest 5 % are looked at
_FEWEST = 20  # frames of which some can be called slow
_GROWN = 0.05  # of what late frames take more, for a stage to be named
_FEWEST_DISTANCES = 4
_REGULAR = 0.9  # of the distances between late frames that are equal, or of every nth frame that is late
_STAGE_OF = {DropCause.BACKEND: "infer", DropCause.HOOK: "finish", DropCause.DEVICE: "infer"}
_IN_STEP = 0.75  # of the late frames that come in step, where others are late beside them
_IN_A_ROW = 1.5  # mean run of late frames, from which they come in bursts

Mask = NDArray[np.bool_]


def late_frames(trace: Trace, summary: Summary) -> LateFrames | None:
    """The account of the late frames of `trace`: those over the budget; where there are hardly any, those far over the
    median; or the slowest 5 %.

    None for under 20 frames, and where all or none are late. `summary` is that of the trace.
    """
    whole, late, chosen = late_rows(trace, summary)
    if len(late) < _FEWEST or late.all() or not late.any():
        return None
    latency = whole.latency
    more = float(np.mean(latency[late]) - np.mean(latency[~late]))
    every, burst = _rhythm(late)
    columns = shown_stages(whole, stages(whole))
    grown = _growth(columns, late, more)
    return LateFrames(
        chosen=chosen,
        count=int(late.sum()),
        share=float(np.mean(late)),
        more=more,
        stages=tuple(grown),
        pattern=_pattern(every, burst),
        every=every,
        slow_every=_slow_every(columns, grown),
        burst=burst,
        sources=_by_source(whole, late),
        coincides=_coincidences(whole, late),
    )


def late_rows(trace: Trace, summary: Summary) -> tuple[Trace, Mask, Chosen]:
    """The delivered frames in order of due time, which of them are late, and by what."""
    whole = frame_trace(trace.measured())
    return whole, *_choose(whole, summary)


def receipts(trace: Trace, budget: float) -> tuple[Receipt, ...]:
    """A receipt for each frame past warm-up that was not delivered within `budget` ns, in order of due time."""
    past = frame_trace(trace.where((trace.requests["marks"] & Mark.WARMUP) == 0))
    lost = past.requests["outcome"] != Outcome.OK
    done = take(past, np.flatnonzero(~lost))
    found = [*_of_lost(take(past, np.flatnonzero(lost))), *_of_late(done, done.latency > budget)]
    return tuple(sorted(found, key=lambda receipt: receipt.frame))


def _of_lost(lost: Trace) -> Iterator[Receipt]:
    """Frames that were dropped before an inference, or that failed in one or in a hook."""
    columns = lost.requests
    for frame, source, cause in zip(columns["frame"], columns["source"], columns["cause"], strict=True):
        word = DropCause.NAMES[int(cause)] or "failed"
        stage = _STAGE_OF.get(int(cause), "queue")
        yield Receipt(frame=int(frame), source=int(source), late=0.0, stage=stage, more=0.0, cause=word)


def _of_late(done: Trace, late: Mask) -> Iterator[Receipt]:
    which = np.flatnonzero(late)
    if not len(which):
        return
    usual = late if late.all() else ~late
    columns = shown_stages(done, stages(done))
    names = list(columns)
    grown = np.array([columns[name][which] - np.median(columns[name][usual]) for name in names])
    excess = np.maximum(done.latency - np.median(done.latency[usual]), 0)
    largest = np.argmax(grown, axis=0)
    for place, cause in enumerate(coincidences(done, which, excess)):
        stage = names[int(largest[place])]
        yield _receipt(done, int(which[place]), stage, float(grown[largest[place], place]), cause)


def _receipt(done: Trace, row: int, stage: str, more: float, cause: str) -> Receipt:
    columns = done.requests
    return Receipt(
        frame=int(columns["frame"][row]),
        source=int(columns["source"][row]),
        late=float(done.latency[row]),
        stage=stage,
        more=max(0.0, more),
        cause=cause,
        waited_for=_waited_for(columns, row) if stage in WAITING else None,
    )


def _waited_for(columns: Mapping[str, Column], row: int) -> int | None:
    """The frame that the same worker delivered last before it took this one."""
    taken = columns["batched"][row]
    before = (columns["worker"] == columns["worker"][row]) & (columns["delivered"] <= taken)
    before &= columns["delivered"] > columns["due"][row]
    if taken < 0 or not before.any():
        return None
    return int(columns["frame"][np.flatnonzero(before)[np.argmax(columns["delivered"][before])]])


def _choose(whole: Trace, summary: Summary) -> tuple[Mask, Chosen]:
    """Which frames are late, and by what."""
    latency = whole.latency
    if not len(latency):
        return np.zeros(0, dtype=bool), "slowest 5 %"
    over = latency > (summary.budget or np.inf)
    if np.mean(over) > _FEWEST_OVER:
        return over, "over the budget"
    far = latency > _far(latency)
    if np.mean(far) >= _FEWEST_FAR:
        return far, "far over the median"
    return latency > np.quantile(latency, 1 - _SLOWEST), "slowest 5 %"


def _far(latency: Column) -> float:
    """The latency that frames of the usual kind do not reach, ns: 1.3 times the median, and five deviations over it."""
    middle = float(np.median(latency))
    deviation = _ROBUST * float(np.median(np.abs(latency - middle)))
    return max(_FAR * middle, middle + _DEVIATIONS * deviation)


def _growth(columns: Mapping[str, Column], late: Mask, more: float) -> list[Growth]:
    grown = []
    for name in columns:
        slow = float(np.mean(columns[name][late]))
        other = float(np.mean(columns[name][~late]))
        share = (slow - other) / max(more, 1.0)
        if share >= _GROWN:
            grown.append(Growth(stage=name, late=slow, other=other, share=share))
    return sorted(grown, key=lambda growth: -growth.share)


def _rhythm(late: Mask) -> tuple[int, float]:
    """n where every nth frame is late or the first of a run of late ones, else 0; and the mean length of these runs."""
    places = np.flatnonzero(late)
    starts = places[np.diff(places, prepend=-2) > 1]
    return _regular_distance(starts, len(late)), len(places) / len(starts)


def _slow_every(columns: Mapping[str, Column], grown: Sequence[Growth]) -> int:
    """n where every nth frame is slow in the first stage that is no waiting, whatever else makes them late; else 0."""
    working = next((growth for growth in grown if growth.stage not in WAITING), None)
    if working is None:
        return 0
    slow = columns[working.stage] > (working.late + working.other) / 2
    return _rhythm(slow)[0] if slow.any() else 0


def _regular_distance(starts: NDArray[np.intp], frames: int) -> int:
    """The distance, over 1, in which nearly all runs of late frames start; 0 where there is none."""
    distances = np.diff(starts)
    if len(distances) < _FEWEST_DISTANCES:
        return 0
    usual = int(np.median(distances))
    regular = float(np.mean(distances == usual)) >= _REGULAR
    return usual if usual > 1 and (regular or _in_step(starts, usual, frames)) else 0


def _in_step(starts: NDArray[np.intp], every: int, frames: int) -> bool:
    """Whether nearly every nth frame starts a run, and few others do: frames that a busy machine makes late as well."""
    steps = np.bincount(starts % every, minlength=every)
    first = int(np.argmax(steps))
    expected = len(range(first, frames, every))
    return bool(steps[first] >= max(_REGULAR * expected, _IN_STEP * len(starts)))


def _pattern(every: int, burst: float) -> Pattern:
    if burst >= _IN_A_ROW:
        return "bursts"
    return "every nth frame" if every else "single frames"


def _by_source(whole: Trace, late: Mask) -> dict[str, int]:
    """Late frames by camera, where there are several."""
    names = whole.meta.sources
    if len(names) < 2:
        return {}
    counts = Counter(int(source) for source in whole.requests["source"][late])
    return {f"{source} ({names[source]})": count for source, count in sorted(counts.items())}


def _coincidences(whole: Trace, late: Mask) -> dict[str, int]:
    excess = np.maximum(whole.latency - np.median(whole.latency[~late]), 0)
    found = coincidences(whole, np.flatnonzero(late), excess)
    return dict(Counter(cause for cause in found if cause).most_common())
