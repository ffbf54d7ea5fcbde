"""The machine probe: CPU, memory, system, GPUs and library versions, without importing the libraries."""

from __future__ import annotations

import os
import platform
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from framepace.facts.machine import Gpu, Machine

_LIBRARIES = ("av", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "torch", "framepace")
_CPU = Path("/sys/devices/system/cpu")


@lru_cache
def probe() -> Machine:
    """This machine; never an error: what cannot be found out is None."""
    import psutil

    return Machine(
        cpu=_cpu_name(),
        cores_physical=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        cores_logical=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        system=_system(),
        kernel=platform.release(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        governor=_text(_CPU / "cpu0/cpufreq/scaling_governor"),
        idle_driver=_text(_CPU / "cpuidle/current_driver"),
        virtual=_hypervisor(),
        container=_container(),
        cpu_limit=cpu_limit(),
        gpus=_gpus(),
        libraries=_versions(),
    )


def cpu_limit(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores that the control group allows (v2: cpu.max; v1: cfs_quota_us), or None without a limit."""
    both = (_text(root / "cpu.max") or "").split()
    if len(both) != 2:
        both = [_text(root / f"cpu/cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        quota, period = float(both[0]), float(both[1])
    except ValueError:
        return None
    return quota / period if quota > 0 and period > 0 else None


def _cpu_name() -> str:
    for line in (_text(Path("/proc/cpuinfo")) or "").splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _system() -> str:
    for line in (_text(Path("/etc/os-release")) or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return f"Linux, {line.split('=', 1)[1].strip().strip(chr(34))}"
    return f"{platform.system()} {platform.release()}" if sys.platform != "linux" else "Linux"


def _hypervisor() -> str | None:
    if " hypervisor" not in (_text(Path("/proc/cpuinfo")) or ""):
        return None
    vendor = _text(Path("/sys/class/dmi/id/sys_vendor"))
    return vendor or _text(Path("/sys/hypervisor/type")) or "a hypervisor"


def _container() -> bool:
    init = _text(Path("/proc/1/cgroup")) or ""
    named = any(word in init for word in ("docker", "kubepods", "containerd", "lxc"))
    return named or Path("/.dockerenv").exists() or "KUBERNETES_SERVICE_HOST" in os.environ


def _gpus() -> tuple[Gpu, ...]:
    """GPUs as NVML sees them; none where there is no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no library, no driver, no permission: no GPU for us
        return ()
    driver = str(pynvml.nvmlSystemGetDriverVersion())
    return tuple(_gpu(pynvml, pynvml.nvmlDeviceGetHandleByIndex(i), driver) for i in range(pynvml.nvmlDeviceGetCount()))


def _gpu(nvml: object, handle: object, driver: str) -> Gpu:
    import pynvml

    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        name=str(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        driver=driver,
        compute_capability=f"{major}.{minor}",
        sm_clock_max_mhz=int(pynvml.nvmlDeviceGetMaxClockInfo(handle, pynvml.NVML_CLOCK_SM)),
        power_limit_mw=int(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)),
    )


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip() or None
    except OSError:
        return None
