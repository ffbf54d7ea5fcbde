"""What is done about overload, and when it is taken back. Pure: numbers in, measures out.

Measures form a ladder, from none to all that the run may take; each rung leaves less work. While frames are lost or
results are late it goes down, as far as the numbers say; when it has been calm for a while, it goes up again by one.
A rung that turned out to be too high is left alone for longer each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

_LOST = 0.01  # share of the frames that may get lost before it counts as overload
_HURRY = 0.95  # of the work that just fits
_CALM_LOOKS = 5
_BUSY = 0.85  # share of the workers' time that is kept
_STEP = 0.8  # from one share of pictures to the next
_LEAST_ADAPTIVE = 1 / 30  # of the pictures of a source that says 'adaptive'
_LEAST_FIXED = 1 / 8  # of any other's
_SMALLER_WORK = 0.5  # what a smaller plan is taken to need of the work, before anything is known
_LONGEST_WAIT = 300  # looks


@dataclass(frozen=True)
class Load:
    """One second of a run.

    Attributes:
        delivered: results.
        lost: frames that were dropped because there was no time for them.
        late: results that were later than the target.
        busy: share of the workers' time in which they worked, 0 to 1.
    """

    delivered: float
    lost: float
    late: float
    busy: float


@dataclass(frozen=True)
class Measures:
    """What is in force.

    Attributes:
        adaptive: share of the pictures that is inferred of sources that say so.
        fixed: the same of the others, of those that they ask for.
        smaller: the smaller plan runs.
        paused: how many sources are paused, those of the lowest priority.
    """

    adaptive: float = 1.0
    fixed: float = 1.0
    smaller: bool = False
    paused: int = 0


@dataclass(frozen=True)
class Allowed:
    """What a run may do, and to how many sources."""

    adaptive: int = 0  # sources
    others: int = 0
    skip: bool = False
    smaller: bool = False
    fewer: bool = False


@dataclass(frozen=True)
class Rung:
    """Measures, and what is left of the work with them (1: all)."""

    measures: Measures
    work: float


def ladder(allowed: Allowed) -> tuple[Rung, ...]:
    """All measures in the order in which they are taken."""
    return tuple(Rung(measures, _work(measures, allowed)) for measures in _steps(allowed))


def _steps(allowed: Allowed) -> list[Measures]:
    steps = [Measures()]
    if allowed.adaptive:
        steps += [replace(steps[-1], adaptive=share) for share in _shares(_LEAST_ADAPTIVE)]
    if allowed.skip and allowed.others:
        steps += [replace(steps[-1], fixed=share) for share in _shares(_LEAST_FIXED)]
    if allowed.smaller:
        steps.append(replace(steps[-1], smaller=True))
    if allowed.fewer:
        last = steps[-1]
        steps += [replace(last, paused=count) for count in range(1, allowed.adaptive + allowed.others)]
    return steps


def _shares(least: float) -> list[float]:
    shares = [_STEP]
    while shares[-1] * _STEP > least:
        shares.append(shares[-1] * _STEP)
    return [*shares, least]


def _work(measures: Measures, allowed: Allowed) -> float:
    sources = max(1, allowed.adaptive + allowed.others)
    work = (allowed.adaptive * measures.adaptive + allowed.others * measures.fixed) / sources
    if measures.smaller:
        work *= _SMALLER_WORK
    return work * (1 - measures.paused / sources)


class Defence:
    """Climbs the ladder. `look` is called once per second."""

    def __init__(self) -> None:
        self._place = 0
        self._calm = 0
        self._looks = 0
        self._tried: int | None = None  # when it went up the last time
        self._wait = _CALM_LOOKS  # calm looks before it goes up

    def look(self, load: Load, rungs: Sequence[Rung]) -> Measures:
        """The measures that are in force from now on."""
        self._looks += 1
        self._place = min(self._place, len(rungs) - 1)
        if _is_overload(load):
            self._go_down(load, rungs)
        else:
            self._go_up(load, rungs)
        return rungs[self._place].measures

    def _go_down(self, load: Load, rungs: Sequence[Rung]) -> None:
        self._calm = 0
        if self._tried is not None and self._looks - self._tried <= _CALM_LOOKS:
            self._wait = min(_LONGEST_WAIT, 2 * self._wait)
        self._tried = None
        fits = rungs[self._place].work * _HURRY * load.delivered / max(1e-9, load.delivered + load.lost)
        below = [place for place in range(self._place + 1, len(rungs)) if rungs[place].work <= fits]
        self._place = min([*below, len(rungs) - 1])

    def _go_up(self, load: Load, rungs: Sequence[Rung]) -> None:
        self._calm += 1
        if self._tried is not None and self._looks - self._tried > 4 * _CALM_LOOKS:
            self._wait = _CALM_LOOKS  # it holds
            self._tried = None
        if not self._place or self._calm < self._wait:
            return
        above = rungs[self._place - 1].work / rungs[self._place].work
        if load.busy * above <= _BUSY:
            self._place -= 1
            self._calm = 0
            self._tried = self._looks


def _is_overload(load: Load) -> bool:
    """Whether frames get lost, or most results are late because the workers are never free: less work helps then."""
    frames = load.delivered + load.lost
    is_late = load.late > 0.5 * load.delivered and load.busy > _BUSY
    return is_late or load.lost > _LOST * frames


def sentences(measures: Measures, allowed: Allowed, paused: Sequence[str] = ()) -> tuple[str, ...]:
    """What is in force, for people; what sources ask for themselves ('adaptive') is nothing to tell."""
    told = []
    if measures.fixed < 1:
        told.append(f"overload: one picture of {1 / measures.fixed:.3g} of each source is inferred")
    if measures.smaller:
        told.append("overload: the smaller plan runs")
    if paused:
        told.append(f"overload: paused, by priority: {', '.join(paused)}")
    return tuple(told)
