"""What the host and the GPUs of a plan do at the moment, for people who watch a run. Asked once per second at most."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from framepace.devices.nvml import ask, find, started
from framepace.facts.running import DeviceStatus

_PERIOD_S = 1.0
_SM_CLOCK = 1  # NVML_CLOCK_SM
_PER_CENT = 100
_MW_PER_W = 1000
_IDLE = ("idle", "iowait")


class Standing:
    """Reads how devices stand; any thread may ask. A context manager.

    Args:
        gpus: PCI bus ids or UUIDs by number, see recording.gpu.gpu_samplers.
        nvml: a module to use instead of pynvml.
        now: monotonic time in seconds.
    """

    def __init__(self, gpus: Mapping[int, str], nvml: Any = None, now: Callable[[], float] = time.monotonic) -> None:
        self._names = tuple(gpus.values())
        self._given = nvml
        self._now = now
        self._host = _Host()
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._nvml: Any = None
        self._gpus: list[Any] = []
        self._latest: tuple[DeviceStatus, ...] = ()
        self._due = 0.0

    def __enter__(self) -> Standing:
        if self._names:
            self._nvml = self._open.enter_context(started(self._given))
        if self._nvml is not None:
            self._gpus = [*_handles(self._nvml, self._names)]
        return self

    def __exit__(self, *ended: object) -> None:
        with self._lock:
            self._gpus = []
        self._open.close()

    def read(self) -> tuple[DeviceStatus, ...]:
        """The GPUs and the host, over about the last second; what a device does not report is None."""
        with self._lock:
            if self._now() >= self._due:
                self._due = self._now() + _PERIOD_S
                several = len(self._gpus) > 1
                gpus = [_gpu(self._nvml, handle, i if several else None) for i, handle in enumerate(self._gpus)]
                self._latest = (*gpus, self._host.read())
            return self._latest


class _Host:
    """The CPU time of the machine since the last reading, and its memory."""

    def __init__(self) -> None:
        self._before = _cpu_times()

    def read(self) -> DeviceStatus:
        import psutil

        now = _cpu_times()
        spent = now - self._before
        self._before = now
        idle = sum(spent[name] for name in _IDLE)
        use = 1 - idle / spent.total() if spent.total() > 0 else None
        return DeviceStatus(name="host", use=use, memory_use=psutil.virtual_memory().percent / _PER_CENT)


def _cpu_times() -> Counter[str]:
    import psutil

    times = psutil.cpu_times()._asdict()
    # Linux counts what guests took in 'user' and 'nice', too.
    return Counter({name: value for name, value in times.items() if not name.startswith("guest")})


def _handles(nvml: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """The devices that NVML knows, each once."""
    found = set()
    for name in names:
        handle = ask(nvml, find, nvml, name)
        uuid = None if handle is None else ask(nvml, nvml.nvmlDeviceGetUUID, handle)
        if uuid is not None and uuid not in found:
            found.add(uuid)
            yield handle


def _gpu(nvml: Any, handle: Any, number: int | None) -> DeviceStatus:
    name = _text(ask(nvml, nvml.nvmlDeviceGetName, handle)) or "GPU"
    rates = ask(nvml, nvml.nvmlDeviceGetUtilizationRates, handle)
    decoder = ask(nvml, nvml.nvmlDeviceGetDecoderUtilization, handle)
    memory = ask(nvml, nvml.nvmlDeviceGetMemoryInfo, handle)
    power = ask(nvml, nvml.nvmlDeviceGetPowerUsage, handle)
    return DeviceStatus(
        name=name if number is None else f"{name} {number}",
        use=None if rates is None else rates.gpu / _PER_CENT,
        decoder_use=None if decoder is None else decoder[0] / _PER_CENT,
        memory_use=None if memory is None else memory.used / memory.total,
        clock_mhz=ask(nvml, nvml.nvmlDeviceGetClockInfo, handle, _SM_CLOCK),
        power_w=None if power is None else power / _MW_PER_W,
    )


def _text(name: str | bytes | None) -> str:
    """Older versions of pynvml answer with bytes."""
    return name.decode() if isinstance(name, bytes) else name or ""
