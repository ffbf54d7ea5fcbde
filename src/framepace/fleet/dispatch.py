"""From where sources are to where they shall be: which orders go to which engine. Pure.

A source is on one engine at most. It leaves one before it begins on another: what was taken is delivered first, so that
its results stay in order and no picture is counted twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from framepace.facts.running import SourceSpec
from framepace.fleet.ledger import Ledger
from framepace.fleet.messages import Add, Change, Order, Remove


@dataclass(eq=False)
class _Source:
    """A source, the engine that has it, and whether it was told to leave."""

    spec: SourceSpec
    at: str | None = None
    leaves: bool = False
    wanted: bool = True
    problem: str = ""


class Dispatch:
    """Which sources there are, and where. Not thread-safe.

    Args:
        ledger: told where each begins and ends.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sources: dict[str, _Source] = {}

    @property
    def specs(self) -> tuple[SourceSpec, ...]:
        """The sources there shall be."""
        return tuple(source.spec for source in self._sources.values() if source.wanted)

    def __contains__(self, name: str) -> bool:
        source = self._sources.get(name)
        return source is not None and source.wanted

    def placeable(self) -> dict[str, SourceSpec]:
        """The sources that some engine shall read."""
        return {name: s.spec for name, s in self._sources.items() if s.wanted and not s.problem}

    def problem(self, name: str) -> str:
        """Why no engine reads a source."""
        source = self._sources.get(name)
        return "" if source is None else source.problem

    def at(self, name: str) -> str | None:
        """The engine that has a source; None where none has it."""
        source = self._sources.get(name)
        return None if source is None else source.at

    def add(self, spec: SourceSpec) -> None:
        """There shall be such a source."""
        self._ledger.note(spec)
        source = self._sources.setdefault(spec.name, _Source(spec))
        source.spec = spec
        source.wanted = True
        source.problem = ""

    def remove(self, name: str) -> None:
        """A source shall be there no more."""
        source = self._sources[name]
        source.wanted = False
        if source.at is None:
            del self._sources[name]

    def change(self, spec: SourceSpec) -> tuple[str, Order] | None:
        """A source shall be another way; the order for the engine that has it."""
        self.add(spec)
        source = self._sources[spec.name]
        if source.at is None or source.leaves:
            return None
        return source.at, Change(spec)

    def orders(self, targets: Mapping[str, str]) -> Iterator[tuple[str, Order]]:
        """What has to be ordered now of which engine, so that every source comes to its target."""
        for name, source in self._sources.items():
            target = targets.get(name) if source.wanted else None
            if source.at is None and target is not None and not source.problem:
                source.at = target
                yield target, Add(source.spec, self._ledger.open(name, target))
            elif source.at is not None and source.at != target and not source.leaves:
                source.leaves = True
                yield source.at, Remove(name)

    def gone(self, engine: str, name: str) -> None:
        """A source has left an engine, or that could not read it."""
        source = self._sources.get(name)
        if source is None or source.at != engine:
            return
        self._ledger.close(engine, name)
        source.at = None
        source.leaves = False
        if not source.wanted:
            del self._sources[name]

    def refused(self, engine: str, name: str, problem: str) -> None:
        """An engine cannot read a source at all."""
        self.gone(engine, name)
        if name in self._sources:
            self._sources[name].problem = problem

    def lose(self, engine: str) -> list[str]:
        """An engine was lost; the sources that it had."""
        names = [name for name, source in self._sources.items() if source.at == engine]
        for name in names:
            self.gone(engine, name)
        return names
