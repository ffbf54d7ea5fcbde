"""A sink behind its bounded queue, on a thread of its own: whatever it does, no camera waits for it.

Two kinds of failure: results that a sink refused for good are counted and told, and the next follow at once; a sink
that is unavailable is closed and opened again, later and later, while its results wait and then drop by policy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from framepace.clock.system import Clock
from framepace.errors import FramepaceError, SinkError, SinkUnavailable
from framepace.facts.running import Result, SinkStatus
from framepace.sinks.base import ResultSink
from framepace.sinks.bounded import BoundedQueue, DropPolicy
from framepace.units import NS_PER_S
from framepace.values import shown

HANGS_S = 5.0  # a call that lasts so long is told
LONGEST_PAUSE_S = 60.0  # between two attempts
CLOSING_S = 5.0  # for what waits at the end


class QueuedSink:
    """A sink that never blocks: `put` from any thread, `status` at any time.

    Args:
        clock: time and locks; its own thread takes part in a virtual clock's time.
        capacity: how many results may wait; None: what suits the sink.
        drop: what goes when the queue is full.
    """

    def __init__(
        self, sink: ResultSink, clock: Clock, capacity: int | None = None, drop: DropPolicy = "oldest"
    ) -> None:
        self._sink = sink
        self._clock = clock
        self._queue: BoundedQueue[Result] = BoundedQueue(capacity or sink.capacity, drop)
        self._changed = clock.condition()
        self._thread: threading.Thread | None = None
        self._tried = threading.Event()
        self._refusal: SinkError | None = None  # of the first attempt to open it
        self._is_open = False
        self._closing = False
        self._failures = 0  # attempts in a row
        self._call: tuple[str, int] | None = None  # what the thread waits for, and since when
        self._problems: dict[str, str] = {}  # what is in the way of opening, of writing, of closing
        self._last_loss = ""

    @property
    def name(self) -> str:
        """The sink's name, without secrets."""
        return self._sink.name

    @property
    def wants_pictures(self) -> bool:
        """Whether it needs results with their pictures."""
        return self._sink.wants_pictures

    def start(self, limit_s: float = HANGS_S) -> None:
        """Open the sink on its thread; one that takes longer than `limit_s`, or is unavailable, is tried on.

        Raises SinkError where the sink can never be opened.
        """
        place = self._clock.reserve(1)[0]
        self._thread = threading.Thread(target=self._work, args=(place,), name=f"sink {self.name}", daemon=True)
        self._thread.start()
        if not self._clock.virtual:
            self._tried.wait(limit_s)
        if self._refusal is not None:
            self.close()
            raise self._refusal

    def put(self, result: Result) -> None:
        """Queue a result, in a few microseconds; its picture is kept where the sink wants pictures."""
        if result.picture is not None and not self._sink.wants_pictures:
            result = replace(result, picture=None)
        with self._changed:
            self._queue.put(result)
            if len(self._queue) in (1, self._sink.batch):
                self._changed.notify_all()

    def status(self) -> SinkStatus:
        """How it stands now."""
        with self._changed:
            return SinkStatus(
                name=self.name,
                written=self._queue.written,
                dropped=self._queue.dropped,
                failed=self._queue.lost,
                waiting=self._queue.waiting,
                note=self._sentence(),
            )

    def close(self, limit_s: float = CLOSING_S) -> SinkStatus:
        """Write what waits, for `limit_s` at most, close the sink, and say how it ended. Idempotent.

        What is not written by then is counted as dropped; what a sink that hangs was given, as failed.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(limit_s)
        with self._changed:
            self._give_up()
        return self.status()

    def _give_up(self) -> None:
        """Count what waits as dropped, and what a call has not returned from as failed."""
        call = self._call
        if call is not None and self._queue.waiting > len(self._queue):
            self._last_loss = f"hung in {call[0]} at the end; {self._queue.waiting - len(self._queue)} given up"
        self._queue.end()

    def step(self) -> bool:
        """One attempt to open the sink, or one batch written or refused; whether there is more to do.

        The thread's loop. Called by tests in its place, in virtual time.
        """
        is_last = self._closing  # what fails after the end is not tried again
        if not self._is_open:
            return self._open() or self._pause(is_last)
        if not self._await_batch():
            return False
        return self._write() or self._pause(is_last)

    def _work(self, place: AbstractContextManager[None]) -> None:
        with place:
            while self.step():
                pass
            error = self._called("being closed", self._sink.close)
        if error is not None:
            with self._changed:
                self._problems["closed"] = f"{sentence(error, self.name)}; not closed"

    def _open(self) -> bool:
        error = self._called("being opened", self._sink.open)
        self._is_open = error is None
        if error is not None:
            self._called("being closed", self._sink.close)  # what it holds half-open would stay for ever
        self._note(error, "opened")
        if error is not None and not isinstance(error, SinkUnavailable) and not self._tried.is_set():
            self._refusal = self._as_refusal(error)
        self._tried.set()
        return self._is_open

    def _await_batch(self) -> bool:
        """Wait until there is something to write, and others have had time to join it; False at the end."""
        with self._changed:
            while not len(self._queue) and not self._closing:
                self._changed.wait()
            self._wait(self._sink.linger_s, lambda: self._closing or len(self._queue) >= self._sink.batch)
            return bool(len(self._queue))

    def _wait(self, seconds: float, until: Callable[[], bool]) -> None:
        """Wait for so long, or until something holds; the lock is held before and after."""
        due = self._clock.now() + round(seconds * NS_PER_S)
        while not until():
            remaining = due - self._clock.now()
            if remaining <= 0:
                return
            self._changed.wait(remaining / NS_PER_S)

    def _write(self) -> bool:
        """Write a batch; False where the sink is unavailable, and was closed."""
        with self._changed:
            batch = self._queue.take(self._sink.batch)
        error = self._called("writing", lambda: self._sink.write(batch))
        if isinstance(error, SinkUnavailable):
            self._answer(self._queue.give_back)
            self._note(error, "written")
            self._called("being closed", self._sink.close)
            self._is_open = False
            return False
        if error is not None:
            self._answer(self._queue.failed)
            self._last_loss = f"{sentence(error, self.name)}; {len(batch)} not written"
            return True
        self._answer(self._queue.wrote)
        self._note(None, "written")
        self._failures = 0  # only now: a server that takes a connection need not take results
        return True

    def _answer(self, of_batch: Callable[[], None]) -> None:
        """Count the batch that was taken as one thing or another."""
        with self._changed:
            of_batch()

    def _pause(self, is_last: bool) -> bool:
        """Wait before the next attempt, longer each time; False where there is none."""
        if is_last:
            return False
        with self._changed:
            self._wait(pause_s(self._failures), lambda: self._closing)
            return True

    def _called(self, doing: str, call: Callable[[], None]) -> Exception | None:
        """Call the sink, noting since when; what it raised."""
        self._call = (doing, self._clock.now())
        try:
            call()
        except Exception as error:  # a sink may be anybody's code
            return error
        finally:
            self._call = None
        return None

    def _note(self, error: Exception | None, step: str) -> None:
        """Keep what is in the way of a step; nothing where there was no error."""
        with self._changed:
            self._problems.pop(step, None)
            if error is not None:
                self._failures += 1
                self._problems[step] = f"{sentence(error, self.name)}; not {step}, attempt {self._failures} failed"

    def _sentence(self) -> str:
        """What there is to say of it: what it waits for, what is in its way, or its last loss."""
        call = self._call
        if call is not None:
            seconds = (self._clock.now() - call[1]) / NS_PER_S
            if seconds >= HANGS_S:
                return f"hangs: {call[0]} for {seconds:.0f} s"
        return next(iter(self._problems.values()), self._last_loss)

    def _as_refusal(self, error: Exception) -> SinkError:
        if isinstance(error, SinkError):
            return error
        problem = f"the sink {self.name} cannot be opened"
        return SinkError(problem, got=sentence(error), fix="correct it, or leave this sink out")


def pause_s(failures: int) -> float:
    """How long to wait after so many attempts in a row that failed: 1 s, twice as long each time, at most 60 s."""
    return float(min(LONGEST_PAUSE_S, 1 << min(max(0, failures - 1), 6)))


def sentence(error: Exception, name: str = "") -> str:
    """What an error says, on one line and without secrets: the reason first, without the sink's `name` before it."""
    if not isinstance(error, FramepaceError):
        return shown(f"{type(error).__name__}: {error}")
    if error.got is None:
        return shown(error.what)
    return shown(f"{str(error.got).removeprefix(f'{name}: ')} ({error.what})")
