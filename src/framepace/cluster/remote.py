"""The caller's end of an actor: calls, their answers, and its death as an error."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, Generic, TypeVar

from framepace.cluster.actor import Actor, own_environment
from framepace.errors import ClusterError, PlaceLost
from framepace.facts.place import Place

_T = TypeVar("_T")
_LOOK_S = 0.2  # after which a wait lets the interpreter answer signals


class Pending:
    """A call that was begun."""

    def __init__(self, reference: Any, place: Place | None, method: str) -> None:
        self.place = place
        self.reference = reference
        self._method = method

    def ready(self, timeout_s: float = 0.0) -> bool:
        """Whether the answer is there, after at most `timeout_s`."""
        return bool(first_of([self], timeout_s))

    def result(self, timeout_s: float | None = None) -> Any:
        """The answer. Raises what the method did, PlaceLost when the actor died, ClusterError after `timeout_s`."""
        import ray
        from ray.exceptions import RayError, TaskUnschedulableError

        where = "a host of the cluster" if self.place is None else self.place.name
        if not first_of([self], timeout_s):
            got = f"{self._method} on {where}: no answer in {timeout_s:g} s"
            raise ClusterError("a place does not answer", got=got, fix="see that its host is not overloaded")
        try:
            answered, answer = ray.get(self.reference)
        except TaskUnschedulableError as error:
            raise ClusterError("an actor found no room on its place", got=_line(error)) from error
        except RayError as error:
            raise PlaceLost(f"{where} was lost", got=_line(error), fix=_FIX) from error
        if answered:
            return answer
        raise answer


_FIX = "see that the host is up and has memory to spare ('ray status'), then give the same command again"


class Remote(Generic[_T]):
    """An object on a place. Its methods are called by name; arguments and answers are pickled.

    Args:
        place: None while it is not known what it is.
        factory: makes the object on the place; a function or class of a module that is installed there.
        options: of the actor, for Ray.
    """

    def __init__(
        self, place: Place | None, factory: Callable[..., _T], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        import ray

        self.place = place
        made: Any = ray.remote(Actor).options(**options)
        self._handle = made.remote(own_environment(), factory, arguments)

    def become(self, place: Place, factory: Callable[..., _T], arguments: tuple[Any, ...]) -> Remote[_T]:
        """Another object in the same process, in place of this one, which is none any more."""
        other = copy(self)
        other.place = place
        other._handle.make.remote(factory, arguments)
        return other

    def begin(self, method: str, *arguments: Any) -> Pending:
        """Call a method without waiting for it. Errors, also those of the factory, come with the answer."""
        return Pending(self._handle.call.remote(method, arguments), self.place, method)

    def answer(self) -> Pending:
        """Its first answer, which is True. Errors of the factory come with it."""
        return Pending(self._handle.answer.remote(), self.place, "the start")

    def call(self, method: str, *arguments: Any, timeout_s: float | None = None) -> Any:
        """The answer of a method. Raises as `Pending.result` does."""
        return self.begin(method, *arguments).result(timeout_s)

    def end(self) -> None:
        """End the actor at once, and what its process has; twice is once."""
        import ray

        with suppress(Exception):  # it is gone, or the cluster is
            ray.kill(self._handle)


def first_of(pending: Sequence[Pending], timeout_s: float | None = None) -> list[Pending]:
    """The calls that have an answer, waiting for the first of them for at most `timeout_s`, None: as long as it takes.

    Ctrl-C is answered while it waits.
    """
    import ray

    references = [call.reference for call in pending]
    until = math.inf if timeout_s is None else time.monotonic() + timeout_s
    ready: list[Any] = []
    remaining = 0.0
    while not ready and remaining >= 0:
        remaining = until - time.monotonic()
        ready, _ = ray.wait(references, num_returns=1, timeout=min(_LOOK_S, max(0.0, remaining)))
    if ready:
        ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
    return [call for call in pending if call.reference in ready]


def _line(error: Exception) -> str:
    """What Ray says, in one line without its tables of ids."""
    text = " ".join(line.strip() for line in str(error).splitlines() if not line.startswith("\t"))
    return text.split(" Some common causes")[0][:300]
