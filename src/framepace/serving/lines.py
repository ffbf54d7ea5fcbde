"""The requests that wait: those of each client by deadline, clients in turn, priorities before all. Pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any, Generic, TypeVar

from msgspec import Struct

_T = TypeVar("_T")


class Place(Struct, Generic[_T], frozen=True, eq=False):
    """An item that waits."""

    deadline: int
    number: int
    item: _T


_turn: Any = attrgetter("deadline", "number")  # the order in which items of one client go
_Queues = dict[str, list[Place[_T]]]  # by client, in the order of their turns


class Lines(Generic[_T]):
    """Items of clients that wait.

    Of each client the earliest deadline goes first; clients take turns, one item each, so that one that floods makes
    nobody else wait. A lower number of priority goes before all higher ones.
    """

    def __init__(self) -> None:
        self._levels: dict[int, _Queues[_T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, item: _T, client: str, priority: int, deadline: int, number: int) -> None:
        """Let `item` wait; `number` is unique."""
        queues = self._levels.setdefault(priority, {})
        insort(queues.setdefault(client, []), Place(deadline, number, item), key=_turn)
        self._count += 1

    def ahead(self, client: str, priority: int, deadline: int) -> int:
        """How many items that wait now would go before a new one, at most."""
        before = 0
        for level, queues in self._levels.items():
            if level < priority:
                before += sum(map(len, queues.values()))
        queues = self._levels.get(priority, {})
        own = bisect_left(queues.get(client, []), (deadline + 1,), key=_turn)
        others = (min(len(queue), own + 1) for other, queue in queues.items() if other != client)
        return before + own + sum(others)

    def next(self, count: int) -> list[Place[_T]]:
        """The next items, at most `count`, in the order in which they go; they go on waiting."""
        chosen: list[Place[_T]] = []
        for priority in sorted(self._levels):
            for place in _in_turn(self._levels[priority], count - len(chosen)):
                chosen.append(place)
        return chosen

    def take(self, count: int) -> list[_T]:
        """Remove the next `count` items (or as many as there are) and return them in their order."""
        taken: list[_T] = []
        for priority in sorted(self._levels):
            queues = self._levels[priority]
            while queues and len(taken) < count:
                client = next(iter(queues))
                queue = queues.pop(client)
                taken.append(queue.pop(0).item)
                if queue:
                    queues[client] = queue  # behind the others
            if not queues:
                del self._levels[priority]
        self._count -= len(taken)
        return taken

    def remove(self, client: str, priority: int, deadline: int, number: int) -> bool:
        """Remove an item; whether it waited."""
        queues = self._levels.get(priority, {})
        queue = queues.get(client, [])
        at = bisect_left(queue, (deadline, number), key=_turn)
        if at == len(queue) or queue[at].number != number:
            return False
        del queue[at]
        if not queue:
            del queues[client]
        if not queues:
            del self._levels[priority]
        self._count -= 1
        return True

    def clear(self) -> list[_T]:
        """Remove all items and return them."""
        return self.take(self._count)


def _in_turn(queues: Mapping[str, list[Place[_T]]], count: int) -> Iterator[Place[_T]]:
    """The next `count` items of all queues, one of each per round."""
    rank = 0
    waiting = list(queues.values())
    while count > 0 and waiting:
        for queue in waiting[:count]:
            yield queue[rank]
            count -= 1
        rank += 1
        waiting = [queue for queue in waiting if len(queue) > rank]
