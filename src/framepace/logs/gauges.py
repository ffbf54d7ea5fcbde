"""Clocks, power, temperature and the like of a log, as telemetry of its trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.facts.log import Role
from framepace.facts.trace import TELEMETRY_COLUMNS, Column
from framepace.logs.rows import LogRows, whole_numbers
from framepace.logs.table import Floats

_MOST_SAMPLES = 20_000  # figures have a few thousand points
_MHZ: Mapping[str, float] = {"hz": 1e-6, "khz": 1e-3, "mhz": 1.0, "ghz": 1e3}
_MHZ_UNDER = 1e5  # a clock over it is in kHz, as Linux writes them, or in Hz
_KHZ_UNDER = 1e8
_CLOCKS: tuple[Role, ...] = ("sm_clock", "memory_clock", "cpu_clock")
_OF_GPU: Mapping[Role, str] = {
    "sm_clock": "sm_clock_mhz",
    "memory_clock": "memory_clock_mhz",
    "power": "power_mw",
    "temperature": "temperature_c",
    "utilisation": "utilisation",
}
_OF_HOST: Mapping[Role, str] = {"cpu_clock": "cpu_mhz"}
GAUGES: tuple[Role, ...] = (*_OF_GPU, *_OF_HOST)
"""The roles that become telemetry."""


def telemetry(rows: LogRows) -> dict[str, Column]:
    """The gauges as samples at the times of their rows: those of the GPU, then those of the host."""
    blocks = [dict(_block(rows, columns, device)) for device, columns in ((0, _OF_GPU), (-1, _OF_HOST))]
    blocks = [block for block in blocks if len(block) > 2]  # more than times and device
    take = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_SAMPLES)).astype(np.intp))
    return {name: _samples(name, blocks, take) for name in TELEMETRY_COLUMNS}


def _samples(name: str, blocks: Sequence[Mapping[str, Column]], take: NDArray[np.intp]) -> Column:
    """A telemetry column over the blocks, of the rows to take; -1 where a block does not have it."""
    nothing = np.full(int(take[-1]) + 1, -1, np.int64)
    values = [block.get(name, nothing)[take] for block in blocks]
    return np.concatenate([np.empty(0, np.int64), *values])


def sm_clock(rows: LogRows) -> Column:
    """The clock of the device at each row, MHz; -1 where it is not logged."""
    return _gauge(rows, "sm_clock")


def _block(rows: LogRows, columns: Mapping[Role, str], device: int) -> Iterator[tuple[str, Column]]:
    yield "time", rows.due
    yield "device", np.full(len(rows), device, np.int64)
    for role, name in columns.items():
        if rows.column(role) is not None:
            yield name, _gauge(rows, role)


def _gauge(rows: LogRows, role: Role) -> Column:
    """A gauge in the unit of its telemetry column; -1 where there is none."""
    column = rows.column(role)
    numbers = rows.numbers(column)
    unit = "" if column is None else column.unit
    scaled = numbers * _factor(role, unit, numbers)
    return whole_numbers(np.where(scaled >= 0, scaled, -1))


def _factor(role: Role, unit: str, numbers: Floats) -> float:
    if role == "power" and unit != "mw":
        return 1e3
    if role not in _CLOCKS:
        return 1.0
    if unit in _MHZ:
        return _MHZ[unit]
    largest = float(np.max(np.nan_to_num(numbers), initial=0.0))
    if largest < _MHZ_UNDER:
        return 1.0
    return 1e-3 if largest < _KHZ_UNDER else 1e-6
