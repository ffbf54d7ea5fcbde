"""How far live sources are behind their own clocks, and how fast that grows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from framepace.analyze.stages import frame_trace
from framepace.facts.trace import Trace
from framepace.facts.workload import load_fps
from framepace.units import NS_PER_S

_FEWEST = 10  # pictures that show a slope
_UNLIKE = 1.2  # rates that differ more are not the same
_TOLD = 0.02  # seconds behind per second
_TOLD_S = 0.2


class Lag(NamedTuple):
    """A live source: its name, the lag of its last pictures (s), its growth per second (s), and its pictures read."""

    source: str
    seconds: float
    per_second: float
    pictures: int


def growth(trace: Trace) -> tuple[Lag, ...]:
    """The lag of each live source of the scope 'stream', from its own clock: latency of the pictures over time."""
    if trace.meta.workload.scope != "stream":
        return ()
    return tuple(_lags(frame_trace(trace.measured())))


def lag_notes(trace: Trace) -> Iterator[str]:
    """A sentence for each live source that falls behind."""
    for lag in growth(trace):
        if lag.per_second >= _TOLD and lag.seconds >= _TOLD_S:
            yield f"{lag.source} falls {lag.per_second:.2f} s behind every second: {lag.seconds:.1f} s at the end"
    yield from _rates(trace)


def live_rates(trace: Trace) -> dict[int, float]:
    """Pictures per second that each live source of the scope 'stream' sends by its own clock, by the source's index."""
    if trace.meta.workload.scope != "stream":
        return {}
    live = (index for index, name in enumerate(trace.meta.sources) if "://" in name)
    due = {index: np.unique(trace.requests["due"][trace.requests["source"] == index]) for index in live}
    return {index: NS_PER_S / float(np.median(np.diff(times))) for index, times in due.items() if len(times) >= _FEWEST}


def _rates(trace: Trace) -> Iterator[str]:
    """A sentence for each live source that sends at another rate than the load has."""
    asked = load_fps(trace.meta.workload.load)
    if asked is None:
        return
    for index, sent in live_rates(trace).items():
        name = trace.meta.sources[index]
        if not 1 / _UNLIKE < sent / asked < _UNLIKE:
            said = f"the load is {asked:g} fps, and {name} sends {sent:.3g}"
            yield f"{said}: a live source sets its own pace (--fps {sent:.3g})"


def _lags(whole: Trace) -> Iterator[Lag]:
    rows = whole.requests
    for index, name in enumerate(whole.meta.sources):
        own = rows["source"] == index
        if "://" not in name or np.count_nonzero(own) < _FEWEST:
            continue
        due = rows["due"][own] / NS_PER_S
        delivered = rows["delivered"][own] / NS_PER_S
        lag = delivered - due
        slope = float(np.polyfit(delivered - delivered[0], lag, 1)[0])
        yield Lag(name, float(np.median(lag[-_FEWEST:])), slope, int(np.count_nonzero(own)))
