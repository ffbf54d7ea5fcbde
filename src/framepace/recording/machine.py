"""The machine probe: CPU, memory, system, GPUs and library versions, without importing the libraries."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from framepace.devices.nvml import ask, handles, pci_bus_id, started
from framepace.facts.machine import Gpu, Machine

_LIBRARIES = ("framepace", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "av", "tensorrt", "torch")
_COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}
_CONTAINERS = ("docker", "kubepods", "containerd", "libpod", "lxc")
_ROOT = Path("/")
_T = TypeVar("_T")


@lru_cache
def probe(root: Path = _ROOT) -> Machine:
    """Describe this machine. Never raises: values that cannot be determined are None.

    Args:
        root: the folder of `proc`, `sys` and `etc`; tests describe other machines with files of their own.
    """
    import psutil

    cores = psutil.cpu_count() or 1
    return Machine(
        cpu=_cpu_name(root),
        cores_physical=psutil.cpu_count(logical=False) or cores,
        cores_logical=cores,
        cores_usable=len(usable_cores() or range(cores)),
        memory_bytes=psutil.virtual_memory().total,
        system=_system(root),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        governor=text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        idle_driver=text(root / "sys/devices/system/cpu/cpuidle/current_driver"),
        virtual=hypervisor(root),
        container=in_container(root),
        cpu_limit=cpu_limit(cores, root),
        gpus=gpus(),
        libraries=_versions(),
    )


def cpu_limit(cores: int, root: Path = _ROOT) -> float | None:
    """Cores this process may use at once, where that is fewer than `cores`: affinity and control-group quotas.

    The tightest quota of the process's control group and of those above it holds (cgroup v2: cpu.max; v1:
    cpu.cfs_quota_us and cpu.cfs_period_us).
    """
    quotas = [_quota(group) for group in cpu_groups(root)]
    limit = min([float(len(usable_cores() or range(cores))), *(quota for quota in quotas if quota is not None)])
    if limit >= cores:
        return None
    return limit


def usable_cores() -> frozenset[int] | None:
    """The cores that the scheduler may run this process on; None where the system has no affinity."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return frozenset(os.sched_getaffinity(0))


def cpu_groups(root: Path = _ROOT) -> Iterator[Path]:
    """Folders of the control groups that limit this process's CPU time, from its own up to the root, v1 and v2."""
    mount = root / "sys/fs/cgroup"
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        top = mount
        if controllers:  # version 1 has a tree for each controller
            top = mount / "cpu"
        # In a container the path may be the host's, which is not mounted here; its ancestors then lead to the top.
        group = top / path.strip("/")
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(top))


def hypervisor(root: Path = _ROOT) -> str | None:
    """The hypervisor of this virtual machine, None on bare metal; from the files that systemd-detect-virt reads."""
    if " hypervisor" not in (text(root / "proc/cpuinfo") or ""):
        return None
    sources = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name", "sys/hypervisor/type")
    named = next((name for source in sources if (name := text(root / source))), None)
    if named is not None:
        return named
    clocks = text(root / "sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
    if "kvm-clock" in clocks:
        return "KVM"
    return "a hypervisor"


def in_container(root: Path = _ROOT) -> bool:
    """Whether a container runtime started this process."""
    if "KUBERNETES_SERVICE_HOST" in os.environ or (root / ".dockerenv").exists():
        return True
    return (root / "run/.containerenv").exists() or any(
        word in (text(root / "proc/1/cgroup") or "") for word in _CONTAINERS
    )


def text(path: Path) -> str | None:
    """The contents of a file of the kernel, stripped; None where it is missing, unreadable or empty."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _quota(group: Path) -> float | None:
    """Cores that one control group allows, or None without a limit."""
    numbers = (text(group / "cpu.max") or "").split()
    if len(numbers) != 2:
        numbers = [text(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        quota, period = map(float, numbers)
    except ValueError:  # 'max', or no such file
        return None
    if quota <= 0 or period <= 0:
        return None
    return quota / period


def _cpu_name(root: Path) -> str:
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model", "Hardware")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _system(root: Path) -> str:
    for line in (text(root / "etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            name = line.split("=", 1)[1].strip("\"' ")
            return f"Linux, {name}"
    if sys.platform == "linux":
        return "Linux"
    return f"{platform.system()} {platform.release()}"


def gpus() -> tuple[Gpu, ...]:
    """GPUs as NVML sees them; none where there is no driver."""
    with started() as nvml:
        if nvml is None:
            return ()
        return tuple(_gpu(nvml, handle) for handle in handles(nvml))


def _gpu(nvml: Any, handle: Any) -> Gpu:
    def device(name: str, *args: Any) -> Any:
        return ask(nvml, getattr(nvml, f"nvmlDeviceGet{name}"), handle, *args)

    memory = device("MemoryInfo")
    return Gpu(
        name=str(device("Name") or "a GPU"),
        memory_bytes=int(memory.total if memory else 0),
        driver=str(ask(nvml, nvml.nvmlSystemGetDriverVersion) or ""),
        compute_capability=_dotted(device("CudaComputeCapability")),
        uuid=device("UUID"),
        pci_bus_id=pci_bus_id(nvml, handle),
        **_modes(device),
        **_limits(nvml, device),
    )


def _modes(device: Callable[..., Any]) -> dict[str, Any]:
    """The fields of Gpu that say how it is set up; `device` asks NVML about the GPU."""
    return {
        "ecc": _switch(device("EccMode")),
        "persistence": _switch(device("PersistenceMode")),
        "mig": bool(_switch(device("MigMode"))),
        "compute_mode": _COMPUTE_MODES.get(device("ComputeMode")),
    }


def _limits(nvml: Any, device: Callable[..., Any]) -> dict[str, Any]:
    """The fields of Gpu that say how far clocks, power and the bus may go; `device` asks NVML about the GPU."""
    return {
        "sm_clock_max_mhz": device("MaxClockInfo", nvml.NVML_CLOCK_SM),
        "memory_clock_max_mhz": device("MaxClockInfo", nvml.NVML_CLOCK_MEM),
        "power_limit_mw": device("EnforcedPowerLimit"),
        "power_limit_default_mw": device("PowerManagementDefaultLimit"),
        "pcie_generation_max": device("MaxPcieLinkGeneration"),
        "pcie_lanes_max": device("MaxPcieLinkWidth"),
    }


def _dotted(version: tuple[int, ...] | None) -> str | None:
    """(8, 6) as '8.6'."""
    if not version:
        return None
    return ".".join(map(str, version))


def _switch(mode: int | Sequence[int] | None) -> bool | None:
    """Whether a mode of NVML is on: a number, or a pair of the mode now and after the next boot."""
    if mode is None:
        return None
    if isinstance(mode, Sequence):
        return bool(mode[0])
    return bool(mode)


def _versions() -> dict[str, str]:
    versions = {}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
