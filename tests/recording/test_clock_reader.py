"""The reader of a GPU's clock on a scripted NVML, and all of it through the real pynvml on a small C library."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from framepace.devices import nvml as own
from framepace.devices.nvml import ClockReader, Reading, find, recent
from framepace.recording import gpu as sampling
from framepace.recording.gpm import open_gpm
from framepace.recording.gpu import gpu_samplers
from tests.doubles.nvml import BUSY, Clock, ScriptedNvml

FIRST, SECOND = "0000:19:00.0", "0000:3b:00.0"


def test_the_clock_reader_reads_the_clock() -> None:
    """Of the device that is named, in MHz, as it is now."""
    clocks = {1: 1755, 2: 1}
    nvml = ScriptedNvml({SECOND: BUSY, FIRST: {"nvmlDeviceGetClockInfo": clocks}})
    moments = count(step=2_000_000)
    reader = ClockReader(FIRST, nvml, lambda: next(moments))
    assert reader.mhz() == 1755
    clocks[1] = 210
    assert reader.mhz() == 210


@pytest.mark.parametrize(
    "nvml", [ScriptedNvml(error=12), ScriptedNvml({SECOND: BUSY}), ScriptedNvml({FIRST: {}})], ids=repr
)
def test_a_clock_that_cannot_be_read_is_minus_one(nvml: ScriptedNvml) -> None:
    """No driver, no such device, no such reading: never an error."""
    assert ClockReader(FIRST, nvml).mhz() == -1


def test_a_clock_that_stops_answering_is_minus_one() -> None:
    """A lost device does not fail the request around which it is read."""
    nvml = ScriptedNvml({FIRST: BUSY})
    reader = ClockReader(FIRST, nvml)
    nvml.devices[FIRST].clear()
    assert reader.mhz() == -1


C_LIBRARY = """
#include <string.h>
typedef struct { int number; } Device;
typedef struct { unsigned at; } Sample;
typedef struct { char *shortName, *longName, *unit; } Info;
typedef struct { unsigned metricId; int nvmlReturn; double value; Info info; } Metric;
typedef struct { unsigned version, numMetrics; Sample *sample1, *sample2; Metric metrics[512]; } Get;
typedef struct { unsigned version, isSupportedDevice; } Support;
static Device device = {7};
static Sample samples[2];
static int taken = 0, allocated = 0;
int running = 0;
int nvmlInitWithFlags(unsigned flags) { running++; return 0; }
int nvmlShutdown(void) { running--; return 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, Device **d) {
    if (strcmp(id, "0000:19:00.0")) return 6;
    *d = &device; return 0;
}
int nvmlDeviceGetUUID(Device *d, char *uuid, unsigned n) { strncpy(uuid, "GPU-1", n); return d->number == 7 ? 0 : 2; }
int nvmlDeviceGetClockInfo(Device *d, int kind, unsigned *mhz) {
    *mhz = 1000 + 100 * kind; return d->number == 7 ? 0 : 2;
}
int nvmlDeviceGetTotalEnergyConsumption(Device *d, unsigned long long *mj) { *mj = 1ull << 40; return 0; }
int nvmlDeviceGetPowerUsage(Device *d, unsigned *mw) { return 3; }
int nvmlGpmQueryDeviceSupport(Device *d, Support *s) { s->isSupportedDevice = s->version == 1; return 0; }
int nvmlGpmSampleAlloc(Sample **s) { *s = &samples[allocated++ % 2]; return 0; }
int nvmlGpmSampleFree(Sample *s) { allocated--; return 0; }
int nvmlGpmSampleGet(Device *d, Sample *s) { s->at = ++taken; return 0; }
int nvmlGpmMetricsGet(Get *g) {
    if (g->version != 1 || g->sample2->at != g->sample1->at + 1) return 2;
    for (unsigned i = 0; i < g->numMetrics; i++) { g->metrics[i].nvmlReturn = 0; g->metrics[i].value = g->metrics[i].metricId; }
    return 0;
}
"""  # noqa: E501 - a line of C


@pytest.fixture(scope="session")
def c_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C library with NVML's functions and their signatures, as nvml.h declares them."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(C_LIBRARY)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "nvml.so", folder / "nvml.c"], check=True)
    return folder / "nvml.so"


@pytest.fixture
def pynvml(c_library: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The real pynvml on that library."""
    import pynvml

    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(c_library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    return pynvml


def test_the_real_module_is_called_as_it_wants_to_be(pynvml: Any) -> None:
    """Handles, 64-bit numbers, a function that fails, those that are missing, and the structure of GPM."""
    clock, running = Clock(), ctypes.c_int.in_dll(pynvml.nvmlLib, "running")
    before = running.value
    (gpu,) = gpu_samplers({0: FIRST, 1: "0000:1a:00.0"})
    assert gpu.read() == {"sm_clock_mhz": 1100, "memory_clock_mhz": 1200, "energy_mj": 1 << 40}
    gpm = open_gpm(pynvml, find(pynvml, FIRST), clock)
    assert gpm is not None
    clock.pass_ms(121)
    found = gpm.read()
    assert (found["sm_activity"], found["tensor_activity"], found["dram_activity"]) == (20, 50, 100)
    assert (found["pcie_tx_bytes_s"], found["pcie_rx_bytes_s"]) == (20 << 20, 21 << 20)
    gpm.close()
    gpu.close()
    assert running.value == before


@pytest.mark.parametrize(("limit", "kind"), [(10**12, ctypes.PyDLL), (0, ctypes.CDLL)])
def test_quick_functions_keep_the_interpreter_lock(
    pynvml: Any, monkeypatch: pytest.MonkeyPatch, limit: int, kind: type
) -> None:
    """A function under the limit is called through PyDLL, which holds the lock; another through CDLL, which lets go."""
    monkeypatch.setattr(own, "_QUICK_NS", limit)
    pynvml.nvmlInit()
    reading = Reading(pynvml, "nvmlDeviceGetClockInfo", find(pynvml, FIRST), 1)
    assert reading.read() == 1100
    held = bool(reading._call._flags_ & 0x4)  # ctypes' FUNCFLAG_PYTHONAPI
    assert held == (kind is ctypes.PyDLL)
    pynvml.nvmlShutdown()


def test_the_clock_reader_works_on_the_real_module(pynvml: Any) -> None:
    """By the module that is installed, without being given one."""
    assert ClockReader(FIRST).mhz() == 1100
    assert ClockReader("0000:ff:00.0").mhz() == -1


def test_importing_the_samplers_loads_no_driver_library() -> None:
    """pynvml is imported when a GPU is sampled, not before."""
    code = f"import sys, {sampling.__name__}; print('pynvml' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "False"


def test_a_clock_is_read_once_a_millisecond_at_most() -> None:
    """However often it is asked for; a reading takes microseconds."""
    moments = iter((0, 10, 999_999, 1_000_100, 1_000_200, 1_500_000))
    readings = iter((1980, 1650))
    mhz = recent(lambda: next(readings), lambda: next(moments))
    assert [mhz() for _ in range(4)] == [1980, 1980, 1650, 1650]
