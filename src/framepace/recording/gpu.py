"""GPU telemetry through NVML: a sampler for each GPU that a plan uses.

Clocks, power and the reasons for a low clock are read at every sample, by readings that hold the interpreter lock
where they are quick. The others come five times per second, energy once (3.3 ms per reading on an H200), and what
blocks (PCIe throughput: 20 ms per counter, NVML reference, nvmlDeviceGetPcieThroughput) on a thread, or from GPM.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from framepace.devices.nvml import Reading, ask, cores_near, find, handles, nodes_near, pci_bus_id, started, stop
from framepace.facts.device import IDLE
from framepace.recording.gpm import open_gpm
from framepace.units import NS_PER_S

PERIOD_S = 0.01
SLOW_S = 0.2
_SELDOM_EVERY = 5  # slow readings
_SM = 1  # NVML_CLOCK_SM
_MEMORY = 2  # NVML_CLOCK_MEM
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


def gpu_samplers(devices: Mapping[int, str], nvml: Any = None) -> list[NvmlSampler]:
    """A sampler for each GPU; none without a driver, and none for a device that NVML does not know.

    Args:
        devices: PCI bus ids or UUIDs, as CUDA has them, by the number in the telemetry's column 'device'. A GPU that
            is named twice is sampled once.
        nvml: a module to use instead of pynvml.
    """
    with started(nvml) as module:
        if module is None:
            return []
        return list(_samplers(module, devices.items()))


def _samplers(nvml: Any, devices: Iterable[tuple[int, str]]) -> Iterator[NvmlSampler]:
    sampled = set()
    for number, name in devices:
        try:
            handle = find(nvml, name)
            uuid = nvml.nvmlDeviceGetUUID(handle)
            if uuid not in sampled:
                sampled.add(uuid)
                yield NvmlSampler(nvml, handle, number)
        except nvml.NVMLError:
            continue


@dataclass(frozen=True)
class GpuStatus:
    """What one GPU is doing now; clocks in MHz, temperatures in C, `processes` as (pid, name, bytes or None).

    Values that the driver does not report are None; `uncorrected` counts memory errors since the last boot. `decoder`
    is how much of the time the video decoders work, `decoding` who lets them, as (pid, name, share); per cent.
    `utilisation` is how much of the last moment (a second at most) kernels ran, per cent; `memory_used` is in bytes.
    `cores` and `nodes` are the host's logical cores and NUMA nodes that are nearest, () where that is not known.
    """

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
    decoder: int | None = None
    decoding: tuple[tuple[int, str, int], ...] = ()
    utilisation: int | None = None
    memory_used: int | None = None
    cores: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()


class NvmlSampler:
    """Samples one GPU; see telemetry.Sampler. Columns that the device does not report are left out.

    Args:
        nvml: the module pynvml or one like it; started again and stopped with the sampler.
        handle: NVML's, of the device.
        device: the number in the column 'device'.
        now: the time in ns.

    `read` raises RuntimeError when a device that answered no longer does.
    """

    period: float | None = PERIOD_S

    def __init__(self, nvml: Any, handle: Any, device: int, now: Callable[[], int] = time.perf_counter_ns) -> None:
        nvml.nvmlInit()
        self._nvml = nvml
        self._handle = handle
        self.device = device
        self._now = now
        self._quick = _readings(nvml, handle, _EVERY_SAMPLE)
        self._gpm = open_gpm(nvml, handle, now)
        self._slow = _SlowColumns(nvml, handle, has_gpm=self._gpm is not None)
        self._slow_row: dict[str, int] = {}
        self._due = now()
        self._open = True

    def read(self) -> dict[str, int]:
        """See Sampler; slow columns repeat their last values in between."""
        row = _read(self._quick)
        if row and max(row.values()) < 0:
            raise RuntimeError("the GPU no longer answers")
        if self._now() >= self._due:
            self._due = self._now() + int(SLOW_S * NS_PER_S)
            self._slow_row |= self._slow.read()
        row |= self._slow_row
        if self._gpm is not None:
            row |= self._gpm.read()
        return row

    def close(self) -> None:
        """See Sampler. Idempotent."""
        if self._open:
            self._open = False
            if self._gpm is not None:
                self._gpm.close()
            self._slow.close()
            stop(self._nvml)


class _SlowColumns:
    """Columns that are read five times per second, and energy once."""

    def __init__(self, nvml: Any, handle: Any, has_gpm: bool) -> None:
        self._nvml = nvml
        self._handle = handle
        self._slow = _readings(nvml, handle, _SOMETIMES)
        self._seldom = _readings(nvml, handle, _SELDOM)
        self._round = 0
        self._pcie: Throughput | None = None
        if not has_gpm:
            self._pcie = _open_throughput(nvml, handle)

    def close(self) -> None:
        """End the thread of the PCIe counters."""
        if self._pcie is not None:
            self._pcie.close()

    def read(self) -> dict[str, int]:
        """Columns by name; those that the device refuses are left out."""
        row = _read(self._slow)
        if self._round % _SELDOM_EVERY == 0:
            row |= _read(self._seldom)
        self._round += 1
        with suppress(self._nvml.NVMLError):  # a GPU in MIG mode has none
            row["utilisation"] = int(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
        with suppress(self._nvml.NVMLError):  # nor has every GPU a video decoder
            row["decoder_utilisation"] = int(self._nvml.nvmlDeviceGetDecoderUtilization(self._handle)[0])
        with suppress(self._nvml.NVMLError):  # an integrated one has no memory of its own
            row["device_memory_bytes"] = int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used)
        if self._pcie is not None:
            row |= self._pcie.last
        return row


class Throughput:
    """PCIe traffic, read over and over on its own thread.

    Args:
        period: seconds between two readings.

    Raises NVMLError if the device does not report it.
    """

    def __init__(self, nvml: Any, handle: Any, period: float = SLOW_S) -> None:
        self._nvml = nvml
        self._handle = handle
        self._period = period
        self.last = self._read()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="pcie-throughput", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()

    def _read(self) -> dict[str, int]:
        return {
            "pcie_rx_bytes_s": self._counter(self._nvml.NVML_PCIE_UTIL_RX_BYTES),
            "pcie_tx_bytes_s": self._counter(self._nvml.NVML_PCIE_UTIL_TX_BYTES),
        }

    def _counter(self, kind: int) -> int:
        return int(self._nvml.nvmlDeviceGetPcieThroughput(self._handle, kind)) * _KB

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
    readings = {}
    for column, names, args, wide in wanted:
        name = next((name for name in names if hasattr(nvml.nvmlLib, name)), None)
        if name is None:
            continue
        reading = Reading(nvml, name, handle, *args, wide=wide)
        if reading.read() >= 0:
            readings[column] = reading
    return readings


def _read(readings: Mapping[str, Reading]) -> dict[str, int]:
    return {column: reading.read() for column, reading in readings.items()}


def gpu_statuses(nvml: Any) -> dict[str, GpuStatus]:
    """What every GPU is doing, by PCI bus id. `nvml` is started."""
    statuses = {}
    for handle in handles(nvml):
        address = pci_bus_id(nvml, handle)
        if address is not None:
            statuses[address] = _status(nvml, handle)
    return statuses


def _status(nvml: Any, handle: Any) -> GpuStatus:
    def device(name: str, *args: Any) -> Any:
        return ask(nvml, getattr(nvml, f"nvmlDeviceGet{name}"), handle, *args)

    return GpuStatus(
        lanes=device("CurrPcieLinkWidth"),
        generation=device("CurrPcieLinkGeneration"),
        reasons=_event_reasons(nvml, handle),
        sm_clock=device("ClockInfo", _SM),
        temperature=device("Temperature", 0),  # NVML_TEMPERATURE_GPU
        slowdown_at=device("TemperatureThreshold", 1),  # NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
        application_clock=device("ApplicationsClock", _SM),
        application_clock_default=device("DefaultApplicationsClock", _SM),
        memory_clock=device("ApplicationsClock", _MEMORY),
        uncorrected=_uncorrected_errors(nvml, handle),
        processes=_other_processes(device("ComputeRunningProcesses") or []),
        decoder=next(iter(device("DecoderUtilization") or []), None),
        decoding=_decoding(device("ProcessUtilization", 0) or []),
        utilisation=_field(device("UtilizationRates"), "gpu"),
        memory_used=_field(device("MemoryInfo"), "used"),
        cores=cores_near(nvml, handle),
        nodes=nodes_near(nvml, handle),
    )


def _field(answer: Any, name: str) -> int | None:
    """A number of a structure that NVML may not have given."""
    if answer is None:
        return None
    return int(getattr(answer, name))


def _decoding(samples: Iterable[Any]) -> tuple[tuple[int, str, int], ...]:
    """The processes whose videos are decoded, by NVML's samples of what each takes; the latest of each counts."""
    shares = {int(sample.pid): int(sample.decUtil) for sample in samples}
    return tuple((pid, _name(pid), share) for pid, share in shares.items() if share > 0)


def _uncorrected_errors(nvml: Any, handle: Any) -> int:
    return ask(nvml, nvml.nvmlDeviceGetTotalEccErrors, handle, 1, 0) or 0  # uncorrected, since the last boot


def _event_reasons(nvml: Any, handle: Any) -> int:
    """Why the clock is not higher, a bit set; that the GPU is idle where nothing is known."""
    reasons = ask(nvml, nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)
    if reasons is None:  # a driver before 535 has the older name only
        reasons = ask(nvml, nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
    if reasons is None:
        return IDLE
    return int(reasons)


def _other_processes(running: Iterable[Any]) -> tuple[tuple[int, str, int | None], ...]:
    return tuple(_process(process) for process in running if process.pid != os.getpid())


def _process(process: Any) -> tuple[int, str, int | None]:
    """(pid, name, bytes)."""
    return int(process.pid), _name(process.pid), process.usedGpuMemory


def _name(pid: int) -> str:
    """Its name; a process of another container has neither a name here nor a number that is its own."""
    import psutil

    try:
        return str(psutil.Process(pid).name())
    except (psutil.Error, ValueError):
        return "a process"
