"""Telemetry of the simulated device: what it was doing, tick by tick, as rows of facts.trace.TELEMETRY_COLUMNS."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from framepace.facts.trace import TELEMETRY_COLUMNS
from framepace.units import NS_PER_S

if TYPE_CHECKING:
    from framepace.clock.system import Clock
    from framepace.simulate.device import Device, Job

_NAMES = tuple(TELEMETRY_COLUMNS)
_ROW = struct.Struct(f"<{len(_NAMES)}q")
# The columns of a sample, in this order.
SAMPLED = (
    "time", "device", "sm_clock_mhz", "memory_clock_mhz", "power_mw", "temperature_c", "utilisation", "event_reasons",
    "pcie_rx_bytes_s", "pcie_tx_bytes_s", "sm_activity", "tensor_activity", "dram_activity", "device_memory_bytes",
    "pcie_generation", "pcie_lanes", "energy_mj",
)  # fmt: skip
_PLACES = tuple(_NAMES.index(name) for name in SAMPLED)
Sample = tuple[int, ...]


class Activity:
    """What the device did since the last tick: busy time of its parts in ns (SMs and memory by share), bytes copied."""

    __slots__ = ("_busy", "_dram", "_sm", "_tensor", "busy", "down", "dram", "sm", "tensor", "up")

    def __init__(self) -> None:
        self._busy = False
        self._sm = 0.0
        self._tensor = 0.0
        self._dram = 0.0
        self.clear()

    def clear(self) -> None:
        """Begin the next tick; what runs goes on."""
        self.busy = self.up = self.down = 0
        self.sm = self.tensor = self.dram = 0.0

    def rates(self, running: Sequence[Job], sm: float, dram: float) -> None:
        """From now on the device runs these, which want this much of its SMs and memory."""
        self._busy = bool(running)
        self._sm = min(1.0, sm)
        self._dram = min(1.0, dram)
        tensor = sum(job.sm * job.demand.part for job in running if job.demand.tensor)
        self._tensor = min(1.0, tensor)

    def pass_time(self, ns: int) -> None:
        """Go on for `ns`."""
        if self._busy:
            self.busy += ns
            self.sm += ns * self._sm
            self.tensor += ns * self._tensor
            self.dram += ns * self._dram


def sample(now: int, device: Device, activity: Activity, length: int) -> Sample:
    """The columns SAMPLED at `now`, for the `length` ns before."""
    model = device.model
    governor = device.governor
    return (
        now, device.index, governor.mhz, model.memory_mhz, int(governor.power_w * 1000), round(governor.temperature_c),
        round(100 * activity.busy / length), governor.reasons,
        _per_second(activity.up, length), _per_second(activity.down, length),
        _per_mille(activity.sm, length), _per_mille(activity.tensor, length),
        _per_mille(activity.dram, length), device.memory,
        model.pcie_generation or -1, model.pcie_lanes or -1, int(governor.energy_mj),
    )  # fmt: skip


def _per_mille(part: float, length: int) -> int:
    return round(1000 * part / length)


def _per_second(size: int, ns: int) -> int:
    return size * NS_PER_S // ns


def packed(samples: Iterable[Sample]) -> bytes:
    """Samples as packed rows; columns that a device does not have are -1."""
    return b"".join(_pack(zip(_PLACES, values, strict=True)) for values in samples)


def host_row(clock: Clock) -> bytes:
    """A packed row of the virtual host: CPU time of all threads so far and how long a quota stopped them, ns; pages."""
    values = {
        "time": clock.now(),
        "process_cpu": clock.process_cpu(),
        "throttled": clock.throttled(),
        "faults_major": clock.pages_read(),
    }
    return _pack((_NAMES.index(name), value) for name, value in values.items())


def _pack(values: Iterable[tuple[int, Any]]) -> bytes:
    row = [-1] * len(_NAMES)
    for place, value in values:
        row[place] = value
    return _ROW.pack(*row)


class VirtualTelemetry:
    """The telemetry of a run on a virtual clock (see recording.recorder.Sampling): nothing runs beside it.

    `sink` gets a row of the host with the CPU time of all threads at both ends of the run, and at its end the rows of
    the simulated devices.

    Args:
        fetch: packed rows of all devices since the last call.
    """

    def __init__(self, sink: Callable[[bytes], None], clock: Clock, fetch: Callable[[], bytes]) -> None:
        self._sink = sink
        self._clock = clock
        self._fetch = fetch
        self.failures: dict[str, str] = {}
        self.overhead: dict[str, float] = {}

    def __enter__(self) -> VirtualTelemetry:
        self._fetch()  # drops the rows from before the run
        self._host()
        return self

    def __exit__(self, *_: object) -> None:
        self._sink(self._fetch())
        self._host()

    def _host(self) -> None:
        self._sink(host_row(self._clock))
