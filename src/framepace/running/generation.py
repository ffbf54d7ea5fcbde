"""An engine at work on the feed of a run. It can be replaced by another while the feed and its sources go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.engine.packedrows import Sink
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Idle
from framepace.feeds.runstate import BatchObserver, FrameObserver, RunState, SourceObserver
from framepace.video.frame import Frame

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
        self.slowest = 0
        self.typical = 0.0

    def waits(self, now: int) -> None:
        """The calling worker waits for frames."""
        with self._lock:
            self._idle_since[threading.get_ident()] = now

    def waited(self, now: int) -> None:
        """The calling worker waits no longer."""
        with self._lock:
            self._idle += now - self._idle_since.pop(threading.get_ident(), now)

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

    def take(self, frames: Sequence[Frame], now: int) -> None:
        """Workers took frames."""
        with self._lock:
            self._since.update((frame.number, (now, frame)) for frame in frames)

    def end(self, frames: Sequence[Frame], now: int) -> list[Frame]:
        """Those of the frames that had not been given up."""
        with self._lock:
            known = [frame for frame in frames if frame.number in self._since]
            for frame in known:
                since, _ = self._since.pop(frame.number)
                self.slowest = max(self.slowest, now - since)
                self.typical += (now - since - self.typical) * _GAIN
            return known

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


class Borrowed(Feed):
    """The feed of a run as one engine has it: it stays open when the engine ends, and notes what the engine took."""

    def __init__(self, feed: Feed, state: RunState, flying: InFlight, clock: Clock) -> None:
        self._feed = feed
        self._state = state
        self._flying = flying
        self._now = clock.now

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """See Feed."""
        if self._state.stopped is not None:
            return None
        self._flying.waits(self._now())
        frames = self._feed.take(idle, wait)
        now = self._now()
        self._flying.waited(now)
        if frames:
            self._flying.take(frames, now)
        return frames


class Generation:
    """One engine, from its first frame until it is replaced or the run ends.

    Args:
        engine: loaded; it is closed when the generation ends by itself.
        frames: learns what became of the frames.
        sink: takes packed rows.
    """

    def __init__(
        self,
        engine: Engine,
        feed: Feed,
        frames: FrameObserver,
        sink: Sink,
        *,
        batches: BatchObserver | None = None,
        sources: SourceObserver | None = None,
    ) -> None:
        self.engine = engine
        self.flying = InFlight(engine.plan.engine.workers)
        self.errors: list[Exception] = []
        self.state = RunState(engine.clock)
        self.state.batches = batches
        self.state.sources = sources
        self.state.frames = self
        self._feed = Borrowed(feed, self.state, self.flying, engine.clock)
        self._frames = frames
        self._sink = sink
        self._thread: threading.Thread | None = None

    def end(self, frames: Sequence[Frame], now: int, why: str) -> None:
        """See FrameObserver; frames that were given up are not reported again."""
        known = self.flying.end(frames, now)
        if known:
            self._frames.end(known, now, why)

    def run(self) -> None:
        """Work until the feed ends or the generation is retired. Raises what ended the engine."""
        try:
            self.errors = self.engine.run("stream", lambda: self._feed, self.state, self._sink)
        finally:
            self.engine.close()

    def start(self, ended: Callable[[Generation, BaseException | None], None]) -> None:
        """Run in a thread of its own; `ended` is called in it at the end, with what ended it."""

        def work() -> None:
            error: BaseException | None = None
            try:
                self.run()
            except BaseException as raised:
                error = raised
            ended(self, error)

        self._thread = threading.Thread(target=work, name="engine", daemon=True)
        self._thread.start()

    def retire(self) -> None:
        """End after the frames in flight."""
        self.state.stop("finished")

    def abandon(self) -> list[Frame]:
        """Leave a generation behind that hangs; the frames that are lost with it."""
        self.state.stop("failed")
        frames = self.flying.give_up()
        self.engine.end_processes()
        return frames

    def join(self, seconds: float) -> bool:
        """Wait for its end; whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(seconds)
        return not self._thread.is_alive()
