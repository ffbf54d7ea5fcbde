"""GPM, the activity counters of Hopper and later GPUs: how busy SMs, tensor cores, DRAM and PCIe were."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from framepace.units import NS_PER_MS

# Two samples must be more than 100 ms apart: the device refreshes them no faster (NVML reference, nvmlGpmMetricsGet).
INTERVAL_NS = 120 * NS_PER_MS
_PER_MILLE_OF_PER_CENT = 10
_MIB = 1 << 20
# Column, NVML's name of the metric, and the factor from its unit (see nvml.h) to the column's.
_METRICS = (
    ("sm_activity", "NVML_GPM_METRIC_SM_UTIL", _PER_MILLE_OF_PER_CENT),
    ("tensor_activity", "NVML_GPM_METRIC_ANY_TENSOR_UTIL", _PER_MILLE_OF_PER_CENT),
    ("dram_activity", "NVML_GPM_METRIC_DRAM_BW_UTIL", _PER_MILLE_OF_PER_CENT),
    ("pcie_rx_bytes_s", "NVML_GPM_METRIC_PCIE_RX_PER_SEC", _MIB),
    ("pcie_tx_bytes_s", "NVML_GPM_METRIC_PCIE_TX_PER_SEC", _MIB),
)


def open_gpm(nvml: Any, handle: Any, now: Callable[[], int] = time.perf_counter_ns) -> Gpm | None:
    """The counters of a device, None where it or its driver has none or does not allow them (MIG)."""
    try:
        if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
            return None
        return Gpm(nvml, handle, now)
    except nvml.NVMLError:
        return None


class Gpm:
    """Activity between two samples, renewed every 120 ms.

    Args:
        nvml: started; the module pynvml, or one like it.
        now: the time in ns.

    Raises NVMLError.
    """

    def __init__(self, nvml: Any, handle: Any, now: Callable[[], int] = time.perf_counter_ns) -> None:
        self._nvml = nvml
        self._handle = handle
        self._now = now
        self._samples: list[Any] = []
        self._last: dict[str, int] = {}
        try:
            self._samples += [nvml.nvmlGpmSampleAlloc(), nvml.nvmlGpmSampleAlloc()]
            self._renew()
        except nvml.NVMLError:
            self.close()
            raise
        self._request = _request(nvml)

    def read(self) -> dict[str, int]:
        """Columns of telemetry by name, over the last whole interval; none before the first has passed."""
        if self._now() - self._at >= INTERVAL_NS:
            try:
                self._renew()
                self._last = self._compute()
            except self._nvml.NVMLError:  # the counters are another tool's for the moment
                self._last = {}
        return self._last

    def close(self) -> None:
        """Free the samples. Idempotent."""
        while self._samples:
            try:
                self._nvml.nvmlGpmSampleFree(self._samples.pop())
            except self._nvml.NVMLError:
                continue

    def _renew(self) -> None:
        """Take a sample into the older of the two, which then is the newer."""
        self._at = self._now()
        self._nvml.nvmlGpmSampleGet(self._handle, self._samples[0])
        self._samples.reverse()

    def _compute(self) -> dict[str, int]:
        self._request.sample1, self._request.sample2 = self._samples
        self._nvml.nvmlGpmMetricsGet(self._request)
        row = {}
        for (column, _, factor), metric in zip(_METRICS, self._request.metrics, strict=False):
            if metric.nvmlReturn == 0 and math.isfinite(metric.value):
                row[column] = round(metric.value * factor)
        return row


def _request(nvml: Any) -> Any:
    request = nvml.c_nvmlGpmMetricsGet_t()
    request.version = nvml.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics = len(_METRICS)
    for i, (_, name, _) in enumerate(_METRICS):
        request.metrics[i].metricId = getattr(nvml, name)
    return request
