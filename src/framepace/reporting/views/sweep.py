"""The view-model of sweeps: a row per cell, the settings that vary and the numbers people choose by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from framepace.errors import ADVICE
from framepace.facts import settings
from framepace.facts.device import DeviceSummary
from framepace.facts.served import Served
from framepace.facts.summary import Cost, Summary, TierKind
from framepace.facts.sweep import Cell, Settling, Sweep
from framepace.reporting.views.measurement import memory_numbers
from framepace.reporting.views.text import optional, share
from framepace.units import NS_PER_S, format_bytes, format_ms, format_quantity

NUMBERS = ("p50", "p99", "fps", "CPU per frame", "over budget")
SERVER_NUMBERS = ("server network", "server queue", "server compute", "server batch")
DEVICE_NUMBERS = ("kernels", "SM MHz", "W", "overlap", "SM", "DRAM")
_REFUSED = "few samples"
SETTLING = ("level", "jump", "settle", "settled", "back to back", "gap costs")  # with a gap after each inference
PLACE = "place"  # of a cluster
COSTS = ("wall", "at once", "cores", "memory", "device memory", "start-up")  # and each model's time, with strategies
_CHANGES: Mapping[TierKind, str] = {"level": "jump", "ramp": "ramp"}


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

    `axis` is the first numeric setting that varies, over which a figure can be drawn; else None. `reasons` are pairs
    of a cell's settings and a sentence, where the strategy varies; `answers` are what the cells say together.
    """

    names: tuple[str, ...]
    numbers: tuple[str, ...]
    rows: tuple[CellRow, ...]
    axis: int | None
    interrupted: bool
    notes: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...] = ()
    answers: tuple[str, ...] = ()


def sweep_view(sweep: Sweep) -> SweepView:
    """A sweep as rows, in the order of its grid."""
    names = tuple(sweep.grid)
    texts = [{**_texts(cell, "strategy" in sweep.grid), **_place(cell, sweep.cells)} for cell in sweep.cells]
    numbers = _numbers_with_text(texts)
    return SweepView(
        names=names,
        numbers=numbers,
        rows=tuple(_row(*pair, names, numbers) for pair in zip(sweep.cells, texts, strict=True)),
        axis=_axis(sweep.grid),
        interrupted=sweep.interrupted,
        notes=sweep.notes,
        reasons=tuple((", ".join(_settings(cell, names)), cell.why) for cell in sweep.cells if cell.why),
        answers=sweep.answers,
    )


def _axis(grid: Mapping[str, Sequence[str]]) -> int | None:
    for number, values in enumerate(grid.values()):
        if len(values) > 1 and all(_is_number(text) for text in values):
            return number
    return None


def _numbers_with_text(rows: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """Names of the columns: those that all sweeps have, then those that any cell has a text for.

    With gaps only the latter: the levels come first, and a series of several levels may have no percentiles.
    """
    filled = dict.fromkeys(name for row in rows for name, text in row.items() if text)
    if SETTLING[0] in filled:
        return tuple(filled)
    return tuple(dict.fromkeys([*NUMBERS, *filled]))


def _settings(cell: Cell, names: Sequence[str]) -> tuple[str, ...]:
    texts = (settings.text({name: cell.settings.get(name)}).partition("=")[2] for name in names)
    return tuple(text.removeprefix("builtin:") for text in texts)


def _row(cell: Cell, texts: Mapping[str, str], names: Sequence[str], numbers: Sequence[str]) -> CellRow:
    values = _settings(cell, names)
    summary = cell.summary
    if summary is None:
        return _unmeasured_row(cell, values, len(numbers))
    return CellRow(
        settings=values,
        texts=tuple(texts.get(name, "") for name in numbers),
        p50_ns=_percentile(summary, 50),
        p99_ns=_percentile(summary, 99),
        throughput_fps=summary.throughput,
        met=summary.met,
        error="",
    )


def _unmeasured_row(cell: Cell, values: tuple[str, ...], numbers: int) -> CellRow:
    """The settings, the first line of the error and what to do about it."""
    error, *rest = (cell.error or "not measured").splitlines()
    for line in rest:
        if line.startswith(ADVICE):
            error = f"{error}; {line.strip()}"
    return CellRow(values, ("",) * numbers, None, None, None, None, error)


def _texts(cell: Cell, with_costs: bool) -> dict[str, str]:
    """Texts by the names of NUMBERS, DEVICE_NUMBERS and, if asked, COSTS; nothing for a cell that failed."""
    summary = cell.summary
    if summary is None:
        return {}
    texts: dict[str, str] = {}
    if cell.settling is not None:
        texts |= _settling(cell.settling)
    texts |= {name: text for name, text in _numbers(summary) if text != _REFUSED or cell.settling is None}
    if with_costs and summary.cost is not None:
        texts |= _costs(summary.cost, summary.seconds)
    elif summary.cost is not None:
        texts |= dict(memory_numbers(summary.cost))
    return texts


def _place(cell: Cell, cells: Sequence[Cell]) -> dict[str, str]:
    """The place that measured a cell, where not all were measured on one."""
    names = {each.site.name for each in cells if each.site is not None}
    if cell.site is None or len(names) < 2:
        return {}
    return {PLACE: cell.site.name}


def _settling(levels: Settling) -> dict[str, str]:
    """Texts of SETTLING: levels, and the requests at which the first one ends and the last one begins."""
    jump = "none"
    settle = optional(levels.settle, str) or "not yet"
    if levels.jump is None:
        settle = "at once"
    else:
        jump = f"{levels.jump} {_CHANGES[levels.change or 'level']}"
    values = (
        format_ms(levels.level),
        jump,
        settle,
        format_ms(levels.settled),
        format_ms(levels.back_to_back),
        f"{100 * levels.cost:+.0f} %",
    )
    return dict(zip(SETTLING, values, strict=True))


def _costs(cost: Cost, seconds: float) -> dict[str, str]:
    return {
        "wall": f"{seconds:.1f} s",
        **{name: f"{ns / NS_PER_S:.2f} s" for name, ns in cost.models.items()},
        "at once": f"{cost.together:.2f}",
        "cores": optional(cost.cores, "{:.2f}".format),
        "memory": optional(cost.memory, format_bytes),
        "device memory": optional(cost.device_memory, format_bytes),
        "start-up": optional(cost.startup, format_ms),
    }


def _numbers(summary: Summary) -> Iterator[tuple[str, str]]:
    yield "p50", optional(_percentile(summary, 50), format_ms)
    yield "p99", optional(_percentile(summary, 99), format_ms) or _REFUSED
    yield "fps", format_quantity(summary.throughput, "")
    yield "CPU per frame", optional(summary.process_cpu, format_ms)
    yield "over budget", optional(summary.missed, share)
    yield "kernels", optional(summary.frames.parts.get("compute"), format_ms)
    if summary.served:
        yield from _server_numbers(summary.served[0])
    if summary.devices:
        yield from _device_numbers(summary.devices[0])


def _server_numbers(row: Served) -> Iterator[tuple[str, str]]:
    for name in ("network", "queue", "compute"):
        yield f"server {name}", format_ms(row.parts[name])
    yield "server batch", f"{row.batch:.2g}"


def _device_numbers(device: DeviceSummary) -> Iterator[tuple[str, str]]:
    medians = device.medians
    yield "SM MHz", optional(medians.get("sm_clock_mhz"), "{:,.0f}".format)
    yield "W", optional(medians.get("power_mw"), _watts)
    yield "overlap", optional(device.overlap, share)
    yield "SM", optional(medians.get("sm_activity"), _per_cent)
    yield "DRAM", optional(medians.get("dram_activity"), _per_cent)


def _watts(milliwatts: float) -> str:
    return f"{milliwatts / 1000:,.0f}"


def _per_cent(per_mille: float) -> str:
    return f"{per_mille / 10:.0f} %"


def _percentile(summary: Summary, q: float) -> float | None:
    percentile = summary.frames.percentile(q)
    if percentile is None or percentile.estimate is None:
        return None
    return percentile.estimate.value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
