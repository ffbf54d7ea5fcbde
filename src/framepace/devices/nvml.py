"""NVML: finding a device, and readings that cost as little as possible. The pynvml module is a parameter."""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")
_PCI_BUS_ID = re.compile(r"([0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}(\.[0-9a-f])?", re.IGNORECASE)
_QUICK_NS = 20_000
_TRIES = 5
_RECENT_NS = 1_000_000
_SM_CLOCK = 1  # NVML_CLOCK_SM
_NODE = 0  # NVML_AFFINITY_SCOPE_NODE
_WORDS = 64  # of 64 bits: room for 4096 cores, or nodes
_LINK_IS_UP = (1, 2)  # NVML_NVLINK_STATE_ACTIVE, NVML_NVLINK_STATE_SLEEP
_HOST = 1  # NVML_NVLINK_DEVICE_TYPE_IBMNPU
_P2P_NVLINK, _P2P_OK = 2, 0  # NVML_P2P_CAPS_INDEX_NVLINK, NVML_P2P_STATUS_OK


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


def handles(nvml: Any) -> list[Any]:
    """NVML's handles of all GPUs, in its order; a GPU that does not answer is left out."""
    count = ask(nvml, nvml.nvmlDeviceGetCount) or 0
    found = (ask(nvml, nvml.nvmlDeviceGetHandleByIndex, index) for index in range(count))
    return [handle for handle in found if handle is not None]


def pci_bus_id(nvml: Any, handle: Any) -> str | None:
    """The address of a device on the bus as CUDA writes it ('0000:19:00.0'): NVML's domain has eight digits."""
    info = ask(nvml, nvml.nvmlDeviceGetPciInfo, handle)
    if info is None:
        return None
    return _address(info)


def _address(info: Any) -> str:
    return f"{info.domain:04x}:{info.bus:02x}:{info.device:02x}.0"


def cores_near(nvml: Any, handle: Any) -> tuple[int, ...]:
    """The host's logical cores that are nearest to a GPU; none where NVML does not tell."""
    return _members(ask(nvml, nvml.nvmlDeviceGetCpuAffinity, handle, _WORDS))


def nodes_near(nvml: Any, handle: Any) -> tuple[int, ...]:
    """The host's NUMA nodes that are nearest to a GPU; none where NVML does not tell.

    nvmlDeviceGetNumaNodeId is another thing: the node that the GPU's own memory is, where the host can address it.
    """
    return _members(ask(nvml, nvml.nvmlDeviceGetMemoryAffinity, handle, _WORDS, _NODE))


def _members(words: Sequence[int] | None) -> tuple[int, ...]:
    """The numbers in a set of bits, 64 of them per word."""
    return tuple(64 * place + bit for place, word in enumerate(words or ()) for bit in range(64) if word >> bit & 1)


def nvlink_ends(nvml: Any, handle: Any) -> tuple[str, ...]:
    """Where each NVLink of a GPU that is up leads: the PCI bus id of a GPU or a switch; links to the host are left out.

    A virtual machine does not see the switches of its host: NVML then gives an address of ones, or none ('').
    """
    links = range(nvml.NVML_NVLINK_MAX_LINKS)
    return tuple(_nvlink_end(nvml, handle, link) for link in links if _is_to_a_gpu(nvml, handle, link))


def _is_to_a_gpu(nvml: Any, handle: Any, link: int) -> bool:
    """Whether a link is up and leads to another GPU, maybe through a switch."""
    if ask(nvml, nvml.nvmlDeviceGetNvLinkState, handle, link) not in _LINK_IS_UP:
        return False
    return ask(nvml, nvml.nvmlDeviceGetNvLinkRemoteDeviceType, handle, link) != _HOST


def _nvlink_end(nvml: Any, handle: Any, link: int) -> str:
    info = ask(nvml, nvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, link)
    if info is None:
        return ""
    return _address(info)


def nvlink_is_usable(nvml: Any, first: Any, second: Any) -> bool:
    """Whether two GPUs may reach each other over NVLink; also where this driver does not tell."""
    return ask(nvml, nvml.nvmlDeviceGetP2PStatus, first, second, _P2P_NVLINK) in (_P2P_OK, None)


def common_ancestor(nvml: Any, first: Any, second: Any) -> int | None:
    """Where the ways of two GPUs to the host meet, as NVML's number (NVML_TOPOLOGY_...)."""
    return ask(nvml, nvml.nvmlDeviceGetTopologyCommonAncestor, first, second)


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
        now: the time, ns.
    """

    def __init__(self, pci_bus_id: str, nvml: Any = None, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self.mhz: Callable[[], int] = _unknown
        module = start(nvml)
        if module is None:
            return
        try:
            handle = find(module, pci_bus_id)
            self.mhz = recent(Reading(module, "nvmlDeviceGetClockInfo", handle, _SM_CLOCK).read, now)
        except (module.NVMLError, AttributeError):
            stop(module)


def _unknown() -> int:
    return -1


def recent(read: Callable[[], int], now: Callable[[], int]) -> Callable[[], int]:
    """`read` once a millisecond at most: it takes microseconds, and short requests ask for it many times as often."""
    value, until = -1, -1

    def last() -> int:
        nonlocal value, until
        if now() >= until:
            value = read()
            until = now() + _RECENT_NS
        return value

    return last
