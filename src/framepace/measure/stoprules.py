"""When a run is warm and when it has measured enough: objects fed with numbers, no clock and no device."""

from __future__ import annotations

import math
from collections import deque
from statistics import median

from framepace.facts.workload import Stop, Warmup
from framepace.units import NS_PER_S

_JUDGE_EVERY = 50


class Steady:
    """Warm-up ends when the medians of three windows in a row agree within the tolerance, or the time is up.

    `stable` tells which; an unstable end is noted in the trace.
    """

    def __init__(self, warmup: Warmup) -> None:
        self._warmup = warmup
        self._window: list[int] = []
        self._medians: deque[float] = deque(maxlen=3)
        self._start: int | None = None
        self.stable = False

    def add(self, latency: int, now: int) -> bool:
        """See StopRule."""
        if self._start is None:
            self._start = now - latency
        self._window.append(latency)
        if len(self._window) == self._warmup.window:
            self._medians.append(median(self._window))
            self._window.clear()
            self.stable = self._agree()
        return self.stable or now - self._start >= self._warmup.seconds_max * NS_PER_S

    def ends_by(self, began: int) -> int | None:
        """See StopRule; counted from the first delivery, if there was one."""
        start = began
        if self._start is not None:
            start = self._start
        return start + round(self._warmup.seconds_max * NS_PER_S)

    def _agree(self) -> bool:
        low = min(self._medians)
        spread = max(self._medians) - low
        return len(self._medians) == 3 and spread <= self._warmup.tolerance * max(low, 1)


class Enough:
    """The stop rule of a workload: count, duration or precision, whichever is met first.

    Precision uses order statistics: the ranks n*q -+ 2.58*sqrt(n*q*(1-q)) enclose the percentile with 99 % confidence
    (normal approximation of the binomial distribution; Conover, Practical Nonparametric Statistics).
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._start: int | None = None
        self._count = 0
        self._latencies: list[int] = []

    def add(self, latency: int, now: int) -> bool:
        """See StopRule."""
        stop = self._stop
        if self._start is None:
            self._start = now - latency
        self._count += 1
        if stop.count is not None and self._count >= stop.count:
            return True
        if stop.seconds is not None and now - self._start >= stop.seconds * NS_PER_S:
            return True
        return stop.precision is not None and self._precise(latency, stop.precision)

    def ends_by(self, began: int) -> int | None:
        """See StopRule; counted from the first delivery, if there was one."""
        if self._stop.seconds is None:
            return None
        start = began
        if self._start is not None:
            start = self._start
        return start + round(self._stop.seconds * NS_PER_S)

    @property
    def seconds(self) -> float | None:
        """The duration it will stop at, if it has one."""
        return self._stop.seconds

    def progress(self, now: int) -> float:
        """Share done, 0 to 1, by the limit that is nearest."""
        shares = [0.0]
        if self._stop.count is not None:
            shares.append(self._count / self._stop.count)
        if self._stop.seconds is not None and self._start is not None:
            shares.append((now - self._start) / (self._stop.seconds * NS_PER_S))
        return min(1.0, max(shares))

    def _precise(self, latency: int, wanted: float) -> bool:
        self._latencies.append(latency)
        n = len(self._latencies)
        q = self._stop.percentile / 100
        if n < self._stop.count_min or n % _JUDGE_EVERY:
            return False
        spread = 2.58 * math.sqrt(n * q * (1 - q))
        low = math.floor(n * q - spread)
        high = math.ceil(n * q + spread)
        if low < 0 or high >= n:
            return False
        ordered = sorted(self._latencies)
        return (ordered[high] - ordered[low]) / 2 <= wanted * max(ordered[int(n * q)], 1)
