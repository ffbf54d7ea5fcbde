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
from framepace.errors import FramepaceError, UsageError
from framepace.facts.settings import Case, apply
from framepace.facts.sweep import Cell, Sweep
from framepace.facts.trace import Trace
from framepace.lab.enginepool import Engines
from framepace.lab.freshprocess import measure_apart
from framepace.measure.session import clock_for, measure
from framepace.progress import Tell
from framepace.store import load_trace, write_atomic


def parse_vary(texts: Sequence[str]) -> dict[str, list[str]]:
    """'batch=1,2,4' and 'workers=1..8' as lists of values by setting. Raises UsageError for anything else."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not (equals and name and values):
            raise UsageError("--vary needs a setting and its values", got=text, expected="NAME=V1,V2,... or NAME=1..8")
        grid[name.strip()] = list(itertools.chain.from_iterable(map(_range, values.split(","))))
    return grid


def _range(text: str) -> list[str]:
    first, dots, last = text.strip().partition("..")
    if not dots:
        return [text.strip()]
    if not (first.isdigit() and last.isdigit() and int(first) <= int(last)):
        raise UsageError("not a range", got=text, expected="FIRST..LAST, e.g. 1..8")
    return [str(n) for n in range(int(first), int(last) + 1)]


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

    A cell that fails is a row with its error and the sweep goes on. With `folder`, cells measured before under the
    same case are read instead of measured again. Ctrl-C keeps the cells that are complete.

    Raises UsageError for an unknown setting or a value it cannot have, before anything is measured.
    """
    combinations = list(cells(grid))
    cases = [apply(case, combination) for combination in combinations]
    done: list[Cell] = []
    told = tell or (lambda text, share: None)
    clock = clock or clock_for(case.plan)
    with Engines(clock) as engines:
        for number, (settings, varied) in enumerate(zip(combinations, cases, strict=True)):
            named, share = ", ".join(f"{k}={v}" for k, v in settings.items()), number / len(cases)
            told(named, share)
            cell = _cell(settings, varied, folder, clock, engines, _prefixed(told, named, share))
            if cell is None:
                return Sweep(grid=_text(grid), cells=reasoned(done), interrupted=True)
            done.append(cell)
            if folder is not None:
                write_atomic(folder / "sweep.json", msgspec.json.encode(Sweep(grid=_text(grid), cells=tuple(done))))
    return Sweep(grid=_text(grid), cells=reasoned(done))


def reasoned(done: Sequence[Cell]) -> tuple[Cell, ...]:
    """The cells, each that varies in its strategy with the reason why it is faster or slower than the others."""
    found = list(done)
    rest = [{k: v for k, v in cell.settings.items() if k != "strategy"} for cell in found]
    for i, cell in enumerate(found):
        alike = [c for c, other in zip(done, rest, strict=True) if "strategy" in c.settings and other == rest[i]]
        measured = {str(c.settings["strategy"]): c.summary for c in alike if c.summary is not None}
        if cell.summary is not None and len(measured) > 1:
            found[i] = replace(cell, why=reasons(measured).get(str(cell.settings["strategy"])))
    return tuple(found)


def _prefixed(tell: Tell, named: str, share: float) -> Tell:
    """Tells of loading within a cell; the bar stays that of the sweep."""
    return lambda text, _: tell(f"{named}: {text}", share)


def _cell(
    settings: dict[str, Any], case: Case, folder: Path | None, clock: Clock, engines: Engines, tell: Tell
) -> Cell | None:
    path = None if folder is None else folder / f"cell-{_key(case)}"
    trace: Trace | None = _saved(path)
    try:
        if trace is None:
            trace = _measured(settings, case, path, clock, engines, tell)
    except FramepaceError as error:
        # A device that failed may hold what the cell took: the next one starts from nothing.
        engines.clear()
        return Cell(settings=settings, error=str(error))
    if trace.meta.stopped == "interrupted":
        return None
    return Cell(settings=settings, trace=None if path is None else str(path), summary=summarize(trace))


def _measured(
    settings: dict[str, Any], case: Case, path: Path | None, clock: Clock, engines: Engines, tell: Tell
) -> Trace:
    """Strategies are compared by start-up and memory too, so each cell of theirs has a process of its own."""
    if "strategy" in settings and not clock.virtual:
        return measure_apart(case.plan, case.workload, path)
    engine = None if case.plan.engine.strategy == "worker-processes" else engines.get(case.plan, tell)
    return measure(case.plan, case.workload, folder=path, clock=clock, overwrite=True, engine=engine)


def _saved(path: Path | None) -> Trace | None:
    if path is None or not (path / "requests.parquet").exists():
        return None
    trace = load_trace(path)
    return trace if trace.meta.whole else None


def _key(case: Case) -> str:
    """Cells are found again by what was measured, so that a changed case is never mistaken for an old one."""
    return hashlib.sha256(json.dumps(msgspec.to_builtins(case), sort_keys=True).encode()).hexdigest()[:12]


def _text(grid: Mapping[str, Sequence[Any]]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(str(v) for v in values) for name, values in grid.items()}
