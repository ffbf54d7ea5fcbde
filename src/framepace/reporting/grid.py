"""The view-model of sweeps: one row a cell, the settings that vary and the numbers people choose by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from framepace.facts.device import DeviceSummary
from framepace.facts.summary import Summary
from framepace.facts.sweep import Cell, Sweep
from framepace.reporting.view import settings
from framepace.units import format_ms, format_quantity

NUMBERS = ("p50", "p99", "fps", "CPU a frame", "over budget")
DEVICE_NUMBERS = ("kernels", "SM MHz", "W", "overlap", "SM", "DRAM")


@dataclass(frozen=True)
class CellRow:
    """One cell: texts of its settings and of the view's numbers, the numbers for figures (ns, fps), or its error."""

    settings: tuple[str, ...]
    texts: tuple[str, ...]
    p50_ns: float | None
    p99_ns: float | None
    throughput_fps: float | None
    met: bool | None
    error: str


@dataclass(frozen=True)
class SweepView:
    """A sweep as a table; `numbers` names its columns after the settings.

    `axis` is the only numeric setting that varies, whose figure can be drawn; else None.
    """

    names: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[CellRow, ...]
    axis: int | None
    interrupted: bool


def sweep_view(sweep: Sweep) -> SweepView:
    """A sweep as rows, in the order of its grid."""
    names = tuple(sweep.grid)
    varying = [i for i, name in enumerate(names) if len(sweep.grid[name]) > 1]
    numeric = [i for i in varying if all(_is_number(text) for text in sweep.grid[names[i]])]
    known = {name for cell in sweep.cells for name, text in _numbers(cell) if text}
    told = [name for name in (*NUMBERS, *DEVICE_NUMBERS) if name in known or name in NUMBERS]
    rows = tuple(_row(cell, names, told) for cell in sweep.cells)
    return SweepView(names, tuple(told), rows, numeric[0] if numeric else None, sweep.interrupted)


def _row(cell: Cell, names: tuple[str, ...], told: Sequence[str]) -> CellRow:
    values = tuple(settings({name: cell.settings.get(name)}).partition("=")[2] for name in names)
    s = cell.summary
    if s is None:
        error = (cell.error or "not measured").splitlines()[0]
        return CellRow(values, ("",) * len(told), None, None, None, None, error)
    texts = dict(_numbers(cell))
    p50, p99 = _percentile(s, 50), _percentile(s, 99)
    return CellRow(values, tuple(texts[name] for name in told), p50, p99, s.throughput, s.met, "")


def _numbers(cell: Cell) -> Iterator[tuple[str, str]]:
    """Texts by the names of NUMBERS and DEVICE_NUMBERS; nothing for a cell that failed."""
    s = cell.summary
    if s is None:
        return
    p50, p99 = _percentile(s, 50), _percentile(s, 99)
    yield "p50", format_ms(p50) if p50 is not None else ""
    yield "p99", format_ms(p99) if p99 is not None else "few samples"
    yield "fps", format_quantity(s.throughput, "")
    yield "CPU a frame", "" if s.process_cpu is None else format_ms(s.process_cpu)
    yield "over budget", "" if s.missed is None else format_quantity(s.missed, "share")
    yield "kernels", format_ms(s.frames.parts["compute"]) if "compute" in s.frames.parts else ""
    yield from _device_numbers(s.devices[0] if s.devices else None)


def _device_numbers(d: DeviceSummary | None) -> Iterator[tuple[str, str]]:
    medians = {} if d is None else d.medians
    clock, power = medians.get("sm_clock_mhz"), medians.get("power_mw")
    yield "SM MHz", "" if clock is None else f"{clock:,.0f}"
    yield "W", "" if power is None else f"{power / 1000:,.0f}"
    yield "overlap", "" if d is None or d.overlap is None else format_quantity(d.overlap, "share")
    for name, key in (("SM", "sm_activity"), ("DRAM", "dram_activity")):
        yield name, f"{medians[key] / 10:.0f} %" if key in medians else ""


def _percentile(s: Summary, q: float) -> float | None:
    found = s.frames.percentile(q)
    return found.estimate.value if found is not None and found.estimate is not None else None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
