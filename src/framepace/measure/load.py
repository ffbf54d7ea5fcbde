"""Loads: when frames are due. Open loads (paced, Poisson, burst, replay) are computed ahead from a seed; closed loops
and fixed delays follow the deliveries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.facts.workload import Burst, Closed, Delay, FileTimes, Load, OpenLoad, Paced, Poisson, Replay
from framepace.feeds.arrivals import Arrivals, Lane
from framepace.feeds.runstate import RunState
from framepace.units import NS_PER_MS, NS_PER_S

_CHUNK = 4096


def offsets(load: OpenLoad, first: int, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Due times of frames `first`..`first+count-1` of an open load, in ns after its start.

    Any chunk of the same load and seed gives the same times. Poisson gaps are exponential; the jitter of a paced load
    is uniform within +-`jitter` periods around its grid.
    """
    if isinstance(load, Poisson):
        return _poisson(load, first + count, seed)[first:]
    if isinstance(load, Burst):
        number = np.arange(first, first + count, dtype=np.int64)
        return ((number // load.size) * (load.size * NS_PER_S / load.fps)).astype(np.int64)
    return _paced(load, first, count, seed)


def _poisson(load: Poisson, count: int, seed: int) -> NDArray[np.int64]:
    gaps = np.random.default_rng(seed).exponential(NS_PER_S / load.fps, count)
    return np.cumsum(gaps).astype(np.int64)


def _paced(load: Paced, first: int, count: int, seed: int) -> NDArray[np.int64]:
    period = NS_PER_S / load.fps
    grid = (np.arange(first, first + count, dtype=np.int64) * period).astype(np.int64)
    if not load.jitter:
        return grid
    # From the beginning for every chunk, so that a frame's shift does not depend on how frames are cut into chunks.
    shares = np.random.default_rng(seed).uniform(-1, 1, first + count)[first:]
    shift = shares * load.jitter * NS_PER_S / load.fps
    return np.maximum(grid + shift.astype(np.int64), 0)


class Open:
    """An open load starting at `start` (ns), its due times computed a chunk at a time, well before they are needed."""

    bulk = False

    def __init__(self, load: OpenLoad, start: int, seed: int = 0) -> None:
        self._load = load
        self._start = start
        self._seed = seed
        self._times: list[int] = []

    def peek(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return self.due(number, state)

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals; never waits."""
        while number >= len(self._times):
            size = max(_CHUNK, len(self._times))
            chunk = offsets(self._load, len(self._times), size, self._seed)
            self._times.extend((chunk + self._start).tolist())
        return self._times[number]


class Recorded:
    """The due times of a recorded run (ns), moved so that `first` (by default the first of them) is at `start`."""

    bulk = False

    def __init__(self, due: NDArray[np.int64], start: int, first: int | None = None) -> None:
        if first is None:
            first = int(due.min())
        self._times: list[int] = (np.sort(due) - first + start).tolist()

    def peek(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return self.due(number, state)

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals; never waits."""
        if number >= len(self._times):
            return None
        return self._times[number]


class Repeated:
    """Times of a file (ns, ascending from 0), again every `length` ns, from `start` on."""

    bulk = False

    def __init__(self, times: NDArray[np.int64], length: int, start: int) -> None:
        self._times: list[int] = (times + start).tolist()
        self._length = length

    def peek(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return self.due(number, state)

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals; never waits."""
        rounds, place = divmod(number, len(self._times))
        return self._times[place] + rounds * self._length


class Feedback:
    """Closed loop: a batch of `width` frames is due `delay` ns after the batch `concurrency` before it."""

    bulk = True

    def __init__(self, start: int, concurrency: int = 1, delay: int = 0, width: int = 1) -> None:
        self._start = start
        self._concurrency = concurrency
        self._delay = delay
        self._width = width

    def peek(self, number: int, state: RunState) -> int | None:
        """See Arrivals."""
        return self._after(number, state.peek)

    def due(self, number: int, state: RunState) -> int | None:
        """See Arrivals; waits for the delivery it follows."""
        return self._after(number, state.completion)

    def _after(self, number: int, completed: Callable[[int], int | None]) -> int | None:
        batch = number // self._width - self._concurrency
        if batch < 0:
            return self._start
        done = completed((batch + 1) * self._width - 1)
        if done is None:
            return None
        return done + self._delay


def arrivals(
    load: Load,
    start: int,
    sources: int = 1,
    width: int = 1,
    seed: int = 0,
    recorded: Sequence[NDArray[np.int64]] = (),
    workers: int = 1,
) -> list[Arrivals]:
    """Arrivals for each of `sources`: open loads once per source (cameras out of phase), closed loops shared by all.

    Args:
        start: when the load begins, ns.
        width: frames per batch, which closed loops bring together.
        recorded: the due times to replay, ns, of each source.
        workers: the requests in flight of a closed loop without a concurrency.
    """
    if isinstance(load, Closed | Delay):
        loop = _feedback(load, start, width, workers)
        return [Lane(loop, index, sources) for index in range(sources)]
    assert not isinstance(load, FileTimes)  # whose times are those of the sources, not of the load
    if isinstance(load, Replay):
        first = min(int(due.min()) for due in recorded if len(due))
        return [Recorded(due, start, first) for due in recorded]
    return _out_of_phase(load, start, sources, seed)


def _feedback(load: Closed | Delay, start: int, width: int, workers: int) -> Feedback:
    if isinstance(load, Delay):
        return Feedback(start, delay=round(load.delay_ms * NS_PER_MS), width=width)
    return Feedback(start, load.concurrency or workers, width=width)


def _out_of_phase(load: OpenLoad, start: int, sources: int, seed: int) -> list[Arrivals]:
    """The same open load for each source, the first without a delay and the others at random within a period."""
    # In the order of the sources: a feed that takes them in turn never waits for one while another's frame is there.
    phases = np.sort(np.random.default_rng(seed).uniform(0, 1, sources))
    phases[0] = 0.0
    period = NS_PER_S / load.fps
    return [Open(load, start + int(phase * period), seed + i) for i, phase in enumerate(phases)]
