"""When each frame began and how long it took, ns: units that nobody wrote are concluded from the values, or asked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.facts.log import DEVICE_ROLES, STAGE_ROLES, LogColumn, Role
from framepace.logs.errors import question
from framepace.logs.names import DURATIONS
from framepace.logs.roles import Roles
from framepace.logs.table import Floats
from framepace.units import NS_PER_MS, NS_PER_S, format_ms

_CANDIDATES = ("s", "ms", "us", "ns")
_DURATIONS: tuple[Role, ...] = ("latency", *STAGE_ROLES, *DEVICE_ROLES)
_OPEN_FROM = 0.2  # seconds or milliseconds: 500 ms or 0.5 ms
_OPEN_TO = 2.0
_MS_UNDER = 5_000.0
_US_UNDER = 2_000_000.0
_FEWEST_IN_FLIGHT = 1 / 50  # latency over the time from row to row, where the unit of the latency is to be found
_MOST_IN_FLIGHT = 20.0
_STAGE_OVER = 1.5  # times the latency, that a stage cannot take
_NEXT_TO_NOTHING = 2_000  # of the latency: a stage in another unit
_COARSE_NS = NS_PER_S // 2  # moments so far apart are written in whole seconds
_EPOCH_S = 5e8  # a moment over it counts since 1970
_AFTER_THE_END = 0.9  # of the rows fit to 'written at the end'
_SUM_OVER = 1.02  # stages may add up to so much more than the latency by rounding
_SHORTEST_PART = 20  # rows of a run that is followed by another
_MOST_BACK = 0.1  # of the steps
_MOST_NAMED = 3
_LONGEST_RUN_NS = 4 * 10**18


@dataclass
class Times:
    """`due` and `latency` in ns as float64, shape (rows,), NaN where not known; stages by role, and sentences."""

    due: Floats
    latency: Floats
    stages: dict[Role, Floats]
    roles: Roles
    notes: list[str] = field(default_factory=list)


def times_of(roles: Roles) -> Times:
    """When frames began and how long they took. Raises UsageError with the one question that is open."""
    notes: list[str] = []
    roles = _with_duration_units(roles, notes)
    stages = _stages(roles)
    latency = _latency(roles, stages, notes)
    due = _due(roles, latency, notes)
    if latency is None:
        latency = _intervals(due, notes)
    latency = _at_least_stages(latency, stages, notes)
    return Times(due, latency, stages, roles, notes)


def _with_duration_units(roles: Roles, notes: list[str]) -> Roles:
    """The columns, each duration with a unit: the one that others have, else what their values can only be."""
    unitless = [column for column in roles.named(*_DURATIONS) if column.unit not in DURATIONS]
    if not unitless:
        return roles
    shared = _shared_duration_unit(unitless, roles)
    whole = _whole_ns(roles, shared)
    units = {column.name: _fitting(_median(roles.numbers(column)), shared, whole) for column in unitless}
    for column in unitless:
        size = f"values around {_median(roles.numbers(column)):.4g}"
        notes.append(f"{column.name!r} is in {units[column.name]}, concluded from its {size}")
    return Roles(roles.table, tuple(_with_unit(column, units) for column in roles.columns))


def _with_unit(column: LogColumn, units: Mapping[str, str]) -> LogColumn:
    if column.name not in units:
        return column
    return replace(column, unit=units[column.name], why=column.why or "unit concluded from its values")


def _shared_duration_unit(unitless: Sequence[LogColumn], roles: Roles) -> str:
    """The unit of columns that name none. Raises UsageError where nothing says it."""
    written = {column.unit for column in roles.named(*_DURATIONS)} & DURATIONS.keys()
    if len(written) == 1:
        return written.pop()
    latency = [column for column in unitless if column.role == "latency"]
    if latency:
        median = _median(roles.numbers(latency[0]))
        return _unit_by_rate(median, roles) or _unit_by_size(latency[0], median)
    total = sum(_median(roles.numbers(column)) for column in unitless)
    return _unit_by_rate(total, roles) or _unit_by_size(unitless[0], total)


def _whole_ns(roles: Roles, shared: str) -> float:
    """The typical latency, 0 where none is logged."""
    for column in roles.named("latency"):
        return _median(roles.numbers(column)) * DURATIONS.get(column.unit, DURATIONS[shared])
    return 0.0


def _fitting(median: float, unit: str, whole: float) -> str:
    """`unit`, or the one with which a stage is neither longer than its frame nor next to nothing of it."""
    if not whole or not median:
        return unit
    while median * DURATIONS[unit] > _STAGE_OVER * whole and unit != "ns":
        unit = _CANDIDATES[_CANDIDATES.index(unit) + 1]
    while median * DURATIONS[unit] < whole / _NEXT_TO_NOTHING and unit != "s":
        unit = _CANDIDATES[_CANDIDATES.index(unit) - 1]
    return unit


def _unit_by_rate(median: float, roles: Roles) -> str:
    """The unit with which frames overlap least without being next to nothing, where moments have a unit; '' else."""
    step = _step_ns(roles)
    if step is None or median <= 0:
        return ""
    fits = [unit for unit in _CANDIDATES if _FEWEST_IN_FLIGHT <= median * DURATIONS[unit] / step <= _MOST_IN_FLIGHT]
    return fits[0] if len(fits) == 1 else ""


def _unit_by_size(column: LogColumn, median: float) -> str:
    """What the size alone says; asks between seconds and milliseconds where it says nothing."""
    if _OPEN_FROM <= median < _OPEN_TO:
        answers = [f"--column {shlex.quote(f'{column.role}={column.name}:{unit}')}" for unit in ("ms", "s")]
        got = f"values around {median:.3g}: {median:.3g} ms, or {median * 1000:.3g} ms if they are seconds"
        raise question(f"in which unit is the column {column.name!r}?", got, answers, "a unit: s, ms, us or ns")
    if median < _OPEN_FROM:
        return "s"
    if median < _MS_UNDER:
        return "ms"
    return "us" if median < _US_UNDER else "ns"


def _step_ns(roles: Roles) -> float | None:
    """The mean time between rows, where the unit of a moment is known without the latency; ns."""
    for column in roles.named("time", "start", "end"):
        moments = _known_moments(column, roles)
        if moments is not None:
            moments = moments[np.isfinite(moments)]
            if len(moments) > 1 and moments.max() > moments.min():
                return float(moments.max() - moments.min()) / (len(moments) - 1)
    return None


def _known_moments(column: LogColumn, roles: Roles) -> Floats | None:
    """A column of moments in ns, where their unit is written or they count since 1970; None else."""
    cells = roles.table.columns[column.name]
    if cells.moments is not None:
        first = int(cells.moments[cells.moments >= 0].min(initial=_LONGEST_RUN_NS))
        return np.where(cells.moments < 0, np.nan, (cells.moments - first).astype(np.float64))
    numbers = roles.numbers(column)
    unit = column.unit if column.unit in DURATIONS else _epoch_unit(_median(numbers))
    if not unit:
        return None
    return _from_first(numbers) * DURATIONS[unit]


def _epoch_unit(median: float) -> str:
    """The unit of moments since 1970: they lie between 1985 and 2128."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)):
        if _EPOCH_S * factor <= median < 10 * _EPOCH_S * factor:
            return unit
    return ""


def _from_first(numbers: Floats) -> Floats:
    """The numbers from the smallest on: a moment since 1970 in ns is too large for exact arithmetic."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return numbers
    return np.asarray(numbers - finite.min())


def _stages(roles: Roles) -> dict[Role, Floats]:
    """The stages in ns by role: columns of one role are added up, a cell without a number counts as nothing."""
    stages: dict[Role, Floats] = {}
    for column in roles.named(*STAGE_ROLES, *DEVICE_ROLES):
        durations = np.nan_to_num(roles.numbers(column)) * DURATIONS[column.unit]
        stages[column.role] = stages.get(column.role, np.zeros(roles.table.rows)) + np.maximum(durations, 0.0)
    device = [stages[role] for role in DEVICE_ROLES if role in stages]
    if device and "infer" not in stages:
        stages["infer"] = np.asarray(sum(device))
    return stages


def _latency(roles: Roles, stages: dict[Role, Floats], notes: list[str]) -> Floats | None:
    """The latency in ns; None where only moments can say it."""
    for column in roles.named("latency"):
        latency = roles.numbers(column) * DURATIONS[column.unit]
        return np.where(latency < 0, np.nan, latency)
    if roles.has("start") and roles.has("end"):
        return _from_start_to_end(roles, notes)
    of_frame = [stages[role] for role in STAGE_ROLES if role in stages]
    if of_frame:
        notes.append("the latency is the sum of the stages")
        return np.asarray(sum(of_frame))
    return _periods(roles, notes)


def _periods(roles: Roles, notes: list[str]) -> Floats | None:
    """One over frames per second, ns; None where they are not logged."""
    for column in roles.named("fps"):
        notes.append(f"the latency is one over {column.name!r}")
        rate = roles.numbers(column)
        return np.asarray(NS_PER_S / np.where(rate > 0, rate, np.nan))
    return None


def _from_start_to_end(roles: Roles, notes: list[str]) -> Floats:
    (start,) = roles.named("start")
    (end,) = roles.named("end")
    notes.append(f"the latency is from {start.name!r} to {end.name!r}")
    spans = _spans(start, end, roles)
    return np.where(spans < 0, np.nan, spans)


def _spans(start: LogColumn, end: LogColumn, roles: Roles) -> Floats:
    """From start to end, ns: exact for dates, whose distance to 1970 is too large for a float."""
    begin, finish = (roles.table.columns[column.name].moments for column in (start, end))
    if begin is not None and finish is not None:
        return np.where((begin < 0) | (finish < 0), np.nan, (finish - begin).astype(np.float64))
    unit = _shared_unit((start, end), roles)
    return np.asarray((roles.numbers(end) - roles.numbers(start)) * DURATIONS[unit])


def _shared_unit(columns: Sequence[LogColumn], roles: Roles) -> str:
    """The unit of start and end: the one that is written, that of moments since 1970, or what their distance can be."""
    for column in columns:
        if column.unit in DURATIONS:
            return column.unit
    start, end = (roles.numbers(column) for column in columns)
    return _epoch_unit(_median(start)) or _unit_by_size(columns[1], _median(end - start))


def _due(roles: Roles, latency: Floats | None, notes: list[str]) -> Floats:
    """When each frame began, ns from the first; rows one after the other where no moment is logged."""
    columns = (*roles.named("start"), *roles.named("time"), *roles.named("end"))
    if not columns:
        return _one_after_the_other(roles.table.rows, latency, notes)
    column = columns[0]
    moments = _spread(_in_one_run(_moments(column, roles, latency, notes), column, roles, notes), notes)
    if latency is not None and _is_end(column, moments, latency):
        notes.append(f"{column.name!r} is taken as the end of a frame: it fits to the latencies")
        return np.asarray(moments - np.nan_to_num(latency))
    return moments


def _in_one_run(moments: Floats, column: LogColumn, roles: Roles, notes: list[str]) -> Floats:
    """Moments that begin again, in a second run or where the clock was set back, go on after those before.

    Rows of several cameras, models or threads may stand one after the other: theirs stay as they are.
    """
    starts = [] if roles.has("source", "model", "worker") else _restarts(moments)
    if not starts:
        return moments
    rows = ", ".join(str(row + 1) for row in starts[:_MOST_NAMED])
    notes.append(f"{column.name!r} begins again in row {rows}: those rows are taken to follow the ones before")
    moments = moments.copy()
    step = _median(np.diff(moments))
    for row in starts:
        moments[row:] += np.nanmax(moments[:row]) + step - moments[row]
    return moments


def _restarts(moments: Floats) -> list[int]:
    """Rows whose moment is not after the first of the run before them, of runs that are long enough to be some."""
    starts = [0]
    back = np.flatnonzero(np.diff(moments) < 0) + 1
    if len(back) > _MOST_BACK * len(moments):  # in no order at all
        return []
    for row in back:
        if row - starts[-1] >= _SHORTEST_PART and moments[row] <= moments[starts[-1]]:
            starts.append(int(row))
    return starts[1:]


def _one_after_the_other(rows: int, latency: Floats | None, notes: list[str]) -> Floats:
    notes.append("no moments are logged: each frame is taken to begin when the one before ended")
    if latency is None:
        return np.zeros(rows)
    ends = np.cumsum(np.nan_to_num(latency, nan=0.0))
    return np.concatenate([[0.0], ends[:-1]])


def _moments(column: LogColumn, roles: Roles, latency: Floats | None, notes: list[str]) -> Floats:
    moments = _known_moments(column, roles)
    if moments is not None:
        return moments
    numbers = _from_first(roles.numbers(column))
    unit = _moment_unit(column, numbers, latency)
    notes.append(f"{column.name!r} is in {unit}, concluded from its steps")
    return np.asarray(numbers * DURATIONS[unit])


def _moment_unit(column: LogColumn, numbers: Floats, latency: Floats | None) -> str:
    """The unit of moments with which frames overlap least and do not lie days apart. Asks where none fits."""
    finite = numbers[np.isfinite(numbers)]
    step = float(finite.max() - finite.min()) / max(1, len(finite) - 1) if len(finite) else 0.0
    typical = 20.0 * NS_PER_MS if latency is None or not np.isfinite(latency).any() else _median(latency)
    for unit in ("ns", "us", "ms", "s"):
        if step * DURATIONS[unit] >= 0.3 * typical > 0:
            return unit
    answers = [f"--column {shlex.quote(f'{column.role}={column.name}:{unit}')}" for unit in ("s", "ms")]
    got = f"{step:.3g} from row to row, latencies around {format_ms(typical)}"
    raise question(f"in which unit is the column {column.name!r}?", got, answers, "a unit: s, ms, us or ns")


def _spread(moments: Floats, notes: list[str]) -> Floats:
    """Moments that were written in whole seconds or so, spread evenly over each."""
    order = np.argsort(moments, kind="stable")
    steps = np.diff(moments[order])
    rises = steps[steps > 0]
    # Moments that lie closer are those of cameras that take their pictures together.
    if len(rises) > 0.5 * len(steps) or not len(rises) or float(np.median(rises)) < _COARSE_NS:
        return moments
    notes.append("several rows share a moment: they are spread evenly over it")
    spread = np.empty_like(moments)
    spread[order] = _evenly(moments[order], float(np.median(rises)))
    return spread


def _evenly(ordered: Floats, step: float) -> Floats:
    """Rows of one moment, spread up to the next one; the last ones over `step` ns."""
    starts = np.flatnonzero(np.diff(ordered, prepend=-1.0) != 0)
    places = np.append(starts, len(ordered))
    ends = np.append(ordered[starts], ordered[-1] + step)
    return np.asarray(np.interp(np.arange(len(ordered)), places, ends))


def _is_end(column: LogColumn, moments: Floats, latency: Floats) -> bool:
    """Whether a row was written when its frame ended: one after the other, no frame begins before the last ended."""
    if column.role != "time":
        return column.role == "end"
    fits_end = _no_overlap(moments - latency, moments)
    fits_start = _no_overlap(moments, moments + latency)
    return fits_end >= _AFTER_THE_END and fits_start < fits_end


def _no_overlap(start: Floats, end: Floats) -> float:
    """The share of frames that begin when the one before has ended, give or take 2 % of a frame."""
    order = np.argsort(start, kind="stable")
    begins = start[order][1:]
    ended = end[order][:-1]
    slack = 0.02 * np.nan_to_num(ended - start[order][:-1])
    return float(np.mean(begins >= ended - slack)) if len(begins) else 0.0


def _intervals(due: Floats, notes: list[str]) -> Floats:
    """The time from each row to the next, as the latency of frames of which only the moment is logged."""
    notes.append("no duration is logged: the latency is the time from row to row")
    steps = np.diff(due)
    return np.append(np.where(steps < 0, np.nan, steps), np.nan)


def _at_least_stages(latency: Floats, stages: dict[Role, Floats], notes: list[str]) -> Floats:
    """The latency, or the sum of the stages of the frames in which they are longer."""
    of_frame = [stages[role] for role in STAGE_ROLES if role in stages]
    if not of_frame:
        return latency
    total = np.asarray(sum(of_frame))
    longer = np.asarray(total > np.nan_to_num(latency, nan=np.inf))
    if np.mean(total > _SUM_OVER * np.nan_to_num(latency, nan=np.inf)) > 0.05:
        notes.append("the stages add up to more than the latency: their sum counts where it is longer")
    return np.where(longer, total, latency)


def _median(numbers: NDArray[np.float64]) -> float:
    """The median of the finite numbers; 0 without any."""
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return 0.0
    return float(np.median(finite))
