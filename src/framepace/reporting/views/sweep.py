"""The view-model of sweeps: one row a cell, the settings that vary and the numbers people choose by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from framepace.facts.device import DeviceSummary
from framepace.facts.summary import Cost, Summary
from framepace.facts.sweep import Cell, Sweep
from framepace.reporting.views.measurement import settings
from framepace.units import NS_PER_S, format_bytes, format_ms, format_quantity

NUMBERS = ("p50", "p99", "fps", "CPU a frame", "over budget")
DEVICE_NUMBERS = ("kernels", "SM MHz", "W", "overlap", "SM", "DRAM")
COSTS = ("wall", "at once", "cores", "memory", "device memory", "start-up")  # and each model's time, with strategies


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

    `axis` is the only numeric setting that varies, whose figure can be drawn; else None. `reasons` are pairs of a
    cell's settings and a sentence, where the strategy varies.
    """

    names: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[CellRow, ...]
    axis: int | None
    interrupted: bool
    reasons: tuple[tuple[str, str], ...] = ()


def sweep_view(sweep: Sweep) -> SweepView:
    """A sweep as rows, in the order of its grid."""
    names = tuple(sweep.grid)
    varying = [i for i, name in enumerate(names) if len(sweep.grid[name]) > 1]
    numeric = [i for i in varying if all(_is_number(text) for text in sweep.grid[names[i]])]
    texts = [_texts(cell, "strategy" in sweep.grid) for cell in sweep.cells]
    told = list(dict.fromkeys([*NUMBERS, *(name for each in texts for name, text in each.items() if text)]))
    rows = tuple(_row(cell, names, told, each) for cell, each in zip(sweep.cells, texts, strict=True))
    reasons = tuple((", ".join(_settings(cell, names)), cell.why) for cell in sweep.cells if cell.why)
    return SweepView(names, tuple(told), rows, numeric[0] if numeric else None, sweep.interrupted, reasons)


def _settings(cell: Cell, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(settings({name: cell.settings.get(name)}).partition("=")[2] for name in names)


def _row(cell: Cell, names: Sequence[str], told: Sequence[str], texts: Mapping[str, str]) -> CellRow:
    values, s = _settings(cell, names), cell.summary
    if s is None:
        error = (cell.error or "not measured").splitlines()[0]
        return CellRow(values, ("",) * len(told), None, None, None, None, error)
    p50, p99 = _percentile(s, 50), _percentile(s, 99)
    return CellRow(values, tuple(texts.get(name, "") for name in told), p50, p99, s.throughput, s.met, "")


def _texts(cell: Cell, costs: bool) -> dict[str, str]:
    """Texts by the names of NUMBERS, DEVICE_NUMBERS and, with `costs`, of COSTS; nothing for a cell that failed."""
    s = cell.summary
    if s is None:
        return {}
    return dict(_numbers(s)) | (dict(_costs(s.cost, s.seconds)) if costs and s.cost is not None else {})


def _costs(c: Cost, seconds: float) -> Iterator[tuple[str, str]]:
    yield "wall", f"{seconds:.1f} s"
    yield from ((name, f"{ns / NS_PER_S:.2f} s") for name, ns in c.models.items())
    yield "at once", f"{c.together:.2f}"
    yield "cores", "" if c.cores is None else f"{c.cores:.2f}"
    yield "memory", "" if c.memory is None else format_bytes(c.memory)
    yield "device memory", "" if c.device_memory is None else format_bytes(c.device_memory)
    yield "start-up", "" if c.startup is None else format_ms(c.startup)


def _numbers(s: Summary) -> Iterator[tuple[str, str]]:
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
