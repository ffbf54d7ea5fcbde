"""Which camera runs where: what cameras ask and what places carry, to an assignment. Pure.

A place carries so many inferences per second within its budget, and its cores decode so many pixels per second. Its
share is the part of either that its cameras ask for, whichever is larger; above 1 it is overloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Assignment = dict[str, str]
"""The place of each camera, by name, in the order in which they were placed."""
_FULL = 1.0 + 1e-9  # sums of shares are rounded
_NOTABLE = 0.2  # difference of shares from which a place that is free takes cameras of the fullest


@dataclass(frozen=True)
class Load:
    """What one camera asks of a place, per second: pictures inferred, and pixels decoded."""

    frames: float
    pixels: float = 0.0


@dataclass(frozen=True)
class Capacity:
    """What a place carries per second: pictures inferred within the budget, and pixels decoded.

    Attributes:
        curve: the age of results (p99, ms) by share of the capacity, ascending; empty where it is not known.
    """

    frames: float
    pixels: float = float("inf")
    curve: tuple[tuple[float, float], ...] = ()

    def scaled(self, factor: float) -> Capacity:
        """So many times as much."""
        return Capacity(self.frames * factor, self.pixels * factor, self.curve)

    def p99_ms(self, share: float) -> float | None:
        """How old results are (p99, ms) at a share of it, between the known ones; None beyond them, or without any."""
        if not self.curve or share > max(self.curve[-1][0], _FULL):
            return None
        shares, ages = zip(*self.curve, strict=True)
        return float(np.interp(share, shares, ages))


@dataclass(frozen=True)
class Predicted:
    """What an assignment asks of one place.

    Attributes:
        p99_ms: how old its results will be; None where that is not known, or it is overloaded.
    """

    cameras: int
    frames: float
    share: float
    p99_ms: float | None


def place(
    loads: Mapping[str, Load], capacities: Mapping[str, Capacity], current: Assignment | None = None
) -> Assignment:
    """An assignment in which no place is above its capacity while another has room for one of its cameras.

    Cameras stay where they are in `current`, but for those whose place is not among `capacities`, and for as few of an
    overloaded place as relieve it. The others go, the largest first, to the place whose share is the smallest then
    (Graham 1969: on equal places the largest share is at most 4/3 of the least possible).

    Returns an empty assignment without places.
    """
    if not capacities:
        return {}
    work = _Places(loads, capacities)
    for name, at in (current or {}).items():
        if name in loads and at in capacities:
            work.put(name, at)
    for name in work.largest_first([name for name in loads if name not in work.assignment]):
        work.put(name, work.best(name)[0])
    while any(_relieve(work, at) for at in work.overloaded()):
        pass
    return work.assignment


def balanced(loads: Mapping[str, Load], capacities: Mapping[str, Capacity], current: Assignment) -> Assignment:
    """The assignment with cameras of the fullest places moved to the emptiest, for as long as that is worth it.

    Of each place those go that came last: after a loss, these are the ones that were moved away.
    """
    work = _Places(loads, capacities)
    for name, at in current.items():
        work.put(name, at)
    while work.even_out():
        pass
    return work.assignment


def predicted(
    loads: Mapping[str, Load], capacities: Mapping[str, Capacity], assignment: Assignment
) -> dict[str, Predicted]:
    """What an assignment asks of each place, before it is made."""
    work = _Places(loads, capacities)
    for name, at in assignment.items():
        work.put(name, at)
    return {at: work.predicted(at) for at in capacities}


def moved(before: Assignment, after: Assignment) -> list[str]:
    """The cameras whose place is another one than before, or new."""
    return [name for name, at in after.items() if before.get(name) != at]


def _relieve(work: _Places, at: str) -> bool:
    """Move cameras away from an overloaded place while others have room for them; whether any was."""
    has_moved = False
    for name in work.largest_first(work.cameras_at(at), at):
        if work.share(at) <= _FULL:
            break
        other, share = work.best(name, but=at)
        if share <= _FULL:
            work.put(name, other)
            has_moved = True
    return has_moved


class _Places:
    """Places while cameras are put into them; `assignment` is where they are."""

    def __init__(self, loads: Mapping[str, Load], capacities: Mapping[str, Capacity]) -> None:
        self.assignment: Assignment = {}
        self._loads = loads
        self._capacities = capacities
        self._names = list(capacities)
        self._numbers = {name: number for number, name in enumerate(self._names)}
        self._asked = np.zeros((2, len(self._names)))
        self._carried = np.array([(capacity.frames, capacity.pixels) for capacity in capacities.values()]).T
        self._cameras: list[dict[str, None]] = [{} for _ in self._names]

    def put(self, name: str, at: str) -> None:
        """Put a camera into a place, and take it from where it is."""
        asked = self._of(name)
        before = self.assignment.pop(name, None)
        if before is not None:
            self._asked[:, self._numbers[before]] -= asked
            del self._cameras[self._numbers[before]][name]
        self._asked[:, self._numbers[at]] += asked
        self._cameras[self._numbers[at]][name] = None
        self.assignment[name] = at

    def best(self, name: str, but: str | None = None) -> tuple[str, float]:
        """The place whose share is the smallest with a camera, and that share; `but` is left out."""
        shares = ((self._asked + self._of(name)[:, None]) / self._carried).max(axis=0)
        if but is not None:
            shares[self._numbers[but]] = np.inf
        number = int(shares.argmin())
        return self._names[number], float(shares[number])

    def largest_first(self, names: Sequence[str], at: str | None = None) -> list[str]:
        """Cameras by what they ask: of one place, or of a place as good as the best in everything."""
        carried = self._carried.max(axis=1)
        if at is not None:
            carried = self._carried[:, self._numbers[at]]
        return sorted(names, key=lambda name: -float((self._of(name) / carried).max()))

    def cameras_at(self, at: str) -> list[str]:
        """The cameras of a place, in the order in which they came."""
        return list(self._cameras[self._numbers[at]])

    def share(self, at: str) -> float:
        """The share of its capacity that is asked of a place."""
        return float(self._shares()[self._numbers[at]])

    def overloaded(self) -> Iterator[str]:
        """The places that are asked for more than they carry."""
        for number in np.flatnonzero(self._shares() > _FULL):
            yield self._names[number]

    def even_out(self) -> bool:
        """Move one camera from the fullest place to the emptiest; whether that was worth it."""
        shares = self._shares()
        full = self._names[int(shares.argmax())]
        free = self._names[int(shares.argmin())]
        if shares.max() - shares.min() <= _NOTABLE:
            return False
        name = self.cameras_at(full)[-1]
        asked = self._of(name)
        after = float(((self._asked[:, self._numbers[free]] + asked) / self._carried[:, self._numbers[free]]).max())
        if after >= shares.max():
            return False
        self.put(name, free)
        return True

    def predicted(self, at: str) -> Predicted:
        """What is asked of a place."""
        share = self.share(at)
        frames = float(self._asked[0, self._numbers[at]])
        return Predicted(len(self.cameras_at(at)), frames, share, self._capacities[at].p99_ms(share))

    def _shares(self) -> NDArray[np.float64]:
        shares: NDArray[np.float64] = (self._asked / self._carried).max(axis=0)
        return shares

    def _of(self, name: str) -> NDArray[np.float64]:
        load = self._loads[name]
        return np.array([load.frames, load.pixels])
