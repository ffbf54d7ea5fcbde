"""The run's side of one engine: a thread that starts it, gives orders and fetches what there is, until it ends."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Protocol

from framepace.errors import BackendError, FramepaceError, PlaceLost, one_line
from framepace.fleet.fetching import fetch
from framepace.fleet.messages import Answer, Engine, Order, Orders, Reply
from framepace.fleet.placing import Capacity

_RECORDED_S = 30.0  # for the last minute to be written
_WAIT_S = 0.1  # for results, before an engine answers without any


class Listener(Protocol):
    """Learns what happens to engines; called by their threads."""

    def ready(self, name: str, capacity: Capacity) -> None:
        """An engine is loaded, and takes orders; what it carries."""

    def took(self, name: str, reply: Reply) -> None:
        """A message of an engine; none of its results came before."""

    def ended(self, name: str, error: FramepaceError | None) -> None:
        """An engine ended, or was lost, or could not begin."""


class Link:
    """One engine. `order` from any thread.

    Args:
        name: of the engine; one that is started again has a new name.
        make: starts its process. Raises FramepaceError.
        begin: prepares what was started, before it takes orders; what it carries. Raises FramepaceError.
        finish: what is left to do with an engine that has ended in order. Raises FramepaceError.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Engine],
        begin: Callable[[Engine], Capacity],
        finish: Callable[[Engine], None],
        listener: Listener,
    ) -> None:
        self.name = name
        self._make = make
        self._begin = begin
        self._finish = finish
        self._listener = listener
        self._lock = threading.Lock()
        self._todo: deque[tuple[Order, Future[str]]] = deque()
        self._engine: Engine | None = None
        self._is_dead = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> Link:
        """Begin."""
        self._thread.start()
        return self

    def order(self, order: Order) -> Future[str]:
        """Give an order; its answer. A FramepaceError where it was refused; cancelled where the engine is lost."""
        answer: Future[str] = Future()
        with self._lock:
            if not self._is_dead:
                self._todo.append((order, answer))
                return answer
        answer.cancel()
        return answer

    def kill(self) -> None:
        """End the engine's process."""
        engine = self._engine
        if engine is not None:
            engine.kill()

    def brought(self, answer: Future[str], folder: Path) -> bool:
        """Bring what was recorded into a folder here; false where the engine was lost meanwhile.

        Args:
            answer: to the order to record.

        Raises FramepaceError.
        """
        assert self._engine is not None
        try:
            recording = Path(answer.result(_RECORDED_S))
            fetch(self._engine, recording, folder / recording.name)
        except (CancelledError, PlaceLost):
            return False
        return True

    def join(self, seconds: float) -> bool:
        """Wait for the end; whether it has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        error: FramepaceError | None = None
        try:
            self._engine = self._make()
            capacity = self._begin(self._engine)
            self._listener.ready(self.name, capacity)
            self._talk(self._engine)
            self._finish(self._engine)
        except FramepaceError as raised:
            error = raised
        except Exception as raised:  # whatever a library raises on the other side, it is that engine's end
            error = BackendError("an engine failed", got=f"{self.name}: {type(raised).__name__}: {one_line(raised)}")
        finally:
            self.kill()
            self._refuse_orders()
            self._listener.ended(self.name, error)

    def _talk(self, engine: Engine) -> None:
        """Orders there, results back, to the end. Raises FramepaceError when the engine is lost or fails."""
        arrived = 0
        over = False
        while not over:
            reply = self._exchange(engine, arrived)
            arrived = reply.first + len(reply.results)
            over = reply.over and not reply.results
            self._listener.took(self.name, reply)

    def _exchange(self, engine: Engine, arrived: int) -> Reply:
        todo = self._next_orders()
        orders = tuple(order for order, _ in todo)
        answers = [answer for _, answer in todo]
        try:
            reply = engine.exchange(Orders(arrived, orders, wait_s=_WAIT_S))
        except BaseException:
            _cancel(answers)
            raise
        _answer(answers, reply.answers)
        return reply

    def _next_orders(self) -> list[tuple[Order, Future[str]]]:
        with self._lock:
            todo = list(self._todo)
            self._todo.clear()
            return todo

    def _refuse_orders(self) -> None:
        with self._lock:
            self._is_dead = True
        _cancel([answer for _, answer in self._next_orders()])


def _answer(waiting: list[Future[str]], answers: tuple[Answer, ...]) -> None:
    for future, answer in zip(waiting, answers, strict=True):
        if answer.problem:
            future.set_exception(BackendError(answer.problem, fix="correct it"))
        else:
            future.set_result(answer.text)


def _cancel(answers: list[Future[str]]) -> None:
    for answer in answers:
        answer.cancel()
