"""The machine probe: CPU, memory, system, GPUs and library versions, without importing the libraries."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from framepace.devices.nvml import ask, pci_bus_id, started
from framepace.facts.machine import Gpu, Machine

_LIBRARIES = ("framepace", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "av", "tensorrt", "torch")
_COMPUTE_MODES = {0: "default", 1: "exclusive thread", 2: "prohibited", 3: "exclusive process"}
_CONTAINERS = ("docker", "kubepods", "containerd", "libpod", "lxc")
_ROOT = Path("/")
_T = TypeVar("_T")


@lru_cache
def probe(root: Path = _ROOT) -> Machine:
    """This machine; never an error: what cannot be found out is None.

    Args:
        root: where `proc`, `sys` and `etc` are; other files than the system's own describe another machine to tests.
    """
    import psutil

    cores = psutil.cpu_count() or 1
    return Machine(
        cpu=_cpu_name(root),
        cores_physical=psutil.cpu_count(logical=False) or cores,
        cores_logical=cores,
        memory_bytes=psutil.virtual_memory().total,
        system=_system(root),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        governor=text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        idle_driver=text(root / "sys/devices/system/cpu/cpuidle/current_driver"),
        virtual=hypervisor(root),
        container=in_container(root),
        cpu_limit=cpu_limit(cores, root),
        gpus=_gpus(),
        libraries=_versions(),
    )


def cpu_limit(cores: int, root: Path = _ROOT) -> float | None:
    """Cores this process may use at once, where that is fewer than `cores`: affinity and control-group quotas.

    The tightest quota of the process's control group and of those above it holds (cgroup v2: cpu.max; v1:
    cpu.cfs_quota_us and cpu.cfs_period_us).
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    limit = min([float(allowed), *(quota for group in cpu_groups(root) if (quota := _quota(group)) is not None)])
    return limit if limit < cores else None


def cpu_groups(root: Path = _ROOT) -> Iterator[Path]:
    """Folders of the control groups that rule this process's CPU time, from its own up to the root, v1 and v2."""
    mount = root / "sys/fs/cgroup"
    for line in (text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        top = mount / ("cpu" if controllers else "")
        # In a container the path may be the host's, which is not mounted here; its ancestors then lead to the top.
        group = top / path.strip("/")
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(top))


def hypervisor(root: Path = _ROOT) -> str | None:
    """Who runs this virtual machine, or None on bare metal, from what systemd-detect-virt looks at too."""
    if " hypervisor" not in (text(root / "proc/cpuinfo") or ""):
        return None
    sources = ("sys/class/dmi/id/sys_vendor", "sys/class/dmi/id/product_name", "sys/hypervisor/type")
    named = next((name for source in sources if (name := text(root / source))), None)
    clocks = text(root / "sys/devices/system/clocksource/clocksource0/available_clocksource") or ""
    return named or ("KVM" if "kvm-clock" in clocks else "a hypervisor")


def in_container(root: Path = _ROOT) -> bool:
    """Whether a container runtime started this process."""
    if "KUBERNETES_SERVICE_HOST" in os.environ or (root / ".dockerenv").exists():
        return True
    return (root / "run/.containerenv").exists() or any(
        word in (text(root / "proc/1/cgroup") or "") for word in _CONTAINERS
    )


def text(path: Path) -> str | None:
    """What a file of the kernel says, stripped; None where it is missing, unreadable or empty."""
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None


def _quota(group: Path) -> float | None:
    """Cores that one control group allows, or None without a limit."""
    both = (text(group / "cpu.max") or "").split()
    if len(both) != 2:
        both = [text(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        quota, period = float(both[0]), float(both[1])
    except ValueError:  # 'max', or no such file
        return None
    return quota / period if quota > 0 and period > 0 else None


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
    return "Linux" if sys.platform == "linux" else f"{platform.system()} {platform.release()}"


def _gpus() -> tuple[Gpu, ...]:
    """GPUs as NVML sees them; none where there is no driver."""
    with started() as nvml:
        if nvml is None:
            return ()
        found = (ask(nvml, nvml.nvmlDeviceGetHandleByIndex, i) for i in range(ask(nvml, nvml.nvmlDeviceGetCount) or 0))
        return tuple(_gpu(nvml, handle) for handle in found if handle is not None)


def _gpu(nvml: Any, handle: Any) -> Gpu:
    def told(name: str, *args: Any) -> Any:
        return ask(nvml, getattr(nvml, name), handle, *args)

    capability = told("nvmlDeviceGetCudaComputeCapability")
    memory, ecc, persistence = (told(f"nvmlDeviceGet{n}") for n in ("MemoryInfo", "EccMode", "PersistenceMode"))
    mig = told("nvmlDeviceGetMigMode")
    return Gpu(
        name=str(told("nvmlDeviceGetName") or "a GPU"),
        memory_bytes=int(memory.total) if memory else 0,
        driver=str(ask(nvml, nvml.nvmlSystemGetDriverVersion) or ""),
        compute_capability=".".join(map(str, capability)) if capability else None,
        sm_clock_max_mhz=told("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        power_limit_mw=told("nvmlDeviceGetEnforcedPowerLimit"),
        uuid=told("nvmlDeviceGetUUID"),
        pci_bus_id=pci_bus_id(nvml, handle),
        ecc=None if ecc is None else bool(ecc[0]),
        persistence=None if persistence is None else bool(persistence),
        power_limit_default_mw=told("nvmlDeviceGetPowerManagementDefaultLimit"),
        memory_clock_max_mhz=told("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_MEM),
        pcie_generation_max=told("nvmlDeviceGetMaxPcieLinkGeneration"),
        pcie_lanes_max=told("nvmlDeviceGetMaxPcieLinkWidth"),
        mig=bool(mig and mig[0]),
        compute_mode=_COMPUTE_MODES.get(told("nvmlDeviceGetComputeMode")),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
