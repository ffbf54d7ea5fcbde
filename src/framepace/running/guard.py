"""Overload of a run: what was lost in the last second becomes measures, and these what its cameras and engine do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

from framepace.engine.engine import Engine
from framepace.errors import one_line
from framepace.facts.plan import Plan
from framepace.facts.trace import DropCause
from framepace.running.account import Account
from framepace.running.camera import Camera
from framepace.running.cameras import Cameras
from framepace.running.defence import Allowed, Defence, Load, Measures, ladder, sentences
from framepace.running.generation import InFlight
from framepace.running.options import Options
from framepace.units import NS_PER_S

_EVERY_NS = NS_PER_S
_FOR_WANT_OF_TIME = tuple(
    DropCause.NAMES[cause] for cause in (DropCause.BUFFER_FULL, DropCause.STALE, DropCause.TOO_OLD, DropCause.BEHIND)
)


class Replaceable(Protocol):
    """Keeps an engine at work (see running.supervisor.Supervisor)."""

    plan: Plan | None

    @property
    def flying(self) -> InFlight | None:
        """See Supervisor."""

    def replace(self, engine: Engine) -> None:
        """See Supervisor."""


class Guard:
    """Looks at a run once per second, and takes the measures that it may take.

    Args:
        plan: what runs when all is well.
        options: what may be done: `skip`, `smaller`, `fewer`.
        load: loads a plan; what it raises is told.
        note: takes a sentence about what happened.

    Attributes:
        degraded: a sentence per measure in force.
    """

    def __init__(
        self,
        plan: Plan,
        cameras: Cameras,
        accounts: Mapping[int, Account],
        engines: Replaceable,
        options: Options,
        load: Callable[[Plan], Engine],
        note: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._cameras = cameras
        self._accounts = accounts
        self._engines = engines
        self._skip = options.skip
        self._smaller = options.smaller
        self._fewer = options.fewer
        self._load = load
        self._note = note
        self._defence = Defence()
        self._seen = (0, 0, 0)
        self._next: int | None = None
        self._runs_smaller = False
        self._loading: threading.Thread | None = None
        self._loaded: Engine | None = None
        self.degraded: tuple[str, ...] = ()

    @property
    def runs_smaller(self) -> bool:
        """Whether the smaller plan runs, or is loaded."""
        return self._runs_smaller

    def look(self, now: int) -> None:
        """What is done at `now` (ns); called by one thread, more often than once per second."""
        if self._next is not None and now < self._next:
            return
        is_first = self._next is None
        self._next = now + _EVERY_NS
        load = self._load_since(now)
        if is_first or self._loading is not None:
            self._put_to_work()
            return
        cameras = self._cameras.present()
        allowed = self._allowed(cameras)
        measures = self._defence.look(load, ladder(allowed))
        paused = _thin(cameras, measures)
        self._choose_plan(measures.smaller)
        self.degraded = sentences(measures, allowed, paused)

    def _allowed(self, cameras: list[Camera]) -> Allowed:
        adaptive = sum(camera.spec.every == "adaptive" for camera in cameras)
        return Allowed(
            adaptive=adaptive,
            others=len(cameras) - adaptive,
            skip=self._skip,
            smaller=self._smaller is not None,
            fewer=self._fewer,
        )

    def _load_since(self, now: int) -> Load:
        """What happened since the last call."""
        before = self._seen
        self._seen = self._counts()
        delivered, late, lost = (now - then for now, then in zip(self._seen, before, strict=True))
        flying = self._engines.flying
        busy = 1.0
        if flying is not None:
            busy = flying.busy(now)
            self._cameras.expect(round(flying.typical))
        return Load(delivered=delivered, lost=lost, late=late, busy=busy)

    def _counts(self) -> tuple[int, int, int]:
        """Delivered, late, and lost for want of time so far."""
        counts = [account.counts() for account in list(self._accounts.values())]
        delivered = sum(count.delivered for count in counts)
        late = sum(count.late for count in counts)
        lost = sum(count.dropped.get(cause, 0) for count in counts for cause in _FOR_WANT_OF_TIME)
        return delivered, late, lost

    def _choose_plan(self, smaller: bool) -> None:
        """Load the plan that is to run, unless it runs; beside the one that does, in a thread of its own."""
        if smaller == self._runs_smaller:
            return
        if smaller:
            self._plan = self._engines.plan or self._plan  # a canary may have taken its place
        plan = self._smaller if smaller and self._smaller is not None else self._plan
        self._runs_smaller = smaller
        self._loading = threading.Thread(target=self._load_beside, args=(plan,), name="loading", daemon=True)
        self._loading.start()

    def _load_beside(self, plan: Plan) -> None:
        try:
            self._loaded = self._load(plan)
        except Exception as error:  # a library may raise anything, and the run goes on
            self._note(f"the other plan could not be loaded: {one_line(error)}")
            self._runs_smaller = not self._runs_smaller
            if plan is self._smaller:
                self._smaller = None  # it is not tried again

    def _put_to_work(self) -> None:
        """Replace the engine by one that was loaded meanwhile."""
        if self._loading is None or self._loading.is_alive():
            return
        self._loading = None
        if self._loaded is not None:
            self._engines.replace(self._loaded)
            self._loaded = None


def _thin(cameras: list[Camera], measures: Measures) -> tuple[str, ...]:
    """Take the share of each camera's pictures that is in force; the names of those that are paused."""
    by_priority = sorted(cameras, key=lambda camera: camera.spec.priority)
    paused = by_priority[: measures.paused]
    for camera in by_priority[measures.paused :]:
        if camera.spec.every == "adaptive":
            camera.set_every(1 / measures.adaptive)
        else:
            camera.set_every(camera.spec.every / measures.fixed)
    for camera in paused:
        camera.pause()
    return tuple(camera.spec.name for camera in paused)
