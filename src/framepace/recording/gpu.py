"""GPU telemetry through NVML: a sampler for each GPU that a plan uses.

Clocks, power and the reasons for a low clock are read at every sample, by readings that hold the interpreter lock
where they are quick. The rest comes five times a second, energy once (3.3 ms a reading on an H200), and what blocks
(PCIe throughput: 20 ms a counter, NVML reference, nvmlDeviceGetPcieThroughput) on a thread of its own, or from GPM.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from framepace.devices.nvml import Reading, ask, find, pci_bus_id, started, stop
from framepace.facts.device import IDLE
from framepace.recording.gpm import open_gpm
from framepace.units import NS_PER_S

PERIOD_S = 0.01
SLOW_S = 0.2
_SELDOM_EVERY = 5  # slow readings
_SM, _MEMORY = 1, 2  # NVML_CLOCK_SM, NVML_CLOCK_MEM
_KB = 1000
# Column, the C function (or those of older drivers after it), arguments, whether the number has 64 bits.
_Quick = tuple[str, tuple[str, ...], tuple[int, ...], bool]
_EVERY_SAMPLE: tuple[_Quick, ...] = (
    ("sm_clock_mhz", ("nvmlDeviceGetClockInfo",), (_SM,), False),
    ("memory_clock_mhz", ("nvmlDeviceGetClockInfo",), (_MEMORY,), False),
    ("power_mw", ("nvmlDeviceGetPowerUsage",), (), False),
    (
        "event_reasons",
        ("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"),
        (),
        True,
    ),
)
_SOMETIMES: tuple[_Quick, ...] = (
    ("temperature_c", ("nvmlDeviceGetTemperature",), (0,), False),  # NVML_TEMPERATURE_GPU
    ("pcie_generation", ("nvmlDeviceGetCurrPcieLinkGeneration",), (), False),
    ("pcie_lanes", ("nvmlDeviceGetCurrPcieLinkWidth",), (), False),
)
_SELDOM: tuple[_Quick, ...] = (("energy_mj", ("nvmlDeviceGetTotalEnergyConsumption",), (), True),)


def gpu_samplers(devices: Sequence[str] | Mapping[int, str], nvml: Any = None) -> list[NvmlSampler]:
    """A sampler for each GPU; none without a driver, and none for a device that NVML does not know.

    Args:
        devices: PCI bus ids or UUIDs, as CUDA tells them. Their places, or the keys of a mapping, are the numbers in
            the telemetry's column 'device'. A GPU that is named twice is sampled once.
        nvml: a module to use instead of pynvml.
    """
    numbered = devices.items() if isinstance(devices, Mapping) else enumerate(devices)
    with started(nvml) as module:
        return [] if module is None else list(_samplers(module, numbered))


def _samplers(nvml: Any, devices: Iterable[tuple[int, str]]) -> Iterator[NvmlSampler]:
    seen = set()
    for number, name in devices:
        try:
            handle = find(nvml, name)
            uuid = nvml.nvmlDeviceGetUUID(handle)
            if uuid not in seen:
                seen.add(uuid)
                yield NvmlSampler(nvml, handle, number)
        except nvml.NVMLError:
            continue


@dataclass(frozen=True)
class Now:
    """What one GPU is doing now; clocks in MHz, temperatures in C, `processes` as (pid, name, bytes or None)."""

    lanes: int | None = None
    generation: int | None = None
    reasons: int = IDLE
    sm_clock: int | None = None
    temperature: int | None = None
    slowdown_at: int | None = None
    application_clock: int | None = None
    application_clock_default: int | None = None
    memory_clock: int | None = None
    uncorrected: int = 0
    processes: tuple[tuple[int, str, int | None], ...] = ()


class NvmlSampler:
    """Samples one GPU; see telemetry.Sampler. What the device does not tell is left out.

    Args:
        nvml: the module pynvml or one like it; started once more and stopped with the sampler.
        handle: NVML's, of the device.
        device: the number in the column 'device'.
        now: the time in ns.

    `read` raises RuntimeError when a device that answered no longer does.
    """

    period = PERIOD_S

    def __init__(self, nvml: Any, handle: Any, device: int, now: Callable[[], int] = time.perf_counter_ns) -> None:
        nvml.nvmlInit()
        self._nvml, self._handle, self.device, self._now = nvml, handle, device, now
        self._quick, self._slow = _readings(nvml, handle, _EVERY_SAMPLE), _readings(nvml, handle, _SOMETIMES)
        self._seldom, self._round = _readings(nvml, handle, _SELDOM), 0
        self._gpm = open_gpm(nvml, handle, now)
        self._pcie = None if self._gpm else _open_throughput(nvml, handle)
        self._held: dict[str, int] = {}
        self._due = now()
        self._open = True

    def read(self) -> dict[str, int]:
        """See Sampler; what is read five times a second is repeated in between."""
        row = {column: reading.read() for column, reading in self._quick.items()}
        if row and max(row.values()) < 0:
            raise RuntimeError("the GPU no longer answers")
        if self._now() >= self._due:
            self._due = self._now() + int(SLOW_S * NS_PER_S)
            self._held |= self._read_slow()
        row |= self._held
        if self._gpm is not None:
            row |= self._gpm.read()
        return row

    def close(self) -> None:
        """See Sampler. Idempotent."""
        if self._open:
            self._open = False
            for part in (self._gpm, self._pcie):
                if part is not None:
                    part.close()
            stop(self._nvml)

    def _read_slow(self) -> dict[str, int]:
        row = {column: reading.read() for column, reading in self._slow.items()}
        if self._round % _SELDOM_EVERY == 0:
            row |= {column: reading.read() for column, reading in self._seldom.items()}
        self._round += 1
        with suppress(self._nvml.NVMLError):  # a GPU in MIG mode has none
            row["utilisation"] = int(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
        with suppress(self._nvml.NVMLError):  # an integrated one has no memory of its own
            row["device_memory_bytes"] = int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        return row | (self._pcie.last if self._pcie is not None else {})


class Throughput:
    """PCIe traffic, read over and over on a thread of its own.

    Args:
        period: seconds between two readings.

    Raises NVMLError where the device does not tell.
    """

    def __init__(self, nvml: Any, handle: Any, period: float = SLOW_S) -> None:
        self._nvml, self._handle, self._period = nvml, handle, period
        self.last = self._read()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="pcie-throughput", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()

    def _read(self) -> dict[str, int]:
        def counter(kind: int) -> int:
            return int(self._nvml.nvmlDeviceGetPcieThroughput(self._handle, kind)) * _KB

        rx, tx = counter(self._nvml.NVML_PCIE_UTIL_RX_BYTES), counter(self._nvml.NVML_PCIE_UTIL_TX_BYTES)
        return {"pcie_rx_bytes_s": rx, "pcie_tx_bytes_s": tx}

    def _loop(self) -> None:
        while not self._end.wait(self._period):
            try:
                self.last = self._read()
            except self._nvml.NVMLError:
                self.last = {}


def _open_throughput(nvml: Any, handle: Any) -> Throughput | None:
    try:
        return Throughput(nvml, handle)
    except nvml.NVMLError:
        return None


def _readings(nvml: Any, handle: Any, wanted: tuple[_Quick, ...]) -> dict[str, Reading]:
    """Those that this driver has and this device answers."""
    found = {}
    for column, names, args, wide in wanted:
        name = next((name for name in names if hasattr(nvml.nvmlLib, name)), None)
        if name is None:
            continue
        reading = Reading(nvml, name, handle, *args, wide=wide)
        if reading.read() >= 0:
            found[column] = reading
    return found


def look_devices(nvml: Any) -> dict[str, Now]:
    """What every GPU is doing, by PCI bus id. `nvml` is started."""
    found = {}
    for index in range(ask(nvml, nvml.nvmlDeviceGetCount) or 0):
        handle = ask(nvml, nvml.nvmlDeviceGetHandleByIndex, index)
        address = None if handle is None else pci_bus_id(nvml, handle)
        if address is not None:
            found[address] = _now(nvml, handle)
    return found


def _now(nvml: Any, handle: Any) -> Now:
    def told(name: str, *args: Any) -> Any:
        return ask(nvml, getattr(nvml, name), handle, *args)

    running = told("nvmlDeviceGetComputeRunningProcesses") or []
    reasons = told("nvmlDeviceGetCurrentClocksEventReasons")
    if reasons is None:  # a driver before 535 knows the older name
        reasons = told("nvmlDeviceGetCurrentClocksThrottleReasons")
    return Now(
        lanes=told("nvmlDeviceGetCurrPcieLinkWidth"),
        generation=told("nvmlDeviceGetCurrPcieLinkGeneration"),
        reasons=IDLE if reasons is None else reasons,
        sm_clock=told("nvmlDeviceGetClockInfo", _SM),
        temperature=told("nvmlDeviceGetTemperature", 0),  # NVML_TEMPERATURE_GPU
        slowdown_at=told("nvmlDeviceGetTemperatureThreshold", 1),  # NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        application_clock=told("nvmlDeviceGetApplicationsClock", _SM),
        application_clock_default=told("nvmlDeviceGetDefaultApplicationsClock", _SM),
        memory_clock=told("nvmlDeviceGetApplicationsClock", _MEMORY),
        uncorrected=told("nvmlDeviceGetTotalEccErrors", 1, 0) or 0,  # uncorrected, since the last boot
        processes=tuple(_process(process) for process in running if process.pid != os.getpid()),
    )


def _process(found: Any) -> tuple[int, str, int | None]:
    """Of another container a process has neither a name here nor a number that is its own."""
    import psutil

    try:
        name = psutil.Process(found.pid).name()
    except (psutil.Error, ValueError):
        name = "a process"
    return int(found.pid), name, found.usedGpuMemory
