"""NVML: finding a device, and readings that cost as little as possible. The pynvml module is a parameter."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_PCI_BUS_ID = re.compile(r"([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}(\.[0-9a-f])?", re.IGNORECASE)
_QUICK_NS = 20_000
_TRIES = 5
_SM_CLOCK = 1  # NVML_CLOCK_SM


def start(nvml: Any = None) -> Any | None:
    """The module pynvml, initialised; None where no driver answers. Each start wants a `stop`: NVML counts them.

    Args:
        nvml: a module to use instead of pynvml.
    """
    try:
        if nvml is None:
            import pynvml

            nvml = pynvml
        nvml.nvmlInit()
    except Exception:  # no module, no library, no driver, no permission: there is no GPU for us
        return None
    return nvml


def stop(nvml: Any) -> None:
    """Undo one `start`; what goes wrong then (the driver went away) leaves nothing to do."""
    try:
        nvml.nvmlShutdown()
    except nvml.NVMLError:
        return


@contextmanager
def started(nvml: Any = None) -> Iterator[Any | None]:
    """`start` and `stop` around a block; None where no driver answers."""
    driver = start(nvml)
    try:
        yield driver
    finally:
        if driver is not None:
            stop(driver)


def find(nvml: Any, device: str) -> Any:
    """NVML's handle of a GPU; for a MIG instance, that of the GPU it is a part of.

    CUDA numbers devices in its own order (CUDA_VISIBLE_DEVICES, CUDA_DEVICE_ORDER), so a number will not do.

    Args:
        device: PCI bus id ('0000:19:00.0') or UUID, with or without its prefix 'GPU-'.

    Raises NVMLError where there is no such device.
    """
    if _PCI_BUS_ID.fullmatch(device):
        return nvml.nvmlDeviceGetHandleByPciBusId(device)
    if device.startswith("MIG-"):
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(nvml.nvmlDeviceGetHandleByUUID(device))
    return nvml.nvmlDeviceGetHandleByUUID(device if device.startswith("GPU-") else f"GPU-{device}")


def ask(nvml: Any, question: Callable[..., _T], *args: Any) -> _T | None:
    """NVML's answer; None if it has none: integrated and virtual devices do not report everything."""
    try:
        return question(*args)
    except nvml.NVMLError:
        return None


def pci_bus_id(nvml: Any, handle: Any) -> str | None:
    """The address of a device on the bus as CUDA writes it ('0000:19:00.0'): NVML's domain has eight digits."""
    info = ask(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    return None if info is None else f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


class Reading:
    """One number of one device, read by NVML's C function into memory of its own.

    ctypes lets the interpreter lock go around every call, and whoever computes in Python then keeps it for a switch
    interval of 5 ms. A function that answered within 20 us when this was made is called with the lock held instead.

    Args:
        nvml: started.
        name: of the C function; its arguments are the device, `args` as unsigned ints, and where the number goes.
        wide: the number has 64 bits.

    Raises AttributeError where this driver has no such function.
    """

    __slots__ = ("_args", "_call", "_value")

    def __init__(self, nvml: Any, name: str, handle: Any, *args: int, wide: bool = False) -> None:
        self._value = ctypes.c_ulonglong() if wide else ctypes.c_uint()
        self._args = (handle, *map(ctypes.c_uint, args), ctypes.byref(self._value))
        self._call = getattr(nvml.nvmlLib, name)
        if isinstance(nvml.nvmlLib, ctypes.CDLL) and self._is_quick():
            held = ctypes.PyDLL(nvml.nvmlLib._name, handle=nvml.nvmlLib._handle)
            self._call = getattr(held, name)

    def read(self) -> int:
        """The number now, -1 where the device does not answer."""
        return self._value.value if self._call(*self._args) == 0 else -1

    def _is_quick(self) -> bool:
        def once() -> int:
            began = time.perf_counter_ns()
            self._call(*self._args)
            return time.perf_counter_ns() - began

        return min(once() for _ in range(_TRIES)) < _QUICK_NS


class ClockReader:
    """The SM clock of a GPU, for reading around every request; any thread may. Never an error.

    `mhz()` is the clock in MHz, -1 where NVML or the device does not say. Stays open for the life of the process.

    Args:
        pci_bus_id: PCI bus id or UUID, see `find`.
        nvml: a module to use instead of pynvml.
    """

    def __init__(self, pci_bus_id: str, nvml: Any = None) -> None:
        self.mhz: Callable[[], int] = _unknown
        module = start(nvml)
        if module is None:
            return
        try:
            handle = find(module, pci_bus_id)
            # The bound method of the reading itself: a call less on the way of every request.
            self.mhz = Reading(module, "nvmlDeviceGetClockInfo", handle, _SM_CLOCK).read
        except (module.NVMLError, AttributeError):
            stop(module)


def _unknown() -> int:
    return -1
