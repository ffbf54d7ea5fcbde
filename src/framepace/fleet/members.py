"""The engines of a run: which there are, what each carries, how it stands, and when one that was lost starts again."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from framepace.errors import FramepaceError, HostLost, one_line
from framepace.facts.place import Place
from framepace.facts.running import DeviceStatus, EngineState, EngineStatus, RunStatus, SourceStatus
from framepace.facts.trace import DropCause, Stopped
from framepace.fleet.link import Link
from framepace.fleet.messages import Stop
from framepace.fleet.places import described
from framepace.fleet.placing import Capacity, Predicted
from framepace.fleet.rebalancing import Heat, Seen

_NOTHING = Predicted(cameras=0, frames=0.0, share=0.0, p99_ms=None)
_LONGEST_PAUSE_S = 30.0
_CALM_S = 60.0  # at work, after which the losses before are forgotten
_FOR_WANT_OF_TIME = tuple(
    DropCause.NAMES[cause] for cause in (DropCause.BUFFER_FULL, DropCause.STALE, DropCause.TOO_OLD, DropCause.BEHIND)
)


@dataclass(eq=False)
class Member:
    """One place, and the engine that is there, if any.

    Attributes:
        link: of the engine; None while there is none.
        capacity: None until it is known.
        status: what the engine said last.
        predicted: what the last placement asked of it.
        live_since: when it began to take orders (s); None before.
        start_at: when it is started again (s).
    """

    place: Place
    heat: Heat
    state: EngineState = "starting"
    link: Link | None = None
    capacity: Capacity | None = None
    status: RunStatus | None = None
    predicted: Predicted | None = None
    starts: int = 0
    live_since: float | None = None
    start_at: float | None = None
    losses: int = 0  # in a row
    note: str = ""
    counted: tuple[int, int] = (0, 0)  # pictures taken, and lost for want of time, at the last look

    @property
    def is_live(self) -> bool:
        """Whether it takes orders."""
        return self.state == "live"

    def usable(self) -> Capacity:
        """What it carries, as far as it was seen to."""
        assert self.capacity is not None
        return self.capacity.scaled(self.heat.factor)

    def look(self, now: float) -> bool:
        """Judge the last second; whether it is hot, and carries less than it was taken to."""
        if not self.is_live or self.status is None or self.predicted is None:
            return False
        share = self.predicted.share * self.heat.factor
        return self.heat.look(now, share, self._seen(self.status.sources))

    def settle(self, now: float, predicted: Predicted) -> None:
        """A placement asks something of it."""
        if self.predicted is None or predicted.cameras != self.predicted.cameras:
            self.heat.settle(now)
        self.predicted = predicted

    def begin(self, now: float, capacity: Capacity) -> None:
        """It takes orders from now on."""
        self.state = "live"
        self.capacity = capacity
        self.live_since = now
        self.note = ""
        self.heat.settle(now)

    def stop(self, stopped: Stopped) -> None:
        """The run ends: an engine at work ends in order, one that starts at once."""
        self.start_at = None
        if self.link is None:
            return
        if self.is_live:
            self.link.order(Stop(stopped))
        else:
            self.link.kill()

    def end(self) -> None:
        """Its engine ended with the run."""
        self.link = None
        self.state = "ended"
        self.start_at = None

    def lose(self, now: float, error: FramepaceError | None) -> None:
        """Its engine ended: it is started again, later each time in a row.

        Not where it never took orders, or its host has left.
        """
        self.link = None
        self.status = None
        self.predicted = None
        self.counted = (0, 0)
        self.note = "" if error is None else one_line(error)
        self.state = "refused"
        if self.live_since is not None:
            self.state = "lost"
            self.losses = 1 if now - self.live_since > _CALM_S else self.losses + 1
            self.start_at = None if isinstance(error, HostLost) else now + pause_s(self.losses)

    def shown(self) -> EngineStatus:
        """How it stands."""
        asked = self.predicted or _NOTHING
        sources = () if self.status is None else self.status.sources
        return EngineStatus(
            name=self.place.name,
            place=described(self.place),
            state=self.state,
            sources=asked.cameras,
            frames=sum(source.fps_out or 0.0 for source in sources) if sources else None,
            capacity=None if self.capacity is None else self.usable().frames,
            share=asked.share,
            predicted_ms=asked.p99_ms,
            p99_ms=_typical(source.p99_ms for source in sources),
            starts=self.starts,
            note=self.note,
        )

    def _seen(self, sources: Iterable[SourceStatus]) -> Seen:
        """What happened since the last look."""
        sources = tuple(sources)
        before = self.counted
        taken = sum(source.taken for source in sources)
        lost = sum(source.dropped.get(cause, 0) for source in sources for cause in _FOR_WANT_OF_TIME)
        self.counted = (taken, lost)
        lost_now = max(0, lost - before[1])
        return Seen(_typical(source.p99_ms for source in sources), lost_now / max(1, taken - before[0], lost_now))


class Members:
    """All engines of a run, by the name of their place. Not thread-safe.

    Args:
        make: makes the link of an engine at a place, not yet started.

    Attributes:
        allowed: the names of those that may have sources; None: all.
    """

    def __init__(
        self, places: Iterable[Place], make: Callable[[Place], Link], target_ms: float | None, now: float
    ) -> None:
        self._make = make
        self._target_ms = target_ms
        self.allowed: frozenset[str] | None = None
        self.by_name = {place.name: Member(place, Heat(now, target_ms)) for place in places}

    def start(self, member: Member) -> None:
        """Start an engine at a place."""
        member.starts += 1
        member.start_at = None
        member.state = "starting"
        member.link = self._make(member.place)
        member.link.start()

    def start_due(self, now: float) -> None:
        """Start those again whose time has come."""
        for member in self.by_name.values():
            if member.start_at is not None and now >= member.start_at:
                self.start(member)

    @property
    def live(self) -> dict[str, Member]:
        """Those that take orders."""
        return {name: member for name, member in self.by_name.items() if member.is_live}

    @property
    def may_come(self) -> bool:
        """Whether one is starting, or will be started."""
        return any(member.state == "starting" or member.start_at is not None for member in self.by_name.values())

    def capacities(self) -> dict[str, Capacity]:
        """What those carry that take orders, and may have sources."""
        return {
            name: member.usable() for name, member in self.live.items() if self.allowed is None or name in self.allowed
        }

    def devices(self) -> tuple[DeviceStatus, ...]:
        """What all devices do, each with its place."""
        return tuple(
            replace(device, name=f"{name}: {device.name}") for name, status in self._said() for device in status.devices
        )

    def degraded(self) -> tuple[str, ...]:
        """The measures against overload that are in force, each with its place."""
        return tuple(f"{name}: {text}" for name, status in self._said() for text in status.degraded)

    def notes(self) -> tuple[str, ...]:
        """The notes of all engines, each with its place."""
        return tuple(f"{name}: {text}" for name, status in self._said() for text in status.notes)

    def _said(self) -> Iterator[tuple[str, RunStatus]]:
        for name, member in self.by_name.items():
            if member.status is not None:
                yield name, member.status

    def settle(self, now: float, predicted: Mapping[str, Predicted]) -> None:
        """A placement was made."""
        for name, member in self.by_name.items():
            member.settle(now, predicted.get(name, _NOTHING))


def pause_s(losses: int) -> float:
    """How long to wait before the next start after so many losses in a row: 1, 2, 4, ... 30 s.

    Not at once: sources that go elsewhere come first, and a process that starts takes their cores for seconds.
    """
    return float(min(_LONGEST_PAUSE_S, 1 << min(losses - 1, 6)))


def _typical(values: Iterable[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.median(numbers) if numbers else None
