"""The view-model of sweeps: one row a cell, the settings that vary and the numbers people choose by."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.facts.summary import Summary
from framepace.facts.sweep import Cell, Sweep
from framepace.reporting.view import settings
from framepace.units import format_ms, format_quantity

NUMBERS = ("p50", "p99", "fps", "CPU a frame", "over budget")


@dataclass(frozen=True)
class CellRow:
    """One cell: texts of its settings and of NUMBERS, the numbers for figures (ns, fps), or its error."""

    settings: tuple[str, ...]
    texts: tuple[str, ...]
    p50_ns: float | None
    p99_ns: float | None
    throughput_fps: float | None
    met: bool | None
    error: str


@dataclass(frozen=True)
class SweepView:
    """A sweep as a table. `axis` is the only numeric setting that varies, whose figure can be drawn; else None."""

    names: tuple[str, ...]
    rows: tuple[CellRow, ...]
    axis: int | None
    interrupted: bool


def sweep_view(sweep: Sweep) -> SweepView:
    """A sweep as rows, in the order of its grid."""
    names = tuple(sweep.grid)
    varying = [i for i, name in enumerate(names) if len(sweep.grid[name]) > 1]
    numeric = [i for i in varying if all(_is_number(text) for text in sweep.grid[names[i]])]
    rows = tuple(_row(cell, names) for cell in sweep.cells)
    return SweepView(names, rows, numeric[0] if numeric else None, sweep.interrupted)


def _row(cell: Cell, names: tuple[str, ...]) -> CellRow:
    values = tuple(settings({name: cell.settings.get(name)}).partition("=")[2] for name in names)
    s = cell.summary
    if s is None:
        error = (cell.error or "not measured").splitlines()[0]
        return CellRow(values, ("",) * len(NUMBERS), None, None, None, None, error)
    p50, p99 = _percentile(s, 50), _percentile(s, 99)
    texts = (
        format_ms(p50) if p50 is not None else "",
        format_ms(p99) if p99 is not None else "few samples",
        format_quantity(s.throughput, ""),
        "" if s.process_cpu is None else format_ms(s.process_cpu),
        "" if s.missed is None else format_quantity(s.missed, "share"),
    )
    return CellRow(values, texts, p50, p99, s.throughput, s.met, "")


def _percentile(s: Summary, q: float) -> float | None:
    found = s.frames.percentile(q)
    return found.estimate.value if found is not None and found.estimate is not None else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
