"""`sweep`: one measurement over a grid of settings; cells are saved as they come, an interrupted sweep resumes."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.analyze.strategies import reasons
from framepace.analyze.summary import summarize
from framepace.clock.system import Clock
from framepace.errors import FramepaceError
from framepace.facts.settings import Case, apply
from framepace.facts.sweep import Cell, Sweep
from framepace.facts.trace import Trace
from framepace.lab.lab import FRESH_PROCESS, HERE, Lab
from framepace.measure.session import clock_for
from framepace.progress import Tell, silent, within
from framepace.store import load_trace, write_atomic


def cells(grid: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Every combination of the grid's values, the last setting varying fastest."""
    for values in itertools.product(*grid.values()):
        yield dict(zip(grid, values, strict=True))


def sweep(
    case: Case,
    grid: Mapping[str, Sequence[Any]],
    *,
    folder: Path | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
) -> Sweep:
    """Measure `case` with every combination of `grid` (setting name -> values).

    A cell that fails is a row with its error, and the sweep continues. With `folder`, cells measured before under the
    same case are read instead of measured again. Ctrl-C keeps the cells that are complete.

    Raises UsageError for an unknown setting or a value it cannot have, before anything is measured.
    """
    planned = [(settings, apply(case, settings)) for settings in cells(grid)]
    progress = _Progress(grid, folder)
    with Lab(folder=folder, clock=clock or clock_for(case.plan), engines=1, keep_videos=False) as lab:
        try:
            for number, (settings, varied) in enumerate(planned):
                progress.add(_cell(lab, settings, varied, tell or silent, number / len(planned)))
        except KeyboardInterrupt:
            return progress.sweep(interrupted=True)
    return progress.sweep()


class _Progress:
    """The cells of a sweep as they come in, saved in its folder after each."""

    def __init__(self, grid: Mapping[str, Sequence[Any]], folder: Path | None) -> None:
        self._grid = {name: tuple(str(value) for value in values) for name, values in grid.items()}
        self._folder = folder
        self._cells: list[Cell] = []

    def add(self, cell: Cell) -> None:
        """Append a cell."""
        self._cells.append(cell)
        if self._folder is not None:
            unfinished = Sweep(grid=self._grid, cells=tuple(self._cells))
            write_atomic(self._folder / "sweep.json", msgspec.json.encode(unfinished))

    def sweep(self, interrupted: bool = False) -> Sweep:
        """The sweep with the cells so far."""
        return Sweep(grid=self._grid, cells=reasoned(self._cells), interrupted=interrupted)


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


def _cell(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell, share: float) -> Cell:
    """Measure or read one cell; `share` of the sweep is done before it."""
    title = ", ".join(f"{setting}={value}" for setting, value in settings.items())
    tell(title, share)
    path = lab.path(_name(case))
    try:
        trace = _saved(path)
        if trace is None:
            trace = _measured(lab, settings, case, within(tell, f"{title}: ", share))
    except FramepaceError as error:
        lab.clear()  # a device that failed may hold what the cell took: the next one starts from nothing
        return Cell(settings=settings, error=str(error))
    return Cell(settings=settings, trace=None if path is None else str(path), summary=summarize(trace))


def _measured(lab: Lab, settings: dict[str, Any], case: Case, tell: Tell) -> Trace:
    # Strategies are compared by start-up and memory too, so each of their cells has a process of its own.
    where = FRESH_PROCESS if "strategy" in settings else HERE
    return lab.run(case, where=where, name=_name(case), tell=tell)


def _saved(path: Path | None) -> Trace | None:
    """The trace that is in the folder `path`, if it ended as planned."""
    if path is None or not (path / "requests.parquet").exists():
        return None
    trace = load_trace(path)
    if not trace.meta.whole:
        return None
    return trace


def _name(case: Case) -> str:
    """Names a cell by all that is measured in it, so that a changed case is never mistaken for an old one."""
    content = json.dumps(msgspec.to_builtins(case), sort_keys=True)
    return f"cell-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
