"""`sweep`: one measurement over a grid of settings; cells are saved as they come, an interrupted sweep resumes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.analyze.strategies import reasons
from framepace.analyze.summary import summarize
from framepace.clock.system import Clock
from framepace.errors import FramepaceError, StoreError
from framepace.facts.address import without_secrets
from framepace.facts.settings import Case, apply
from framepace.facts.sweep import Cell, Sweep
from framepace.facts.trace import Trace
from framepace.lab.lab import FRESH_PROCESS, HERE, Lab
from framepace.measure.session import clock_for
from framepace.progress import Tell, silent, within
from framepace.store import OutputFolder, is_trace, load_trace, write_atomic
from framepace.values import check_cells


def cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the grid's values, the last setting varying fastest."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def sweep(
    case: Case,
    grid: Mapping[str, Sequence[Any]],
    *,
    folder: Path | None = None,
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
) -> Sweep:
    """Measure `case` with every combination of `grid` (setting name -> values).

    A cell that fails is a row with its error, and the sweep continues. With `folder`, cells measured before under the
    same case are read instead of measured again; with `overwrite`, what is there is removed first. Ctrl-C keeps the
    cells that are complete.

    Raises UsageError for an unknown setting or a value it cannot have, and StoreError for a folder that is another
    run's, cannot be written or holds another case, before anything is measured.
    """
    check_cells(grid)
    planned = [(settings, apply(case, settings)) for settings in cells(grid)]
    progress = _Progress(grid, folder)
    interrupted = False
    with _owned(folder, overwrite, case):
        try:
            _measure_cells(progress, planned, clock or clock_for(case.plan), tell or silent)
        except KeyboardInterrupt:
            interrupted = True
    return progress.sweep(interrupted)


def _owned(folder: Path | None, overwrite: bool, case: Case) -> AbstractContextManager[object]:
    if folder is None:
        return nullcontext()
    return OutputFolder(folder, "sweep", overwrite, case)


def _measure_cells(
    progress: _Progress, planned: Sequence[tuple[dict[str, Any], Case]], clock: Clock, tell: Tell
) -> None:
    """Measure or read all cells, into `progress`."""
    with Lab(folder=progress.folder, clock=clock, engines=1, keep_videos=False) as lab:
        for number, (settings, case) in enumerate(planned):
            progress.add(_cell(lab, settings, case, within(tell, "", number / len(planned)), progress.notes))
            if lab.unsaved:
                progress.stop_saving(lab.unsaved)


class _Progress:
    """The cells of a sweep as they come in, saved in its folder after each."""

    def __init__(self, grid: Mapping[str, Sequence[Any]], folder: Path | None) -> None:
        self._grid = without_secrets({name: tuple(str(value) for value in values) for name, values in grid.items()})
        self.folder = folder
        self.notes: list[str] = []
        self._cells: list[Cell] = []

    def add(self, cell: Cell) -> None:
        """Append a cell."""
        self._cells.append(cell)
        if self.folder is None:
            return
        unfinished = Sweep(grid=self._grid, cells=tuple(self._cells))
        try:
            write_atomic(self.folder / "sweep.json", msgspec.json.encode(unfinished))
        except StoreError as error:
            self.stop_saving(f"the table was not saved: {error.what} ({error.got})")

    def stop_saving(self, why: str) -> None:
        """Keep later cells in memory only."""
        if self.folder is not None:
            self.notes.append(why)
        self.folder = None

    def sweep(self, interrupted: bool) -> Sweep:
        """The sweep with the cells so far."""
        notes = tuple(self.notes)
        return Sweep(grid=self._grid, cells=reasoned(self._cells), interrupted=interrupted, notes=notes)


def reasoned(done: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells; where only their strategy differs, each with the reason why it is faster or slower than the others."""
    return tuple(_with_reason(cell, done) for cell in done)


def _with_reason(cell: Cell, done: Sequence[Cell]) -> Cell:
    if cell.summary is None or "strategy" not in cell.settings:
        return cell
    alternatives = [c for c in done if "strategy" in c.settings and _other_settings(c) == _other_settings(cell)]
    summaries = {str(c.settings["strategy"]): c.summary for c in alternatives if c.summary is not None}
    if len(summaries) < 2:
        return cell
    return replace(cell, why=reasons(summaries).get(str(cell.settings["strategy"])))


def _other_settings(cell: Cell) -> dict[str, Any]:
    return {name: value for name, value in cell.settings.items() if name != "strategy"}


def _cell(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell, notes: list[str]) -> Cell:
    """Measure or read one cell; what there is to say about its files goes to `notes`."""
    public = without_secrets(settings)
    title = ", ".join(f"{setting}={value}" for setting, value in public.items())
    tell(title, None)
    try:
        trace = _saved(lab.path(_name(case)), title, notes)
        if trace is None:
            trace = _measured(lab, settings, case, within(tell, f"{title}: ", None))
        summary = summarize(trace)
    except FramepaceError as error:
        lab.clear()  # a device that failed may hold what the cell took: the next one starts from nothing
        return Cell(settings=public, error=str(error))
    path = lab.path(_name(case))
    return Cell(settings=public, trace=None if path is None else str(path), summary=summary)


def _measured(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell) -> Trace:
    # Strategies are compared by start-up and memory too, so each of their cells has its own process.
    where = FRESH_PROCESS if "strategy" in settings else HERE
    return lab.run(case, where=where, name=_name(case), tell=tell)


def _saved(path: Path | None, title: str, notes: list[str]) -> Trace | None:
    """The trace that is in the folder `path`, if it ended as planned; one that is damaged is noted."""
    if path is None or not is_trace(path):
        return None
    try:
        trace = load_trace(path)
    except StoreError as error:
        notes.append(f"{title} was measured again: {error.what} ({error.got})")
        return None
    return trace if trace.meta.whole else None


def _name(case: Case) -> str:
    """Names a cell by all that is measured in it, so that a changed case is never mistaken for an old one."""
    content = json.dumps(msgspec.to_builtins(case), sort_keys=True)
    return f"cell-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
