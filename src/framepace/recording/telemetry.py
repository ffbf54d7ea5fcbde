"""Telemetry: machine and process while a run goes on, sampled on its own thread.

Samplers fill columns: one for the host (recording/host.py) and one for each GPU (recording/gpu.py).
"""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count, repeat
from typing import Protocol

from framepace.clock.usage import GC_CLOCK
from framepace.facts.trace import TELEMETRY_COLUMNS
from framepace.recording.host import host_sampler

_NAMES = tuple(TELEMETRY_COLUMNS)
_ROW = struct.Struct(f"<{len(_NAMES)}q")
PERIOD_S = 0.02
# Takes packed rows, from any thread.
Sink = Callable[[bytes], None]


class Sampler(Protocol):
    """Reads some columns of one device (-1: the host), every `period` seconds (None: at the telemetry's own)."""

    device: int
    period: float | None

    def read(self) -> dict[str, int]:
        """Columns by name; the others are -1 in the row."""

    def close(self) -> None:
        """Free handles and files."""


class _Cost:
    """CPU time of the samples between `begin` and `end`; ns."""

    def __init__(self) -> None:
        self._latest: deque[int] = deque(maxlen=1 << 14)
        self._total = 0
        self._began = 0
        self._ended = 0

    def begin(self) -> None:
        """The sampling begins."""
        self._began = time.perf_counter_ns()

    def end(self) -> None:
        """The sampling has ended."""
        self._ended = time.perf_counter_ns()

    def add(self, cost: int) -> None:
        """One sample took this much."""
        self._total += cost
        self._latest.append(cost)

    def median(self) -> int:
        """That of one sample; 0 before the first."""
        costs = sorted(self._latest) or [0]
        return costs[len(costs) // 2]

    def core_share(self) -> float:
        """The share of one core's time, until now where the sampling goes on; 0 where it has not begun."""
        if not self._began:
            return 0.0
        return self._total / max(1, (self._ended or time.perf_counter_ns()) - self._began)


class Telemetry:
    """Samples every `period` seconds and hands packed rows to `sink`; a context manager, entered once.

    The sampler with the shortest period sets the pace; the others are read at every n-th of its samples.
    The first sample is taken before the run and the last after it, both by the caller's thread, so that differences
    cover all of it. A sampler that fails is left out from then on; `failures` has the reason by the sampler's name.
    """

    def __init__(self, sink: Sink, period: float = PERIOD_S, samplers: Sequence[Sampler] | None = None) -> None:
        self._sink = sink
        if samplers is None:
            samplers = [host_sampler()]
        self._samplers = list(samplers)
        self._period = min((sampler.period or period for sampler in samplers), default=period)
        self._every = {id(sampler): self._turns(sampler, period) for sampler in samplers}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="telemetry", daemon=True)
        self._cost = _Cost()
        self.failures: dict[str, str] = {}

    def _turns(self, sampler: Sampler, period: float) -> int:
        """After how many samples the sampler is read again; every `period` seconds where it does not say."""
        return max(1, round((sampler.period or period) / self._period))

    def __enter__(self) -> Telemetry:
        GC_CLOCK.start()
        self._cost.begin()
        self.sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.sample()
        self._cost.end()
        for sampler in self._samplers:
            sampler.close()
        GC_CLOCK.stop()

    def sample(self) -> None:
        """Take one sample of every device."""
        self._sample(tuple(self._samplers))

    def _sample(self, samplers: Sequence[Sampler]) -> None:
        began = time.thread_time_ns()
        for sampler in samplers:
            now = time.perf_counter_ns()
            try:
                row = {"time": now, "device": sampler.device, **sampler.read()}
            except Exception as error:  # a driver that goes away must not end the run
                self._give_up(sampler, error)
            else:
                self._sink(_ROW.pack(*map(row.get, _NAMES, repeat(-1))))
        self._cost.add(time.thread_time_ns() - began)

    @property
    def overhead(self) -> dict[str, float]:
        """CPU time of the sampling: 'sample_us', the median of one sample, and 'core_share', of one core's time."""
        return {"sample_us": self._cost.median() / 1000, "core_share": self._cost.core_share()}

    def _loop(self) -> None:
        due = time.monotonic()
        for turn in count(1):
            # On a grid, so that the rate is what it says. After a sample that took longer than a period a new grid
            # begins: samples that were missed are not made up for.
            now = time.monotonic()
            due += self._period
            if due <= now:
                due = now + self._period
            if self._end.wait(due - now):
                return
            self._sample([sampler for sampler in self._samplers if turn % self._every[id(sampler)] == 0])

    def _give_up(self, sampler: Sampler, error: Exception) -> None:
        name = type(sampler).__name__
        if name in self.failures:
            name = f"{name} (device {sampler.device})"
        self.failures[name] = f"{type(error).__name__}: {error}"
        self._samplers.remove(sampler)
        sampler.close()
