"""A double of the module pynvml, and of the C library behind it, that answers from a table."""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

NOT_SUPPORTED, LOST = 3, 15
BUSY: Mapping[str, Any] = {
    "nvmlDeviceGetClockInfo": {1: 1980, 2: 2619},
    "nvmlDeviceGetPowerUsage": 310_500,
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4,
    "nvmlDeviceGetCurrentClocksThrottleReasons": 0x4,
    "nvmlDeviceGetTotalEnergyConsumption": 5_000_000_000,
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetCurrPcieLinkGeneration": 5,
    "nvmlDeviceGetCurrPcieLinkWidth": 16,
    "nvmlDeviceGetUtilizationRates": types.SimpleNamespace(gpu=87, memory=30),
    "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=150 << 30, used=3 << 30),
    "nvmlDeviceGetPcieThroughput": {0: 2_000, 1: 9_000},
}


class NVMLError(Exception):
    """What NVML raises, with its code."""

    def __init__(self, value: int = NOT_SUPPORTED) -> None:
        super().__init__(f"error {value}")
        self.value = value


class ScriptedNvml(types.ModuleType):
    """Devices by PCI bus id, each a table of answers by function name.

    An answer is a value, a table by the function's first argument after the device, or something to call with all
    arguments. What is not in the table is not supported, and what is in `absent` is missing from the C library.
    """

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM = 1, 2
    NVML_PCIE_UTIL_TX_BYTES, NVML_PCIE_UTIL_RX_BYTES = 0, 1
    NVML_NVLINK_MAX_LINKS = 36
    NVML_GPM_METRICS_GET_VERSION = 1
    NVML_GPM_METRIC_SM_UTIL, NVML_GPM_METRIC_ANY_TENSOR_UTIL, NVML_GPM_METRIC_DRAM_BW_UTIL = 2, 5, 10
    NVML_GPM_METRIC_PCIE_TX_PER_SEC, NVML_GPM_METRIC_PCIE_RX_PER_SEC = 20, 21

    def __init__(self, devices: Mapping[str, Mapping[str, Any]] | None = None, error: int | None = None) -> None:
        super().__init__("pynvml")
        self.devices = {name: dict(answers) for name, answers in (devices or {}).items()}
        self.system: dict[str, Any] = {}
        self.error, self.running, self.absent = error, 0, set[str]()
        self.calls: Counter[str] = Counter()
        self.nvmlLib = _Library(self)

    def nvmlInit(self) -> None:
        """Start, or fail with `error`."""
        if self.error is not None:
            raise NVMLError(self.error)
        self.running += 1

    def nvmlShutdown(self) -> None:
        """Undo one start."""
        if not self.running:
            raise NVMLError(1)
        self.running -= 1

    def nvmlDeviceGetCount(self) -> int:
        """How many."""
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        """By NVML's own number."""
        return list(self.devices)[index]

    def nvmlDeviceGetHandleByPciBusId(self, address: str) -> str:
        """By address."""
        if address not in self.devices:
            raise NVMLError(6)
        return address

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        """By UUID; those of MIG instances are known too."""
        for address in self.devices:
            if uuid in (self.nvmlDeviceGetUUID(address), f"MIG-{address}"):
                return address if uuid.startswith("GPU-") else uuid
        raise NVMLError(6)

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:
        """The whole GPU."""
        return handle.removeprefix("MIG-")

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        """Made from the address."""
        return str(self.devices[handle].get("nvmlDeviceGetUUID", f"GPU-{handle.replace(':', '-')}"))

    def nvmlDeviceGetPciInfo(self, handle: str) -> types.SimpleNamespace:
        """Made from the address."""
        domain, bus, device = (int(part.split(".")[0], 16) for part in handle.split(":"))
        return types.SimpleNamespace(domain=domain, bus=bus, device=device)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name.startswith("nvml"):
            raise AttributeError(name)

        def call(*args: Any) -> Any:
            self.calls[name] += 1
            table = self.system if name.startswith("nvmlSystem") else self.devices[args[0]]
            return answer(table, name, args)

        return call


class _Library:
    """The C side: numbers go where the last argument points, and the return value is an error code."""

    def __init__(self, nvml: ScriptedNvml) -> None:
        self._nvml = nvml

    def __getattr__(self, name: str) -> Callable[..., int]:
        if name in self._nvml.absent:
            raise AttributeError(name)

        def call(handle: str, *args: Any) -> int:
            try:
                args[-1]._obj.value = answer(self._nvml.devices[handle], name, (handle, *(a.value for a in args[:-1])))
            except NVMLError as error:
                return error.value
            return 0

        return call


def answer(table: Mapping[str, Any], name: str, args: tuple[Any, ...]) -> Any:
    """What a table says to a call."""
    if name not in table:
        raise NVMLError(NOT_SUPPORTED)
    found = table[name]
    if callable(found):
        return found(*args)
    if not isinstance(found, dict):
        return found
    if args[1] not in found:
        raise NVMLError(NOT_SUPPORTED)
    return found[args[1]]


class Activity:
    """The counters of a device with GPM: `now` (ns) says when, and metrics are by NVML's number, in its units.

    Its answers are the functions of the module; a sample notes when it was taken.
    """

    def __init__(self, metrics: Mapping[int, float]) -> None:
        self.now, self.metrics = 0, dict(metrics)
        self.taken: list[tuple[int, int]] = []
        self.open, self.failing = 0, False

    def give_to(self, nvml: ScriptedNvml, address: str) -> ScriptedNvml:
        """The module with these counters on one device."""
        nvml.devices[address] |= {
            "nvmlGpmQueryDeviceSupport": types.SimpleNamespace(isSupportedDevice=1),
            "nvmlGpmSampleGet": self._sample,
        }
        for name, function in (("Alloc", self._alloc), ("Free", self._free)):
            setattr(nvml, f"nvmlGpmSample{name}", function)
        nvml.nvmlGpmMetricsGet = self._compute  # type: ignore[attr-defined]
        nvml.c_nvmlGpmMetricsGet_t = _Request  # type: ignore[attr-defined]
        return nvml

    def _alloc(self) -> dict[str, int]:
        self.open += 1
        return {}

    def _free(self, sample: dict[str, int]) -> None:
        self.open -= 1

    def _sample(self, handle: str, sample: dict[str, int]) -> None:
        if self.failing:
            raise NVMLError(NOT_SUPPORTED)
        sample["at"] = self.now

    def _compute(self, request: _Request) -> None:
        self.taken.append((request.sample1["at"], request.sample2["at"]))
        for metric in request.metrics[: request.numMetrics]:
            known = metric.metricId in self.metrics
            metric.nvmlReturn, metric.value = (0, self.metrics[metric.metricId]) if known else (NOT_SUPPORTED, 0.0)


class _Request:
    """c_nvmlGpmMetricsGet_t."""

    def __init__(self) -> None:
        self.version, self.numMetrics = 0, 0
        self.sample1: dict[str, int] = {}
        self.sample2: dict[str, int] = {}
        self.metrics = [types.SimpleNamespace(metricId=0, nvmlReturn=0, value=0.0) for _ in range(16)]


class Clock:
    """A time that tests set, ns."""

    def __init__(self) -> None:
        self.time = 10**9

    def __call__(self) -> int:
        """The time now."""
        return self.time

    def pass_ms(self, ms: float) -> None:
        """Let time go by."""
        self.time += round(ms * 1e6)
