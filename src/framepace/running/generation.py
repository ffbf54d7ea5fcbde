"""An engine at work on the feed of a run. It can be replaced by another while the feed and its sources go on."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.engine.packedrows import Sink
from framepace.errors import one_line
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Idle
from framepace.feeds.runstate import FrameObserver, RunState
from framepace.units import NS_PER_MS
from framepace.video.frame import Frame

_TIMES_KEPT = 4096
_LOOK_NS = 5 * NS_PER_MS  # how often a worker that gets a share of the frames looks whether it may take one
_GAIN = 1 / 16  # share of a new time in the running mean of them


class InFlight:
    """Which frames are with the workers of one engine, since when, and how busy they are. Any thread may ask.

    Attributes:
        slowest: the longest that a frame was there (ns).
        typical: the running mean of that time (ns).
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._since: dict[int, tuple[int, Frame]] = {}
        self._idle = 0  # time that workers waited for frames (ns)
        self._idle_since: dict[int, int] = {}  # by the thread of the worker that waits
        self._asked: tuple[int, int] | None = None  # when, and the idle time by then
        self._times: deque[int] = deque(maxlen=_TIMES_KEPT)
        self.slowest = 0
        self.typical = 0.0

    def waits(self, now: int) -> None:
        """The calling worker waits for frames."""
        with self._lock:
            self._idle_since[threading.get_ident()] = now

    def waited(self, frames: Sequence[Frame], now: int) -> None:
        """The calling worker waits no longer, and has taken these frames."""
        with self._lock:
            self._idle += now - self._idle_since.pop(threading.get_ident(), now)
            for frame in frames:
                self._since[frame.number] = (now, frame)

    def busy(self, now: int) -> float:
        """The share of their time in which the workers worked since this was asked the last time."""
        with self._lock:
            idle = self._idle + sum(now - since for since in self._idle_since.values())
            before = self._asked or (now, idle)
            self._asked = (now, idle)
        passed = (now - before[0]) * self._workers
        if passed <= 0:
            return 1.0
        return min(1.0, max(0.0, 1 - (idle - before[1]) / passed))

    def end(self, frames: Sequence[Frame], now: int) -> list[Frame]:
        """Those of the frames that had not been given up."""
        with self._lock:
            kept = []
            for frame in frames:
                entry = self._since.pop(frame.number, None)
                if entry is not None:
                    kept.append(frame)
                    self._note(now - entry[0])
            return kept

    def _note(self, took: int) -> None:
        """A frame was there for so long (ns)."""
        self.slowest = max(self.slowest, took)
        self.typical += (took - self.typical) * _GAIN
        self._times.append(took)

    def drain(self) -> list[int]:
        """How long the last frames were there (ns), since this was asked the last time."""
        with self._lock:
            times = list(self._times)
            self._times.clear()
            return times

    def longest(self, now: int) -> int:
        """For how long the oldest has been there (ns)."""
        with self._lock:
            return max((now - since for since, _ in self._since.values()), default=0)

    def give_up(self) -> list[Frame]:
        """Forget all frames; what they were."""
        with self._lock:
            frames = [frame for _, frame in self._since.values()]
            self._since.clear()
            return frames


class Taken:
    """How many frames all engines of a run took together; `state` is that of the run."""

    def __init__(self, state: RunState) -> None:
        self.state = state
        self.count = 0


class Borrowed(Feed):
    """The feed of a run as one engine has it: it stays open when the engine ends, and notes what the engine took.

    Attributes:
        share: of all frames that it may take; None: whatever it can.
    """

    def __init__(
        self, feed: Feed, state: RunState, flying: InFlight, clock: Clock, taken: Taken, share: float | None
    ) -> None:
        self.share = share
        self._feed = feed
        self._state = state
        self._flying = flying
        self._clock = clock
        self._now = clock.now
        self._taken = taken
        self._own = 0
        self._all_before = taken.count

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed."""
        if self._state.stopped is not None:
            return None
        if self.share is not None and not self._may_take(wait):
            return self._nothing()
        self._flying.waits(self._now())
        frames = self._feed.take(idle, wait)
        self._flying.waited(frames or (), self._now())
        if frames:
            self._own += len(frames)
            self._taken.count += len(frames)
        return frames

    def _nothing(self) -> list[Frame] | None:
        """No frame now, or never again."""
        if self._state.stopped is None:
            return []
        return None

    def _may_take(self, wait: bool) -> bool:
        """Whether the next frame is within its share, waiting for that; at the end of the run every frame is."""
        while self.share is not None and self._own > self.share * (self._taken.count - self._all_before):
            if self._taken.state.stopped is not None:
                return True
            if not wait or self._state.stopped is not None:
                return False
            self._clock.sleep_until(self._now() + _LOOK_NS)
        return True


@dataclass(frozen=True)
class Work:
    """What all engines of a run share: the feed, and who learns what became of frames, batches and rows.

    Attributes:
        frames: learns what became of the frames.
        sink: takes packed rows.
        taken: counts the frames of all engines.
    """

    feed: Feed
    frames: FrameObserver
    sink: Sink
    taken: Taken

    def state(self, clock: Clock, frames: FrameObserver) -> RunState:
        """The state of one engine's run: its batches and sources are followed like those of any other."""
        state = RunState(clock)
        state.batches = self.taken.state.batches
        state.sources = self.taken.state.sources
        state.frames = frames
        return state


class Generation:
    """One engine, from its first frame until it is replaced or the run ends.

    Args:
        engine: loaded; it is closed when the generation ends by itself.
        share: of the frames that it gets; None: whatever it can take.
    """

    def __init__(self, engine: Engine, work: Work, share: float | None = None) -> None:
        self.engine = engine
        self.flying = InFlight(engine.plan.engine.workers)
        self.errors: list[Exception] = []
        self.failure: BaseException | None = None
        self.state = work.state(engine.clock, self)
        self._work = work
        self._feed = Borrowed(work.feed, self.state, self.flying, engine.clock, work.taken, share)
        self._thread: threading.Thread | None = None
        self._failures = 0

    @property
    def is_over(self) -> bool:
        """Whether it works no more: its thread is over, or it was told to end, or left behind."""
        return self.state.stopped is not None or (self._thread is not None and not self._thread.is_alive())

    @property
    def why_it_ended(self) -> str:
        """A sentence."""
        error = self.failure or next(iter(self.errors), None)
        if error is not None:
            return f"it ended: {one_line(error)}"
        if self._thread is not None and self._thread.is_alive():
            return "it did not return"
        return "it ended"

    def drain_failures(self) -> int:
        """How many frames failed since this was asked the last time."""
        failures = self._failures
        self._failures = 0
        return failures

    def take_all(self) -> None:
        """It may take whatever it can from now on."""
        self._feed.share = None

    def end(self, frames: Sequence[Frame], now: int, why: str) -> None:
        """See FrameObserver; frames that were given up are not reported again."""
        known = self.flying.end(frames, now)
        if why:
            self._failures += len(known)
        if known:
            self._work.frames.end(known, now, why)

    def run(self) -> None:
        """Work until the feed ends or the generation is retired. Raises what ended the engine."""
        try:
            self.errors = self.engine.run("stream", lambda: self._feed, self.state, self._work.sink)
        finally:
            self.engine.close()

    def start(self, ended: Callable[[Generation, BaseException | None], None]) -> None:
        """Run in a thread of its own; `ended` is called in it at the end, with what ended it."""

        def work() -> None:
            try:
                self.run()
            except BaseException as raised:
                self.failure = raised
            ended(self, self.failure)

        self._thread = threading.Thread(target=work, name="engine", daemon=True)
        self._thread.start()

    def retire(self) -> None:
        """End after the frames in flight."""
        self.state.stop("finished")

    def abandon(self) -> list[Frame]:
        """Leave a generation behind that hangs; the frames that are lost with it."""
        self.state.stop("failed")
        self.state.sources = None  # if it comes back, others have gone on with its sources
        self.state.batches = None
        frames = self.flying.give_up()
        self.engine.end_processes()
        return frames

    def join(self, seconds: float) -> bool:
        """Wait for its end; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()
