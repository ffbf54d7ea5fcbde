"""The cheapest hosts that carry so many cameras, even without the largest of them. Pure.

Buying whole hosts is a knapsack that has to be filled: the least cost of covering each number of cameras, kind by kind,
whose counts are put together from powers of two (R. Bellman's dynamic programming; Kellerer, Pferschy, Pisinger 2004,
chapters 2 and 7).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Counts = dict[str, int]
"""Hosts by kind; kinds of which there are none are left out."""
_TIE = 1e-9  # of the lowest cost, per host: of fleets that cost the same the one of fewer hosts


@dataclass(frozen=True)
class Hosts:
    """A kind of host.

    Attributes:
        carries: cameras, all its devices together.
        cost: of a host.
        limit: how many can be had; None: as many as are wanted.
    """

    carries: int
    cost: float = 1.0
    limit: int | None = None


class _Part(NamedTuple):
    """Some hosts of a kind, that are taken together or not at all."""

    kind: str
    hosts: int
    units: int
    cost: float


_Step = tuple[_Part, NDArray[np.bool_]]  # and for which needs it makes the fleet cheaper


def cheapest(kinds: Mapping[str, Hosts], cameras: int) -> Counts | None:
    """The cheapest hosts that carry `cameras` when the largest of them is lost; None where none can.

    Each kind in turn is taken as the largest: one of its hosts is the spare, and the others, none of them larger, have
    to carry all. Of fleets that cost the same the one of fewer hosts.
    """
    fleets = [_with_largest(kinds, largest, cameras) for largest in kinds]
    possible = [fleet for fleet in fleets if fleet is not None]
    return min(possible, key=lambda fleet: (cost(kinds, fleet), sum(fleet.values())), default=None)


def cost(kinds: Mapping[str, Hosts], counts: Counts) -> float:
    """What these hosts cost together."""
    return math.fsum(kinds[name].cost * count for name, count in counts.items())


def carried(kinds: Mapping[str, Hosts], counts: Counts) -> int:
    """How many cameras these hosts carry without the largest of them."""
    sizes = [kinds[name].carries for name, count in counts.items() if count]
    return sum(kinds[name].carries * count for name, count in counts.items()) - max(sizes, default=0)


def largest(kinds: Mapping[str, Hosts], counts: Counts) -> str:
    """The kind of the largest host."""
    return max(counts, key=lambda name: kinds[name].carries)


def _with_largest(kinds: Mapping[str, Hosts], largest: str, cameras: int) -> Counts | None:
    """The cheapest hosts of which one of the kind `largest` is the spare."""
    spare = kinds[largest]
    if not spare.carries:
        return None
    others = {name: kind for name, kind in kinds.items() if 0 < kind.carries <= spare.carries}
    if spare.limit is not None:
        others[largest] = replace(spare, limit=spare.limit - 1)
    counts = _covering(others, cameras)
    if counts is not None:
        counts[largest] = counts.get(largest, 0) + 1
    return counts


def _covering(kinds: Mapping[str, Hosts], cameras: int) -> Counts | None:
    """The cheapest hosts that carry `cameras`, all of them running; None where none can."""
    unit = math.gcd(*(kind.carries for kind in kinds.values()))
    need = -(-cameras // unit)
    least = np.full(need + 1, math.inf)  # the least cost of carrying so many units or more
    least[0] = 0.0
    steps = [_step(least, part) for part in _parts(kinds, unit, need)]
    if math.isinf(least[need]):
        return None
    return _taken(steps, need)


def _step(least: NDArray[np.float64], part: _Part) -> _Step:
    """Put what a group of hosts makes cheaper into `least`; for which needs it does."""
    taken = _shifted(least, part.units) + part.cost
    better = taken < least
    np.minimum(least, taken, out=least)
    return part, better


def _parts(kinds: Mapping[str, Hosts], unit: int, need: int) -> Iterator[_Part]:
    """Groups of 1, 2, 4, ... hosts of each kind, of which any number up to its limit can be put together."""
    tie = _TIE * min(kind.cost for kind in kinds.values())
    for name, kind in kinds.items():
        units = kind.carries // unit
        remaining = -(-need // units)
        if kind.limit is not None:
            remaining = min(remaining, kind.limit)
        for count in _powers(remaining):
            yield _Part(name, count, count * units, count * (kind.cost + tie))


def _powers(total: int) -> Iterator[int]:
    """1, 2, 4, ... and what remains to the total."""
    count = 1
    while total > 0:
        count = min(count, total)
        yield count
        total -= count
        count *= 2


def _shifted(least: NDArray[np.float64], units: int) -> NDArray[np.float64]:
    """The least cost of what is left to carry once `units` are carried."""
    beyond = min(units, len(least))
    return np.concatenate([np.zeros(beyond), least[: len(least) - beyond]])


def _taken(steps: list[_Step], need: int) -> Counts:
    """The hosts that the least cost consists of."""
    counts: Counts = {}
    for part, better in reversed(steps):
        if better[need]:
            counts[part.kind] = counts.get(part.kind, 0) + part.hosts
            need = max(0, need - part.units)
    return counts
