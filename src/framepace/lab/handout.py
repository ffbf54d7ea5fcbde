"""Which of some tasks goes to which place next, and what becomes of one whose place was lost. Pure."""

from __future__ import annotations

from collections.abc import Collection

MOST_LOSSES = 2  # of a task: it may be what ends its places


class Handout:
    """Tasks by number, handed out in the order in which they came."""

    def __init__(self) -> None:
        self._fitting: list[frozenset[int]] = []
        self._waiting: list[int] = []
        self._lost_at: dict[int, list[int]] = {}

    @property
    def waiting(self) -> tuple[int, ...]:
        """Tasks that nobody does."""
        return tuple(self._waiting)

    def add(self, places: Collection[int]) -> int:
        """The number of another task, that can be done on any of some places."""
        self._fitting.append(frozenset(places))
        self._waiting.append(len(self._fitting) - 1)
        return self._waiting[-1]

    def take(self, place: int, alive: Collection[int]) -> int | None:
        """The task that a free place does now; one that was lost there only where no other place could do it."""
        for task in self._waiting:
            if place in self._fitting[task] and not self._better_elsewhere(task, place, alive):
                self._waiting.remove(task)
                return task
        return None

    def lost(self, task: int, place: int) -> bool:
        """A place was lost while it did a task; whether the task is to be done again, which is then the next."""
        losses = self._lost_at.setdefault(task, [])
        losses.append(place)
        if len(losses) > MOST_LOSSES:
            return False
        self._waiting.insert(0, task)
        return True

    def _better_elsewhere(self, task: int, place: int, alive: Collection[int]) -> bool:
        losses = self._lost_at.get(task, ())
        return place in losses and not self._fitting[task].isdisjoint(set(alive) - set(losses))
