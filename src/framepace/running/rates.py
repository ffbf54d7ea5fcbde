"""What happened in the last seconds: how often, and how old. Pure: times in, numbers out."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

from framepace.facts.running import AGE_BOUNDS_MS, Ages
from framepace.units import NS_PER_MS, NS_PER_S

_SECONDS = 5  # over which a rate is taken
_AGES_KEPT = 600  # of the last 10 s at 60 results per second
_AGES_S = 10


class Rate:
    """Events per second over the last five whole seconds."""

    def __init__(self) -> None:
        self._counts: deque[list[int]] = deque(maxlen=_SECONDS + 1)  # [second, events]

    def add(self, now: int, count: int = 1) -> None:
        """Note events at `now` (ns)."""
        second = now // NS_PER_S
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1][1] += count
        else:
            self._counts.append([second, count])

    def per_second(self, now: int) -> float | None:
        """Their rate; None before a whole second has passed since the first."""
        second = now // NS_PER_S
        counts = list(self._counts)  # others go on noting
        if not counts or counts[0][0] == second:
            return None
        first = max(counts[0][0], second - _SECONDS)
        events = sum(count for at, count in counts if first <= at < second)
        return events / (second - first)


class ResultAges:
    """How old results were, in ns: those of the last seconds one by one, all of them counted."""

    def __init__(self) -> None:
        self._ages: deque[tuple[int, int]] = deque(maxlen=_AGES_KEPT)
        self._counts = [0] * (len(AGE_BOUNDS_MS) + 1)
        self._sum = 0

    def add(self, now: int, age: int) -> None:
        """Note a result at `now` (ns)."""
        self._ages.append((now, age))
        self._counts[bisect_left(AGE_BOUNDS_MS, age / NS_PER_MS)] += 1
        self._sum += age

    def counted(self) -> Ages:
        """All of them so far."""
        return Ages(counts=tuple(self._counts), sum_ms=self._sum / NS_PER_MS)

    def quantiles_ms(self, now: int, *quantiles: float) -> tuple[float | None, ...]:
        """The ages in ms that so many shares of the results keep; None where there was no result."""
        ages = []
        for at, age in reversed(list(self._ages)):
            if at < now - _AGES_S * NS_PER_S:
                break
            ages.append(age)
        if not ages:
            return (None,) * len(quantiles)
        ages.sort()
        return tuple(ages[min(len(ages) - 1, int(quantile * len(ages)))] / NS_PER_MS for quantile in quantiles)
