"""Checks of one GPU: its modes, power, clocks, link, memory, and who else uses it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from framepace.doctoring import check
from framepace.doctoring.gpulinks import ranges
from framepace.facts.check import Check
from framepace.facts.device import APPLICATION_CLOCKS, IDLE, LIMITING, reason_names
from framepace.facts.machine import Gpu
from framepace.recording.gpu import GpuStatus
from framepace.units import format_bytes

_BY_HARDWARE = 0x008 | 0x040 | 0x080  # slowdowns that the board itself orders, in facts.device.EVENT_REASONS
_COMPUTE_MODES = {
    "exclusive process": ("EXCLUSIVE_PROCESS", "one process at a time may use it: strategy=processes fails"),
    "prohibited": ("PROHIBITED", "no process may use it"),
}
_HOT_C = 5  # below the temperature at which the board slows down
_LOCKED_BELOW = 0.95  # of the highest clock
_IDLE_AND_HIGH = 0.9
_PROCESSES_NAMED = 4
_BUSY_PER_CENT = 5  # of the last moment: below that are the driver's own chores and a desktop


def judge_gpu(name: str, index: int, gpu: Gpu, status: GpuStatus) -> Iterator[Check]:
    """The checks of one GPU, which the report calls `name` and nvidia-smi `index`."""
    device = _Device(name, f"sudo nvidia-smi -i {gpu.pci_bus_id or index}", gpu, status)
    yield check.info(name, f"{gpu.name}, {format_bytes(gpu.memory_bytes)}, driver {gpu.driver}")
    yield from _load(device)
    yield from _place(device)
    yield from _modes(device)
    yield from _power(device)
    yield from _temperature(device)
    yield from _limits(device)
    yield from _clocks(device)
    yield from _link(device)
    yield from _memory(device)
    yield from _video(device)
    yield from _neighbours(device)


@dataclass(frozen=True)
class _Device:
    """A GPU with what its checks are called and how its commands begin."""

    name: str
    smi: str
    gpu: Gpu
    status: GpuStatus

    def warn(self, topic: str, text: str, why: str, fix: str | None = None, undo: str | None = None) -> Check:
        """A check of this GPU; `fix` and `undo` are options of nvidia-smi."""
        return check.warn(f"{self.name} {topic}", text, why, self._command(fix), self._command(undo))

    def info(self, topic: str, text: str, why: str = "") -> Check:
        """A check of this GPU that needs no action."""
        return check.info(f"{self.name} {topic}", text, why)

    def bad(self, topic: str, text: str, why: str) -> Check:
        """A check of this GPU that none of its own settings fixes."""
        return check.bad(f"{self.name} {topic}", text, why)

    def _command(self, option: str | None) -> str | None:
        if option is None:
            return None
        return f"{self.smi} {option}"


def _load(device: _Device) -> Iterator[Check]:
    """Whether it is busy, and how much of its memory is in use."""
    status = device.status
    is_busy = (status.utilisation or 0) >= _BUSY_PER_CENT
    parts = []
    if status.utilisation is not None:
        parts.append(_utilisation_words(status.utilisation, is_busy))
    if status.memory_used is not None:
        parts.append(f"{format_bytes(status.memory_used)} of {format_bytes(device.gpu.memory_bytes)} in use")
    if is_busy and not status.processes:
        why = "kernels of a process that cannot be seen from here take turns with yours"
        yield device.warn("load", ", ".join(parts), why)
    elif parts:
        yield device.info("load", ", ".join(parts))


def _utilisation_words(per_cent: int, is_busy: bool) -> str:
    if is_busy:
        return f"busy {per_cent} % of the time"
    if per_cent:
        return f"idle but for {per_cent} % of the time"
    return "idle"


def _place(device: _Device) -> Iterator[Check]:
    """Its link to the host, and the host's cores and NUMA nodes that are near."""
    status = device.status
    if status.generation and status.lanes:
        under_load = ""
        if status.reasons & IDLE and status.generation < (device.gpu.pcie_generation_max or 0):
            under_load = f" (idle; {device.gpu.pcie_generation_max} under load)"
        yield device.info("PCIe", f"generation {status.generation}{under_load}, {status.lanes} lanes")
    places = {"NUMA node": status.nodes, "cores": status.cores}
    near = [f"{what} {ranges(numbers)}" for what, numbers in places.items() if numbers]
    if near:
        yield device.info("is near", ", ".join(near))


def _modes(device: _Device) -> Iterator[Check]:
    gpu = device.gpu
    if gpu.persistence is False:
        why = "without a process on it the driver unloads the GPU: the next start takes seconds, and settings are lost"
        yield device.warn("persistence mode", "off", why, "-pm 1", "-pm 0")
    if gpu.mig:
        why = "each instance has a part of the SMs and of the memory; clocks, power and PCIe are shared with the others"
        yield device.warn("MIG", "on", why, "-mig 0", "-mig 1")
    if gpu.compute_mode in _COMPUTE_MODES:
        option, why = _COMPUTE_MODES[gpu.compute_mode]
        yield device.warn("compute mode", gpu.compute_mode, why, "-c DEFAULT", f"-c {option}")


def _power(device: _Device) -> Iterator[Check]:
    limit = device.gpu.power_limit_mw
    default = device.gpu.power_limit_default_mw
    if limit and default and limit < default:
        limits = f"{limit / 1000:g} W, {default / 1000:g} W by default"
        why = "the clock falls under load sooner than the cooling demands"
        yield device.warn("power limit", limits, why, f"-pl {default / 1000:g}", f"-pl {limit / 1000:g}")


def _temperature(device: _Device) -> Iterator[Check]:
    now = device.status.temperature
    slowdown = device.status.slowdown_at
    if now is not None and slowdown is not None and now >= slowdown - _HOT_C:
        text = f"{now} C, slows down at {slowdown} C"
        yield device.warn("temperature", text, "heat lowers the clock: check the airflow")


def _limits(device: _Device) -> Iterator[Check]:
    """What holds the clock down at this moment."""
    limits = device.status.reasons & LIMITING
    if not limits:
        return
    text = f"limited by: {', '.join(reason_names(limits))}"
    why = "power or heat lowers the clock"
    if limits & _BY_HARDWARE:
        yield device.bad("clock", text, why)
    else:
        yield device.warn("clock", text, why)


def _clocks(device: _Device) -> Iterator[Check]:
    """Clocks that somebody set."""
    status = device.status
    if _application_clock_is_low(status):
        text = f"{status.application_clock} MHz, {status.application_clock_default} MHz by default"
        undo = None
        if status.memory_clock:
            undo = f"-ac {status.memory_clock},{status.application_clock}"
        yield device.warn("application clocks", text, "the clock stays below what the GPU can do", "-rac", undo)
        return
    clock = status.sm_clock
    highest = device.gpu.sm_clock_max_mhz
    if not clock or not highest:
        return
    if status.reasons & APPLICATION_CLOCKS and clock < _LOCKED_BELOW * highest:
        why = "a locked clock makes times steady, but longer if it is below the highest"
        yield device.warn("locked clocks", f"set by hand: {clock} of {highest} MHz", why, "-rgc", f"-lgc {clock}")
    elif status.reasons & IDLE and clock >= _IDLE_AND_HIGH * highest:
        yield device.info("clock", f"{clock} of {highest} MHz while idle", "locked high, or in use a moment ago")


def _application_clock_is_low(status: GpuStatus) -> bool:
    clock = status.application_clock
    default = status.application_clock_default
    return bool(clock and default) and (clock or 0) < (default or 0)


def _link(device: _Device) -> Iterator[Check]:
    lanes = device.status.lanes
    lanes_max = device.gpu.pcie_lanes_max
    if lanes and lanes_max and lanes < lanes_max:
        why = "copies take longer in proportion: check the slot, the riser and the BIOS"
        yield device.warn("PCIe lanes", f"{lanes} of {lanes_max}", why)
    if device.status.reasons & IDLE:
        return  # an idle link goes down to the first generation by itself and comes back with the load
    generation = device.status.generation
    newest = device.gpu.pcie_generation_max
    if generation and newest and generation < newest:
        why = "copies take twice as long for each generation missing: check the slot, the riser and the BIOS"
        yield device.warn("PCIe generation", f"{generation} of {newest}, under load", why)


def _memory(device: _Device) -> Iterator[Check]:
    if device.gpu.ecc is True:
        yield device.info("ECC", "on")
    if device.gpu.ecc is False:
        yield device.info("ECC", "off", "memory errors go unnoticed, and change results")
    if device.status.uncorrected:
        why = "results may be wrong, and the next such error ends the process"
        yield device.bad("memory errors", f"{device.status.uncorrected} uncorrected", why)


def _video(device: _Device) -> Iterator[Check]:
    """Who decodes videos on it now."""
    status = device.status
    if not status.decoder and not status.decoding:
        return
    sessions = ", ".join(f"{name} ({pid}, {share} %)" for pid, name, share in status.decoding[:_PROCESSES_NAMED])
    text = f"{status.decoder or 0} % busy"
    if sessions:
        text = f"{text}: {sessions}"
    yield device.info("video decoder", text, "videos of decode=gpu take turns with these")


def _neighbours(device: _Device) -> Iterator[Check]:
    processes = device.status.processes
    if not processes:
        return
    names = [f"{name} ({pid}, {_size(size)})" for pid, name, size in processes[:_PROCESSES_NAMED]]
    text = ", ".join(names)
    if len(processes) > len(names):
        text += f" and {len(processes) - len(names)} more"
    yield device.warn("neighbours", text, "their kernels take turns with yours, and their memory is not yours")


def _size(size: int | None) -> str:
    if not size:
        return "?"
    return format_bytes(size)
