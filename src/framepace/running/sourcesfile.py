"""The file of sources, watched: what changes in it changes in the run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from framepace.errors import FramepaceError, one_line
from framepace.facts.running import SourceSpec
from framepace.running.specs import changes, load_sources

_T = TypeVar("_T")


class Changeable(Protocol):
    """What the sources of a file are added to (see running.run.Run)."""

    def add(self, spec: SourceSpec) -> None:
        """See Run."""

    def remove(self, name: str) -> None:
        """See Run."""

    def change(self, spec: SourceSpec) -> None:
        """See Run."""

    def note(self, text: str) -> None:
        """See Run."""


class SourcesFile:
    """A YAML file of sources. A file that cannot be read changes nothing, and is told.

    Raises UsageError where it cannot be read at first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp = _stamp(path)
        self.sources = load_sources(path)

    def look(self, run: Changeable) -> None:
        """Do what has changed in the file since the last look."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            after = load_sources(self.path)
        except FramepaceError as error:
            run.note(f"{self.path} was not taken over: {one_line(error)}")
            return
        todo = changes(self.sources, after)
        self.sources = after
        for name in todo.remove:
            _try(run, run.remove, name)
        for spec in todo.change:
            _try(run, run.change, spec)
        for spec in todo.add:
            _try(run, run.add, spec)


def _try(run: Changeable, do: Callable[[_T], None], what: _T) -> None:
    try:
        do(what)
    except FramepaceError as error:
        run.note(one_line(error))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
