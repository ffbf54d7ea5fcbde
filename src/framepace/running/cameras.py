"""The sources of a run: which there are, and how each stands. They may change while it runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from framepace.clock.system import Clock
from framepace.errors import UsageError
from framepace.facts.address import shown
from framepace.facts.running import SourceSpec, SourceState, SourceStatus
from framepace.facts.workload import MOST_CAMERAS, SYNTHETIC, Input
from framepace.feeds.cameraclock import CameraClock
from framepace.feeds.droprules import DropRule
from framepace.feeds.feed import PictureSource
from framepace.feeds.stream import StreamFeed, Timing
from framepace.running.account import Account, Emit
from framepace.running.camera import Camera, check_standard_input
from framepace.running.specs import no_such_source
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.history import Remembering

_SHOWN_NS = 60 * NS_PER_S  # a source that was removed stays in the status for so long
_KEPT_NS = 600 * NS_PER_S  # and its counts and number go on if it comes back within this time
_NOTABLE = 0.1  # change of the time that a frame takes
_GOLDEN = 0.618034  # multiples of it are spread evenly over a step, however many sources there are


class _Followed:
    """Dates the pictures of a camera, and tells it how far behind they are (see feeds.stream.Timing)."""

    def __init__(self, timing: Timing, camera: Camera) -> None:
        self._timing = timing
        self._camera = camera

    def due(self, picture: Any, now: int) -> int:
        """See Timing."""
        due = self._timing.due(picture, now)
        self._camera.follow(now, now - due)
        return due


@dataclass(frozen=True)
class Limits:
    """What holds for sources that say nothing else: frames that wait per source, and ages in ns."""

    buffer: int
    stale: int | None = None
    max_age: int | None = None
    target: int | None = None
    pictures_before: int = 0  # that models look back on
    gpu: int | None = None  # which decodes


class ArrivalTime:
    """Dates pictures that come as fast as they can be read: each is due when it is there (see feeds.stream.Timing)."""

    def due(self, picture: object, now: int) -> int:
        """See Timing."""
        return now


@dataclass(eq=False)
class _Place:
    """A source's place in the run: its number and account stay when its camera is replaced."""

    number: int
    account: Account
    camera: Camera
    removed: int | None = None  # when (ns)


class Cameras:
    """Adds, removes and changes the sources of a feed; any thread may call it.

    Args:
        accounts: filled with the account of each source, by its number in the feed.
        emit: receives the results of all sources.
    """

    def __init__(
        self, feed: StreamFeed, accounts: dict[int, Account], clock: Clock, limits: Limits, emit: Emit
    ) -> None:
        self._feed = feed
        self._accounts = accounts
        self._clock = clock
        self._limits = limits
        self._emit = emit
        self._lock = threading.RLock()
        self._places: dict[str, _Place] = {}
        self._names: list[str] = []  # by number
        self._expected = 0  # time that a frame takes from its buffer to its result (ns)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all sources there ever were, by their numbers."""
        with self._lock:
            return tuple(self._names)

    @property
    def specs(self) -> tuple[SourceSpec, ...]:
        """The sources there are."""
        with self._lock:
            return tuple(place.camera.spec for place in self._present())

    def add(self, spec: SourceSpec, first: int = 0) -> None:
        """Add a source; a new one begins with picture number `first`, a file also to be read.

        Raises UsageError where there is one of that name, or for an address that cannot be one.
        """
        with self._lock:
            place = self._places.get(spec.name)
            if place is None:
                self._add_new(spec, first)
            elif place.removed is None:
                fix = "change it, or give the new one another name"
                raise UsageError("there is a source of that name", got=spec.name, expected="a new name", fix=fix)
            else:
                self._put_back(place, self._camera(place.number, place.account, spec))

    def remove(self, name: str) -> None:
        """Remove a source: it is read no more, and frames of it that wait are dropped. Raises UsageError."""
        with self._lock:
            place = self._named(name)
            self._feed.remove(place.number)
            place.camera.close()
            place.removed = self._clock.now()

    def forget(self, name: str) -> SourceStatus | None:
        """How a source that was removed stands, the last time, and forget it; None while frames of it are on their way.

        Raises UsageError where none of that name was removed.
        """
        with self._lock:
            place = self._places.get(name)
            if place is None or place.removed is None:
                raise UsageError("no such source was removed", got=name, fix="remove it first")
            if place.account.waiting():
                return None
            self._drop(place)
            return _status(place, self._clock.now())

    def change(self, spec: SourceSpec) -> None:
        """Change a source; it is connected anew only where its address or the way of reading it changed.

        Raises UsageError where there is none, or for an address that cannot be one: then it stays as it is.
        """
        with self._lock:
            place = self._named(spec.name)
            if _is_read_alike(place.camera.spec, spec):
                self._adjust(place, spec)
            else:
                camera = self._camera(place.number, place.account, spec)  # one that cannot be leaves all as it is
                self.remove(spec.name)
                self._put_back(place, camera)

    def expect(self, ns: int) -> None:
        """Frames take so long from their buffer to their results: those that would be too old by then are not taken."""
        with self._lock:
            if abs(ns - self._expected) <= _NOTABLE * self._expected:
                return
            self._expected = ns
            for place in self._present():
                self._feed.change(place.number, self._rule(place.camera))

    def present(self) -> list[Camera]:
        """The cameras there are."""
        with self._lock:
            return [place.camera for place in self._present()]

    def statuses(self, now: int) -> tuple[SourceStatus, ...]:
        """How the sources stand; those that were removed in the last minute are among them."""
        with self._lock:
            self._forget(now)
            places = list(self._places.values())
        for place in places:
            error = self._feed.errors.get(place.number)
            if error is not None:
                place.camera.fail(error)
        return tuple(
            _status(place, now) for place in places if place.removed is None or now - place.removed < _SHOWN_NS
        )

    def pictures(self, numbers: Sequence[int]) -> Input:
        """What shows pictures like those of these sources, and can be read again: files, or synthetic."""
        with self._lock:
            cameras = [place.camera for place in self._places.values() if place.number in numbers]
        sizes = [camera.size for camera in cameras if camera.size is not None]
        videos = tuple(camera.file or SYNTHETIC for camera in cameras)[:MOST_CAMERAS]
        if not sizes:
            return Input(videos=videos)
        return Input(videos=videos, size=max(sizes))

    def close(self) -> None:
        """End the reading of all sources; each stays in its state."""
        for camera in self.present():
            camera.close()

    def is_over(self) -> bool:
        """Whether every source has ended."""
        return all(camera.state == "ended" for camera in self.present())

    def _present(self) -> Iterator[_Place]:
        return (place for place in self._places.values() if place.removed is None)

    def _named(self, name: str) -> _Place:
        place = self._places.get(name)
        if place is None or place.removed is not None:
            raise no_such_source(name, [place.camera.spec.name for place in self._present()])
        return place

    def _add_new(self, spec: SourceSpec, first: int) -> None:
        number = len(self._names)
        max_age = self._max_age(spec)
        account = Account(spec.name, self._emit, max_age=max_age, target=self._limits.target, first=first)
        camera = self._camera(number, account, spec, first)
        self._names.append(spec.name)
        self._accounts[number] = account
        self._places[spec.name] = _Place(number, account, camera)
        self._join(number, camera)

    def _camera(self, number: int, account: Account, spec: SourceSpec, first: int = 0) -> Camera:
        """What reads a source; nothing is opened yet. Raises UsageError for an address that cannot be one."""
        others = [place.camera.spec.address for place in self._present() if place.account is not account]
        check_standard_input([spec.address, *others])
        phase = number * _GOLDEN % 1
        return Camera(spec, account, self._clock, phase=phase, first=first, gpu=self._limits.gpu)

    def _forget(self, now: int) -> None:
        """Forget sources that were removed long ago, or a run to which others come for weeks would grow."""
        for place in list(self._places.values()):
            if place.removed is not None and now - place.removed > _KEPT_NS and not place.account.waiting():
                self._drop(place)

    def _drop(self, place: _Place) -> None:
        del self._places[place.account.name]
        del self._accounts[place.number]

    def _put_back(self, place: _Place, camera: Camera) -> None:
        place.account.max_age = self._max_age(camera.spec)
        place.camera = camera
        place.removed = None
        self._join(place.number, camera)

    def _adjust(self, place: _Place, spec: SourceSpec) -> None:
        place.camera.adopt(spec)
        place.account.max_age = self._max_age(spec)
        self._feed.change(place.number, self._rule(place.camera))

    def _join(self, number: int, camera: Camera) -> None:
        timing: Timing = CameraClock(partial(getattr, camera, "reconnections"))
        if not camera.knows_its_times:
            timing = _Followed(timing, camera)
        if camera.sets_no_pace:
            timing = ArrivalTime()
        source: PictureSource = camera
        if self._limits.pictures_before:
            source = Remembering(camera, self._limits.pictures_before)
        self._feed.add(source, number=number, rule=self._rule(camera), timing=timing)

    def _rule(self, camera: Camera) -> DropRule:
        """A source that sets the pace never waits; one that is read as fast as possible always does."""
        if camera.sets_no_pace:
            return DropRule(self._limits.buffer, waits=True)
        ages = [] if self._limits.stale is None else [self._limits.stale]
        max_age = self._max_age(camera.spec)
        if max_age is not None:
            ages.append(max(0, max_age - self._expected))
        return DropRule(self._limits.buffer, waits=False, age=min(ages, default=None))

    def _max_age(self, spec: SourceSpec) -> int | None:
        if spec.max_age_ms is None:
            return self._limits.max_age
        return round(spec.max_age_ms * NS_PER_MS)


def _is_read_alike(one: SourceSpec, other: SourceSpec) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in ("address", "pace", "loop", "transport"))


def _status(place: _Place, now: int) -> SourceStatus:
    account = place.account
    camera = place.camera
    median, p99 = account.ages.quantiles_ms(now, 0.5, 0.99)
    state: SourceState = camera.state
    if place.removed is not None:
        state = "removed"
    return SourceStatus(
        name=account.name,
        address=shown(camera.spec.address),
        state=state,
        **asdict(account.counts()),
        reconnections=camera.reconnections,
        fps_in=account.arrivals.per_second(now),
        fps_out=account.deliveries.per_second(now),
        age_ms=median,
        p99_ms=p99,
        size=camera.size,
        every=camera.every,
        note=camera.note,
        ages=account.ages.counted(),
    )
