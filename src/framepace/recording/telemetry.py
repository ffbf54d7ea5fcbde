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


class Sampler(Protocol):
    """Reads some columns of one device (-1: the host), every `period` seconds (None: at the telemetry's own)."""

    device: int
    period: float | None

    def read(self) -> dict[str, int]:
        """Columns by name; the others are -1 in the row."""

    def close(self) -> None:
        """Free handles and files."""


class Telemetry:
    """Samples every `period` seconds and hands packed rows to `sink`; a context manager, entered once.

    The sampler with the shortest period sets the pace; the others are read at every n-th of its samples.
    The first sample is taken before the run and the last after it, both by the caller's thread, so that differences
    cover all of it. A sampler that fails is left out from then on; `failures` has the reason by the sampler's name.
    """

    def __init__(
        self, sink: Callable[[bytes], None], period: float = PERIOD_S, samplers: Sequence[Sampler] | None = None
    ) -> None:
        self._sink = sink
        if samplers is None:
            samplers = [host_sampler()]
        self._samplers = list(samplers)
        periods = {id(sampler): sampler.period or period for sampler in samplers}
        self._period = min(periods.values(), default=period)
        self._every = {key: max(1, round(own_period / self._period)) for key, own_period in periods.items()}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="telemetry", daemon=True)
        self._costs: deque[int] = deque(maxlen=1 << 14)
        self._total_cost = 0
        self._began = 0
        self._ended = 0
        self.failures: dict[str, str] = {}

    def __enter__(self) -> Telemetry:
        GC_CLOCK.start()
        self._began = time.perf_counter_ns()
        self.sample()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.sample()
        self._ended = time.perf_counter_ns()
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
        cost = time.thread_time_ns() - began
        self._total_cost += cost
        self._costs.append(cost)

    @property
    def overhead(self) -> dict[str, float]:
        """CPU time of the sampling: 'sample_us', the median of one sample, and 'core_share', of one core's time."""
        costs = sorted(self._costs) or [0]
        sample_us = costs[len(costs) // 2] / 1000
        if not self._began:
            return {"sample_us": sample_us, "core_share": 0.0}
        wall = max(1, (self._ended or time.perf_counter_ns()) - self._began)
        return {"sample_us": sample_us, "core_share": self._total_cost / wall}

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
