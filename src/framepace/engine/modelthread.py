"""The thread of one model, for strategies whose workers hand inferences over; in real time and in virtual time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import TypeVar

from framepace.clock.system import Clock
from framepace.engine.pipeline import Pipeline

_T = TypeVar("_T")


class ModelThread:
    """A thread that makes, runs and closes the pipeline of one model: contexts and streams belong to a thread.

    In virtual time it takes part in the run, from `begin` to `end`: the clock then knows that the worker waits for it.
    """

    def __init__(self, make: Callable[[], Pipeline], clock: Clock) -> None:
        self._clock = clock
        self._turns = VirtualTurns(clock)
        with ExitStack() as on_error:
            self.pool = ThreadPoolExecutor(1, "model")
            on_error.callback(self.pool.shutdown)
            self.part = self.pool.submit(make).result()
            if clock.virtual:
                (place,) = clock.reserve(1)
                self.pool.submit(self._turns.serve, place)
            on_error.pop_all()

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Have the thread make a call."""
        if self._clock.virtual:
            return self._turns.submit(call)
        return self.pool.submit(call)

    def result(self, future: Future[_T]) -> _T:
        """What a call returned, once it has; raises what it raised."""
        if self._clock.virtual:
            self._turns.wait(future)
        return future.result()

    def end(self) -> None:
        """The run is over; called by the worker while it still takes part."""
        self._turns.end()

    def close(self) -> None:
        """Close the pipeline, and end the thread."""
        self._turns.end()
        self.pool.submit(self.part.close).result()
        self.pool.shutdown()


class VirtualTurns:
    """Calls that one thread of a virtual clock makes for another one."""

    def __init__(self, clock: Clock) -> None:
        self._changed = clock.condition()
        self._calls: deque[Callable[[], object]] = deque()
        self._ended = False

    def submit(self, call: Callable[[], _T]) -> Future[_T]:
        """Append a call; its future has the result."""
        future: Future[_T] = Future()

        def make_call() -> None:
            try:
                future.set_result(call())
            except BaseException as error:  # it belongs to the thread that asked
                future.set_exception(error)

        with self._changed:
            self._calls.append(make_call)
            self._changed.notify_all()
        return future

    def wait(self, future: Future[_T]) -> None:
        """Let time pass until the call was made."""
        with self._changed:
            while not future.done():
                self._changed.wait()

    def serve(self, place: AbstractContextManager[None]) -> None:
        """Make the calls, in a place on the clock, until the end."""
        with suppress(threading.BrokenBarrierError), place:
            while (call := self._next()) is not None:
                call()
                with self._changed:
                    self._changed.notify_all()

    def _next(self) -> Callable[[], object] | None:
        with self._changed:
            while not self._calls and not self._ended:
                self._changed.wait()
            return self._calls.popleft() if self._calls else None

    def end(self) -> None:
        """No call follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
