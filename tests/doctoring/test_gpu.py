"""The doctor's judgement on made-up GPUs, and what it sees of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from framepace.doctoring.gpu import DriverState, judge_gpus, observe_gpus
from framepace.doctoring.gpulibraries import built_for, missing_libraries
from framepace.facts.check import Check
from framepace.recording.gpu import GpuStatus
from framepace.testing import make_machine
from tests.doubles.machines import BUS, CUDA, GPU, made_up
from tests.doubles.nvml import ScriptedNvml


def gpu_checks(gpu: dict[str, Any] | None = None, now: dict[str, Any] | None = None, **changes: Any) -> list[Check]:
    """The checks of a machine with one GPU, healthy but for these differences."""
    machine = make_machine(gpus=(msgspec.structs.replace(GPU, **(gpu or {})),))
    state = DriverState(**{"cuda": (12, 4), "status": {BUS: GpuStatus(**(now or {}))}, **changes})
    return list(judge_gpus(machine, state, CUDA))


def test_a_healthy_gpu_has_nothing_to_mend() -> None:
    """No warning, idle or busy: an idle link and an idle clock are low by themselves."""
    idle = gpu_checks(now={"generation": 1, "lanes": 16, "sm_clock": 300, "temperature": 40, "slowdown_at": 93})
    busy = gpu_checks(now={"reasons": 0, "generation": 3, "lanes": 16, "sm_clock": 1590})
    for found in (idle, busy):
        assert {c.state for c in found} == {"ok", "info"}
        assert not any(c.fix for c in found)


SMI = f"sudo nvidia-smi -i {BUS}"
WRONG: list[tuple[str, dict[str, Any], dict[str, Any], str, str | None, str | None]] = [
    ("persistence mode", {"persistence": False}, {}, "off", "-pm 1", "-pm 0"),
    ("MIG", {"mig": True}, {}, "on", "-mig 0", "-mig 1"),
    ("compute mode", {"compute_mode": "prohibited"}, {}, "prohibited", "-c DEFAULT", "-c PROHIBITED"),
    ("compute mode", {"compute_mode": "exclusive process"}, {}, "exclusive", "-c DEFAULT", "-c EXCLUSIVE_PROCESS"),
    ("power limit", {"power_limit_mw": 62_500}, {}, "62.5 W, 70 W by default", "-pl 70", "-pl 62.5"),
    ("temperature", {}, {"temperature": 90, "slowdown_at": 93}, "90 C, slows down at 93 C", None, None),
    ("clock", {}, {"reasons": 0x4}, "software power cap", None, None),
    ("clock", {}, {"reasons": 0x48}, "hardware slowdown, hardware thermal slowdown", None, None),
    (
        "application clocks",
        {},
        {"application_clock": 585, "application_clock_default": 1590, "memory_clock": 5001},
        "585 MHz, 1590 MHz by default",
        "-rac",
        "-ac 5001,585",
    ),
    ("locked clocks", {}, {"reasons": 0x2, "sm_clock": 900}, "900 of 1590 MHz", "-rgc", "-lgc 900"),
    ("PCIe lanes", {}, {"lanes": 8}, "8 of 16", None, None),
    ("PCIe generation", {}, {"reasons": 0, "generation": 1}, "1 of 3", None, None),
    ("memory errors", {}, {"uncorrected": 2}, "2 uncorrected", None, None),
    ("neighbours", {}, {"processes": ((77, "python", 3 << 30),)}, "python (77, 3.0 GiB)", None, None),
]


@pytest.mark.parametrize(("what", "gpu", "now", "found", "fix", "undo"), WRONG)
def test_what_is_wrong_with_a_gpu_is_said(
    what: str, gpu: dict[str, Any], now: dict[str, Any], found: str, fix: str | None, undo: str | None
) -> None:
    """One warning, with the number that was found, why it matters, and the command with the way back."""
    (wrong,) = (c for c in gpu_checks(gpu, now) if c.state in ("warn", "bad"))
    assert wrong.name == f"GPU {what}"
    assert found in wrong.found
    assert wrong.why
    assert (wrong.fix, wrong.undo) == (fix and f"{SMI} {fix}", undo and f"{SMI} {undo}")


def test_a_slowdown_that_the_board_orders_is_bad() -> None:
    """Software keeps within limits, hardware saves itself."""
    states = {c.state for reasons in (0x8, 0x40, 0x80) for c in gpu_checks(now={"reasons": reasons}) if c.why}
    assert states == {"bad"}


def test_a_clock_that_does_not_fall_while_idle_is_told() -> None:
    """Locked high: good for steady times, and worth knowing."""
    found = [c for c in gpu_checks(now={"sm_clock": 1590}) if c.name == "GPU clock"]
    assert [(c.state, c.found) for c in found] == [("info", "1590 of 1590 MHz while idle")]


def test_of_several_gpus_each_is_named() -> None:
    """Checks carry the number, commands the address, and what one GPU does is not said of the other."""
    second = msgspec.structs.replace(GPU, pci_bus_id="0000:3b:00.0", persistence=False)
    state = DriverState(status={BUS: GpuStatus(lanes=4)})
    found = list(judge_gpus(make_machine(gpus=(GPU, second)), state, CUDA))
    wrong = [(c.name, c.fix) for c in found if c.state == "warn"]
    assert wrong == [("GPU 0 PCIe lanes", None), ("GPU 1 persistence mode", "sudo nvidia-smi -i 0000:3b:00.0 -pm 1")]


@pytest.mark.parametrize(
    ("wanted", "states", "words"),
    [
        ((12, 4), ["ok"], "up to CUDA 12.4"),
        ((11, 8), ["ok"], "up to CUDA 12.4"),
        ((12, 8), ["info"], "minor-version"),
        ((13, 0), ["bad"], "driver 580 or later"),
        ((99, 0), ["bad"], "a newer driver"),
    ],
)
def test_a_library_for_a_newer_cuda_is_found(wanted: tuple[int, int], states: list[str], words: str) -> None:
    """A newer major version does not run, a newer minor one does with a reservation, older ones do."""
    found = [c for c in gpu_checks(built_for={"torch": wanted}) if c.name == "CUDA"]
    assert [c.state for c in found] == states
    assert words in found[0].found + found[0].why


def test_missing_cuda_libraries_are_named_with_their_packages() -> None:
    """Of CUDA 12 every package has the version in its name, of 13 only cuDNN's has."""
    missing = ("libcublasLt.so.12", "libcublas.so.12", "libcudnn.so.9", "libcudart.so.12")
    fixes = []
    for major in (12, 13):
        found = gpu_checks(missing=missing, built_for={"onnxruntime": (major, 0)}, cuda=(13, 0))
        (wrong,) = (c for c in found if c.name == "GPU in ONNX Runtime")
        assert wrong.state == "bad"
        assert "libcudnn.so.9" in wrong.found
        fixes.append(wrong.fix)
    assert fixes == [
        "pip install nvidia-cublas-cu12 nvidia-cudnn-cu12 nvidia-cuda-runtime-cu12",
        "pip install nvidia-cublas nvidia-cudnn-cu13 nvidia-cuda-runtime",
    ]


def test_the_backends_that_can_use_the_gpu_are_listed() -> None:
    """And what framepace itself needs for it."""
    with_core = gpu_checks(installed=("cuda-core", "torch"))[-1]
    without = gpu_checks(installed=("torch",))[-1]
    assert (with_core.state, with_core.found) == ("info", "onnxruntime, torch")
    assert (without.state, without.fix) == ("warn", "pip install 'framepace[cuda]'")


@pytest.mark.parametrize(
    ("name", "value", "state"),
    [
        ("CUDA_VISIBLE_DEVICES", "1", "info"),
        ("CUDA_VISIBLE_DEVICES", "", "warn"),
        ("CUDA_VISIBLE_DEVICES", "-1", "warn"),
        ("CUDA_LAUNCH_BLOCKING", "1", "warn"),
        ("CUDA_LAUNCH_BLOCKING", "0", "info"),
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID", "info"),
    ],
)
def test_variables_of_cuda_are_shown(name: str, value: str, state: str) -> None:
    """Those that hide GPUs or make every launch wait are warned of."""
    (told,) = (c for c in gpu_checks(variables={name: value}) if c.name == name)
    assert (told.state, told.undo) == (state, f"export {name}={value}")


DRIVERS: list[tuple[dict[str, Any], str, str]] = [
    ({"problem": "no library"}, "info", "no NVIDIA driver answers"),
    ({"problem": "not loaded"}, "info", "no NVIDIA driver answers"),
    ({"problem": "no library", "on_bus": True}, "bad", "without a driver"),
    ({"problem": "not loaded", "on_bus": True}, "bad", "not loaded"),
    ({"problem": "no library", "module": "580.1"}, "bad", "580.1 without libraries"),
    ({"problem": "mismatch", "module": "580.1"}, "bad", "kernel module 580.1"),
    ({"problem": "no permission"}, "bad", "refuses"),
    ({"problem": "Unknown Error"}, "info", "Unknown Error"),
]


@pytest.mark.parametrize(("seen", "state", "found"), DRIVERS)
def test_why_no_driver_answers_is_said(seen: dict[str, Any], state: str, found: str) -> None:
    """Nothing there is no fault; a GPU that cannot be reached is, and each fault has a name of its own."""
    (told,) = judge_gpus(make_machine(), DriverState(**seen), ())
    assert (told.name, told.state) == ("GPU", state)
    assert found in told.found
    assert bool(told.why) == (state == "bad")


def test_a_container_without_the_driver_is_told_how_to_get_it() -> None:
    """The kernel's driver is visible in a container that was started without GPUs."""
    seen = DriverState(problem="no library", module="580.1")
    fixes = [next(judge_gpus(make_machine(container=inside), seen, ())).fix for inside in (True, False)]
    assert fixes == ["docker run --gpus all ...", None]


@pytest.mark.parametrize("module", ["x86_64 Kernel Module", "Open Kernel Module for x86_64"])
@pytest.mark.parametrize(
    ("error", "problem"),
    [(12, "no library"), (9, "not loaded"), (18, "mismatch"), (4, "no permission"), (999, "error 999")],
)
def test_the_driver_is_asked_why_it_does_not_answer(tmp_path: Path, module: str, error: int, problem: str) -> None:
    """By NVML's error codes; the kernel's own files say whether there is a GPU and a module."""
    files = {
        "proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX {module}  580.95.05  Release Build\n",
        "sys/bus/pci/devices/0000:19:00.0/vendor": "0x10de\n",
        "sys/bus/pci/devices/0000:19:00.0/class": "0x030200\n",
    }
    seen = observe_gpus(made_up(tmp_path, files), ScriptedNvml(error=error))
    assert (seen.problem, seen.module, seen.on_bus) == (problem, "580.95.05", True)


def test_other_devices_of_the_same_maker_are_no_gpus(tmp_path: Path) -> None:
    """A network card or a sound device of NVIDIA, and a GPU of somebody else."""
    pci = "sys/bus/pci/devices/"
    files = {f"{pci}1/vendor": "0x10de", f"{pci}1/class": "0x040300", f"{pci}2/vendor": "0x1002"}
    seen = observe_gpus(made_up(tmp_path, files | {f"{pci}2/class": "0x030000"}), ScriptedNvml(error=12))
    assert not seen.on_bus
    assert seen.module is None


def test_the_gpus_are_looked_at(tmp_path: Path) -> None:
    """CUDA's version, link, reasons, errors and neighbours by address; this process is no neighbour; all is closed."""
    processes = [SimpleNamespace(pid=pid, usedGpuMemory=1 << 30) for pid in (os.getpid(), os.getppid(), 1 << 30)]
    device = {
        "nvmlDeviceGetCurrPcieLinkWidth": 8,
        "nvmlDeviceGetCurrentClocksThrottleReasons": 0x20,
        "nvmlDeviceGetClockInfo": {1: 1200},
        "nvmlDeviceGetTemperatureThreshold": {1: 95, 0: 100},
        "nvmlDeviceGetTotalEccErrors": lambda handle, kind, since: 3 if (kind, since) == (1, 0) else 0,
        "nvmlDeviceGetComputeRunningProcesses": processes,
    }
    nvml = ScriptedNvml({BUS: device, "0000:3b:00.0": {}})
    nvml.system["nvmlSystemGetCudaDriverVersion_v2"] = 12080
    seen = observe_gpus(tmp_path, nvml)
    now = seen.status[BUS]
    assert (seen.problem, seen.cuda) == ("", (12, 8))
    assert (now.lanes, now.reasons, now.sm_clock, now.slowdown_at, now.uncorrected) == (8, 0x20, 1200, 95, 3)
    assert [pid for pid, _, _ in now.processes] == [os.getppid(), 1 << 30]
    assert now.processes[1][1:] == ("a process", 1 << 30)
    assert seen.status["0000:3b:00.0"] == GpuStatus()
    assert nvml.running == 0


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the packages in `folder` be the ones that Python finds."""
    for name in ("onnxruntime", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])


def test_what_libraries_were_built_for_stands_in_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GPU builds by their version, CPU builds not at all, and none of them is imported."""
    files = {
        "onnxruntime/__init__.py": "raise RuntimeError('imported')",
        "onnxruntime/capi/build_and_package_info.py": "__version__ = '1.2'\ncuda_version = '12.8'\n",
        "torch/__init__.py": "raise RuntimeError('imported')",
        "torch/version.py": "debug = False\ncuda: Optional[str] = '13.0'\nhip: Optional[str] = None\n",
    }
    install(made_up(tmp_path, files), monkeypatch)
    assert built_for() == {"onnxruntime": (12, 8), "torch": (13, 0)}
    made_up(tmp_path, {"torch/version.py": "cuda: Optional[str] = None\n"})
    assert built_for() == {"onnxruntime": (12, 8)}


def test_needed_libraries_are_looked_for_where_they_would_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packages, LD_LIBRARY_PATH and the system's cache; the names are those the provider was linked against."""
    needed = ["libcublas.so.12", "libcudart.so.12", "libcudnn.so.9", "libcufft.so.11", "libm.so.6"]
    provider = tmp_path / "site/onnxruntime/capi/libonnxruntime_providers_cuda.so"
    provider.parent.mkdir(parents=True)
    (tmp_path / "site/onnxruntime/__init__.py").touch()
    provider.write_bytes(b"\x7fELF\0" + b"\0".join(name.encode() for name in needed) + b"\0libcublasXt\0")
    made_up(tmp_path, {"etc/ld.so.cache": "libcudnn.so.9\0", "site/nvidia/cublas/lib/libcublas.so.12": "", "own/x": ""})
    install(tmp_path / "site", monkeypatch)
    monkeypatch.setenv("LD_LIBRARY_PATH", f":{tmp_path / 'own'}")
    assert missing_libraries(tmp_path) == ("libcudart.so.12", "libcufft.so.11")
    made_up(tmp_path, {"own/libcudart.so.12": ""})
    assert missing_libraries(tmp_path) == ("libcufft.so.11",)
    provider.unlink()
    assert missing_libraries(tmp_path) == ()
