"""The sources of a run over several engines: which there are, where each is and shall be, and its counts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.facts.running import Result, SourceSpec, SourceStatus
from framepace.fleet.capacities import Reference
from framepace.fleet.dispatch import Dispatch
from framepace.fleet.ledger import Ledger
from framepace.fleet.loads import load_of
from framepace.fleet.messages import Order
from framepace.fleet.placing import Assignment, Capacity, Predicted, balanced, place, predicted
from framepace.running.specs import no_such_source

_SHOWN_S = 60.0  # a source that was removed stays in the status for so long
_KEPT_S = 600.0  # and its counts and numbers go on if it comes back within this time


class Book:
    """Not thread-safe.

    Args:
        expected: what a source is taken to be that has not said it.
    """

    def __init__(self, expected: Reference) -> None:
        self._expected = expected
        self._ledger = Ledger()
        self._dispatch = Dispatch(self._ledger)
        self._targets: Assignment = {}
        self._engines: frozenset[str] = frozenset()
        self._is_over = False
        self._removed: dict[str, float | None] = {}  # when each was first shown as such (s)

    @property
    def specs(self) -> tuple[SourceSpec, ...]:
        """The sources there are."""
        return self._dispatch.specs

    def add(self, spec: SourceSpec) -> None:
        """Add a source. Raises UsageError where there is one of that name."""
        if spec.name in self._dispatch:
            fix = "change it, or give the new one another name"
            raise UsageError("there is a source of that name", got=spec.name, expected="a new name", fix=fix)
        self._removed.pop(spec.name, None)
        self._dispatch.add(spec)

    def remove(self, name: str) -> None:
        """Remove a source. Raises UsageError where there is none."""
        self._check(name)
        self._dispatch.remove(name)
        self._targets.pop(name, None)
        self._removed[name] = None

    def change(self, spec: SourceSpec) -> tuple[str, Order] | None:
        """Change a source; the order for the engine that has it. Raises UsageError where there is none."""
        self._check(spec.name)
        return self._dispatch.change(spec)

    def place(self, capacities: Mapping[str, Capacity]) -> dict[str, Predicted]:
        """Find a place for every source; what that asks of each place. Sources move to places that are new."""
        loads = {
            name: load_of(spec, self._standing(name), self._expected)
            for name, spec in self._dispatch.placeable().items()
        }
        self._targets = place(loads, capacities, self._targets)
        if capacities.keys() - self._engines and self._targets:
            self._targets = balanced(loads, capacities, self._targets)
        self._engines = frozenset(capacities)
        return predicted(loads, capacities, self._targets)

    def orders(self) -> Iterator[tuple[str, Order]]:
        """What has to be ordered now of which engine."""
        return self._dispatch.orders(self._targets)

    def take(self, engine: str, result: Result) -> bool:
        """Count a result; false where it is to be left out (see Ledger)."""
        return self._ledger.take(engine, result)

    def stand(self, engine: str, statuses: Iterable[SourceStatus]) -> None:
        """An engine says how its sources stand."""
        self._ledger.stand(engine, statuses)

    def gone(self, engine: str, statuses: Iterable[SourceStatus]) -> None:
        """Sources left an engine, and stood so at last."""
        for status in statuses:
            self._ledger.stand(engine, [status])
            self._dispatch.gone(engine, status.name)

    def refused(self, engine: str, name: str, problem: str) -> None:
        """An engine cannot read a source at all; no other is tried."""
        self._dispatch.refused(engine, name, problem)

    def lose(self, engine: str) -> list[str]:
        """An engine was lost, or ended; the sources that it had."""
        self._engines -= {engine}
        return self._dispatch.lose(engine)

    def end(self, engine: str) -> None:
        """An engine ended with the run: its sources stay as they stood at last."""
        self._is_over = True
        self._dispatch.lose(engine)

    def is_over(self) -> bool:
        """Whether every source has ended, and nothing of any is on its way."""
        statuses = [self._ledger.status(spec.name) for spec in self.specs]
        return all(
            self._dispatch.problem(status.name) or (status.state == "ended" and not status.waiting)
            for status in statuses
        )

    def statuses(self, now: float) -> tuple[SourceStatus, ...]:
        """How the sources stand at `now` (s); those that were removed in the last minute are among them."""
        self._forget(now)
        present = tuple(self._status(spec.name) for spec in self.specs)
        removed = (
            replace(self._ledger.status(name), state="removed")
            for name, since in self._removed.items()
            if since is None or now - since < _SHOWN_S
        )
        return (*present, *removed)

    def _status(self, name: str) -> SourceStatus:
        problem = self._dispatch.problem(name)
        if problem:
            return replace(self._ledger.status(name, problem), state="ended")
        return self._ledger.status(name, "" if self._is_over else "waits for an engine")

    def _standing(self, name: str) -> SourceStatus | None:
        return self._ledger.status(name) if name in self._ledger else None

    def _check(self, name: str) -> None:
        if name not in self._dispatch:
            raise no_such_source(name, [spec.name for spec in self.specs])

    def _forget(self, now: float) -> None:
        """Forget sources that were removed long ago."""
        for name, since in list(self._removed.items()):
            if since is None:
                self._removed[name] = now
            elif now - since > _KEPT_S and self._dispatch.at(name) is None:
                del self._removed[name]
                self._ledger.forget(name)
