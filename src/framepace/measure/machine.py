"""The machine probe: CPU, memory, system, GPUs and library versions, without importing the libraries."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from framepace.facts.machine import Gpu, Machine

_LIBRARIES = ("framepace", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "av", "tensorrt", "torch")
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
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver, no permission: no GPU for us
        return ()
    try:
        return tuple(_gpu(pynvml, pynvml.nvmlDeviceGetHandleByIndex(i)) for i in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, handle: Any) -> Gpu:
    def ask(question: Callable[[], _T]) -> _T | None:
        try:
            return question()
        except nvml.NVMLError:  # not every device answers everything: integrated and virtual ones
            return None

    capability = ask(lambda: nvml.nvmlDeviceGetCudaComputeCapability(handle))
    return Gpu(
        name=str(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=ask(lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total)) or 0,
        driver=str(nvml.nvmlSystemGetDriverVersion()),
        compute_capability=".".join(map(str, capability)) if capability else None,
        sm_clock_max_mhz=ask(lambda: int(nvml.nvmlDeviceGetMaxClockInfo(handle, nvml.NVML_CLOCK_SM))),
        power_limit_mw=ask(lambda: int(nvml.nvmlDeviceGetEnforcedPowerLimit(handle))),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
