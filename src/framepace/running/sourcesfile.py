"""The file of sources, watched: what changes in it changes in the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from framepace.errors import FramepaceError, UsageError, one_line
from framepace.facts.running import SourceSpec
from framepace.running.specs import Changes, changes, load_sources


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

    Args:
        settings: fields of its sources, where it says nothing about them.

    Raises UsageError where it cannot be read at first.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.path = path
        self._settings = settings
        self._stamp = _stamp(path)
        self.sources = load_sources(path, settings)

    def look(self, run: Changeable) -> None:
        """Do what has changed in the file since the last look."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            after = load_sources(self.path, self._settings)
        except FramepaceError as error:
            run.note(f"{self.path} was not taken over: {one_line(error)}")
            return
        self._do(run, changes(self.sources, after))

    def _do(self, run: Changeable, todo: Changes) -> None:
        """Do what has changed; what is refused stays as it was, and is tried again with the next change."""
        standing = {spec.name: spec for spec in self.sources}
        for name in todo.remove:
            with suppress(UsageError):  # somebody else removed it before
                run.remove(name)
            del standing[name]
        for change, specs in ((run.change, todo.change), (run.add, todo.add)):
            for spec in specs:
                if _is_done(run, spec.name, partial(change, spec)):
                    standing[spec.name] = spec
        self.sources = tuple(standing.values())


def _is_done(run: Changeable, name: str, do: Callable[[], None]) -> bool:
    """Do it; false where it was refused, which is told."""
    try:
        do()
    except FramepaceError as error:
        run.note(f"the source {name!r}: {one_line(error)}")
        return False
    return True


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is written; None where there is none."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
