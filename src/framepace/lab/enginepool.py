"""Loaded engines kept between runs: loading, building and warming a model costs more than measuring it."""

from __future__ import annotations

import msgspec

from framepace.clock.system import Clock
from framepace.engine.engine import Engine
from framepace.errors import DeviceMemoryError
from framepace.facts.plan import Plan
from framepace.progress import Tell, silent


class EnginePool:
    """Up to `size` engines, keyed by what they load; the oldest is closed first. A context manager that closes all.

    With `workers`, the engine used last keeps what its workers set up (see Engine).
    """

    def __init__(self, clock: Clock, size: int = 1, workers: bool = False) -> None:
        self.clock = clock
        self._size = size
        self._workers = workers
        self._engines: dict[bytes, Engine] = {}

    def __enter__(self) -> EnginePool:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def get(self, plan: Plan, tell: Tell = silent) -> Engine:
        """The engine of `plan`: that of an earlier plan that loads its models alike, or a new one.

        Where the device's memory does not hold it beside the others, they are closed first. Raises what Engine does.
        """
        key = msgspec.json.encode((plan.models, plan.engine))
        for other in self._engines.keys() - {key}:  # their memory would be counted as that of the plan measured now
            self._engines[other].release_workers()
        if key not in self._engines:
            while len(self._engines) >= self._size:
                self._engines.pop(next(iter(self._engines))).close()
            self._engines[key] = self._load(plan, tell)
        return self._engines[key]

    def clear(self) -> None:
        """Close all engines."""
        while self._engines:
            self._engines.popitem()[1].close()

    def _load(self, plan: Plan, tell: Tell) -> Engine:
        try:
            return Engine(plan, self.clock, tell=tell, keep=self._workers)
        except DeviceMemoryError:
            if not self._engines:
                raise
            self.clear()
            return Engine(plan, self.clock, tell=tell, keep=self._workers)
