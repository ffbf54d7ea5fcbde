"""The machine probe on made-up kernel files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path

import msgspec
import pytest

from framepace.facts.machine import Gpu, Machine
from framepace.recording import machine
from framepace.recording.machine import cpu_groups, cpu_limit, hypervisor, in_container, probe
from tests.doubles.nvml import ScriptedNvml

CORES = 8


@pytest.fixture(autouse=True)
def all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process may run on all eight cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(CORES)), raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def made_up(root: Path, files: dict[str, str]) -> Path:
    """A tree of kernel files."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_this_machine_can_be_described_and_the_description_stored() -> None:
    """Whatever the machine, the probe answers, and its answer reads back from JSON."""
    found = probe()
    assert found.cores_logical >= found.cores_physical >= 1
    assert found.memory_bytes > 1 << 20
    assert found.libraries["numpy"]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Machine) == found


def test_a_machine_that_says_nothing_is_no_error(tmp_path: Path) -> None:
    """Without kernel files what cannot be known is None."""
    found = probe(tmp_path)
    assert (found.governor, found.idle_driver, found.virtual, found.cpu_limit) == (None, None, None, None)
    assert not found.container


def test_what_the_kernel_says_is_found(tmp_path: Path) -> None:
    """Name, system, governor and idle driver from their files."""
    files = {
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: Example 9000 @ 3 GHz\n",
        "etc/os-release": 'NAME=x\nPRETTY_NAME="Example Linux 3"\n',
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
        "sys/devices/system/cpu/cpuidle/current_driver": "intel_idle\n",
    }
    found = probe(made_up(tmp_path, files))
    assert found.cpu == "Example 9000 @ 3 GHz"
    assert found.system == "Linux, Example Linux 3"
    assert (found.governor, found.idle_driver) == ("powersave", "intel_idle")


V2, V1 = "0::/a/b\n", "3:cpu,cpuacct:/a/b\n2:memory:/other\n"


@pytest.mark.parametrize(
    ("groups", "files", "limit"),
    [
        (V2, {"a/b/cpu.max": "150000 100000\n"}, 1.5),
        (V2, {"a/b/cpu.max": "max 100000\n"}, None),
        (V2, {"a/b/cpu.max": "400000 100000\n", "a/cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/not/mounted/here\n", {"cpu.max": "300000 100000\n"}, 3.0),
        (V2, {"a/b/cpu.max": "9900000 100000\n"}, None),
        (V2, {"a/b/cpu.max": "broken\n"}, None),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "250000\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, 2.5),
        (V1, {"cpu/a/b/cpu.cfs_quota_us": "-1\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "50000\n"}, 2.0),
        ("", {"cpu.max": "100000 100000\n"}, None),
    ],
)
def test_the_tightest_quota_holds(tmp_path: Path, groups: str, files: dict[str, str], limit: float | None) -> None:
    """Both versions of control groups, the process's own group and those above it; no more than the cores."""
    made_up(tmp_path, {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert cpu_limit(CORES, tmp_path) == limit


def test_affinity_is_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process bound to two of eight cores has two."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert cpu_limit(CORES, tmp_path) == 2.0


def test_groups_above_the_mount_are_not_looked_at(tmp_path: Path) -> None:
    """The walk up ends at the mount of the control groups."""
    made_up(tmp_path, {"proc/self/cgroup": V2})
    mount = tmp_path / "sys/fs/cgroup"
    assert list(cpu_groups(tmp_path)) == [mount / "a/b", mount / "a", mount]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"proc/cpuinfo": "flags : fpu vmx\n"}, None),
        ({"proc/cpuinfo": "flags : fpu hypervisor\n"}, "a hypervisor"),
        ({"proc/cpuinfo": "flags : fpu hypervisor\n", "sys/class/dmi/id/sys_vendor": "QEMU\n"}, "QEMU"),
        ({"sys/class/dmi/id/sys_vendor": "Dell Inc.\n"}, None),
        (
            {
                "proc/cpuinfo": "flags : fpu hypervisor\n",
                "sys/devices/system/clocksource/clocksource0/available_clocksource": "kvm-clock tsc\n",
            },
            "KVM",
        ),
    ],
)
def test_a_virtual_machine_is_told_by_its_processor(tmp_path: Path, files: dict[str, str], found: str | None) -> None:
    """The processor's flag decides, the firmware names the vendor."""
    assert hypervisor(made_up(tmp_path, files)) == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"proc/1/cgroup": "0::/init.scope\n"}, False),
        ({"proc/1/cgroup": "4:cpu:/docker/abc\n"}, True),
        ({".dockerenv": ""}, True),
        ({"run/.containerenv": ""}, True),
    ],
)
def test_containers_are_recognised(tmp_path: Path, files: dict[str, str], found: bool) -> None:
    """By the control group of the first process or the runtime's marker."""
    assert in_container(made_up(tmp_path, files)) is found


INTEGRATED = {
    "nvmlDeviceGetName": "Example GPU",
    "nvmlDeviceGetCudaComputeCapability": (8, 7),
    "nvmlDeviceGetMaxClockInfo": {1: 1300},
}
WHOLE = {
    "nvmlDeviceGetName": "Example 9000",
    "nvmlDeviceGetCudaComputeCapability": (9, 0),
    "nvmlDeviceGetMaxClockInfo": {1: 1980, 2: 2619},
    "nvmlDeviceGetMemoryInfo": types.SimpleNamespace(total=80 << 30, used=1 << 30),
    "nvmlDeviceGetEnforcedPowerLimit": 500_000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 700_000,
    "nvmlDeviceGetUUID": "GPU-0123",
    "nvmlDeviceGetEccMode": [1, 0],
    "nvmlDeviceGetPersistenceMode": 0,
    "nvmlDeviceGetMaxPcieLinkGeneration": 5,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetMigMode": [1, 1],
    "nvmlDeviceGetComputeMode": 3,
}


def gpus(monkeypatch: pytest.MonkeyPatch, nvml: ScriptedNvml) -> tuple[Gpu, ...]:
    """The GPUs of a machine on which this is the driver."""
    nvml.system["nvmlSystemGetDriverVersion"] = "550.1"
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return machine.gpus()


def test_a_device_that_answers_in_part_is_described_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the driver refuses is None; the library is closed again."""
    nvml = ScriptedNvml({"0000:01:00.0": INTEGRATED})
    (gpu,) = gpus(monkeypatch, nvml)
    assert (gpu.name, gpu.driver, gpu.compute_capability) == ("Example GPU", "550.1", "8.7")
    assert (gpu.sm_clock_max_mhz, gpu.power_limit_mw, gpu.memory_bytes) == (1300, None, 0)
    assert (gpu.ecc, gpu.persistence, gpu.mig, gpu.compute_mode) == (None, None, False, None)
    assert nvml.running == 0


def test_a_device_that_tells_all_is_described_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Identity, limits, modes and the link; ECC and MIG as they are, not as they will be after a restart."""
    (gpu,) = gpus(monkeypatch, ScriptedNvml({"0001:c4:0f.0": WHOLE}))
    assert (gpu.uuid, gpu.pci_bus_id) == ("GPU-0123", "0001:c4:0f.0")
    assert (gpu.power_limit_mw, gpu.power_limit_default_mw) == (500_000, 700_000)
    assert (gpu.sm_clock_max_mhz, gpu.memory_clock_max_mhz) == (1980, 2619)
    assert (gpu.pcie_generation_max, gpu.pcie_lanes_max) == (5, 16)
    assert (gpu.ecc, gpu.persistence, gpu.mig, gpu.compute_mode) == (True, False, True, "exclusive process")


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that does not start is no error."""
    assert gpus(monkeypatch, ScriptedNvml({"0000:01:00.0": WHOLE}, error=9)) == ()


def test_a_trace_of_before_is_read() -> None:
    """A GPU that was described before there were more fields has the rest unknown."""
    old = b'{"name": "T4", "memory_bytes": 16, "driver": "550", "sm_clock_max_mhz": 1590, "power_limit_mw": 70000}'
    gpu = msgspec.json.decode(old, type=Gpu)
    assert (gpu.power_limit_mw, gpu.uuid, gpu.mig) == (70_000, None, False)


def test_versions_are_read_without_importing_the_libraries() -> None:
    """Probing leaves onnxruntime and av unloaded."""
    code = (
        "import json, sys\nfrom framepace.recording.machine import probe\nfound = probe().libraries\n"
        "print(json.dumps([found, [m for m in ('av', 'onnxruntime', 'onnx', 'torch') if m in sys.modules]]))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    found, imported = json.loads(out)
    assert found["onnxruntime"]
    assert imported == []
