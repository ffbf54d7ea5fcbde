"""The GPU part of the doctor: `look_gpus` probes driver, devices and libraries, `judge_gpus` decides from that alone.

No library is imported for it: what a package was built for stands in its files.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from framepace.devices.nvml import ask, started
from framepace.facts.check import Check
from framepace.facts.device import APPLICATION_CLOCKS, IDLE, LIMITING, reason_names
from framepace.facts.machine import Gpu, Machine
from framepace.recording.gpu import Now, look_devices
from framepace.recording.machine import text
from framepace.units import format_bytes

_ROOT = Path("/")
_PROVIDERS = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}
# The first driver for each CUDA (NVIDIA, CUDA Compatibility: minimum driver version).
_DRIVERS = {11: "450", 12: "525", 13: "580"}
_HARDWARE = 0x008 | 0x040 | 0x080  # slowdowns that the board itself orders, in facts.device.EVENT_REASONS
_CUDA_LIBRARIES = re.compile(rb"lib(?:cudart|cublas|cublasLt|cufft|curand|cudnn|nvrtc)\.so\.\d+(?=\0)")
_COMPUTE_MODES = {
    "exclusive process": ("EXCLUSIVE_PROCESS", "one process at a time may use it: strategy=processes fails"),
    "prohibited": ("PROHIBITED", "no process may use it"),
}
# Variables of CUDA that change what is measured, and why.
_VARIABLES = {
    "CUDA_LAUNCH_BLOCKING": "every kernel is waited for, and nothing overlaps",
    "CUDA_VISIBLE_DEVICES": "it says which GPUs there are for CUDA, and in which order",
    "CUDA_DEVICE_ORDER": "it says in which order CUDA numbers GPUs",
}
_NAMES_END = 16 << 20  # the names of needed libraries stand at the start of a library, before its code
_BUILT_FOR = {
    "onnxruntime": ("capi/build_and_package_info.py", r"^cuda_version\s*=\s*['\"](\d+)\.(\d+)"),
    "torch": ("version.py", r"^cuda\b[^=]*=\s*['\"](\d+)\.(\d+)"),
}


@dataclass(frozen=True)
class GpuLooks:
    """What was seen of driver, GPUs (by PCI bus id) and libraries; the defaults are those of a healthy machine.

    `problem` is why NVML does not answer ('' when it does): 'no module', 'no library', 'not loaded', 'mismatch',
    'no permission' or the driver's own words. `module` is the version of the kernel's driver, `on_bus` whether there
    is a GPU of NVIDIA at all. CUDA versions are (major, minor): the newest that the driver runs, and by library the
    one it was built for. `missing` are the CUDA libraries that ONNX Runtime needs and nobody has.
    """

    problem: str = ""
    module: str | None = None
    on_bus: bool = False
    cuda: tuple[int, int] | None = None
    built_for: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    installed: tuple[str, ...] = ("cuda-core",)
    now: Mapping[str, Now] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def look_gpus(root: Path = _ROOT, nvml: Any = None) -> GpuLooks:
    """Look at driver, GPUs and libraries; nothing is changed, and no CUDA context made.

    Args:
        root: where `proc`, `sys` and `etc` are.
        nvml: a module to use instead of pynvml.
    """
    with started(nvml) as module:
        cuda = ask(module, module.nvmlSystemGetCudaDriverVersion_v2) if module else None
        now = look_devices(module) if module else {}
    return GpuLooks(
        problem="" if module else _problem(nvml),
        module=_module_version(text(root / "proc/driver/nvidia/version") or ""),
        on_bus=_on_bus(root),
        cuda=(cuda // 1000, cuda % 1000 // 10) if cuda else None,
        built_for=built_for(),
        missing=missing_libraries(root),
        installed=_installed(),
        now=now,
        variables={name: os.environ[name] for name in _VARIABLES if name in os.environ},
    )


def judge_gpus(machine: Machine, seen: GpuLooks, providers: tuple[str, ...]) -> Iterator[Check]:
    """The checks, from what was found alone. `providers` are ONNX Runtime's."""
    if seen.problem or not machine.gpus:
        yield _driver(machine, seen)
        return
    yield from _cuda(seen)
    for index, gpu in enumerate(machine.gpus):
        name = "GPU" if len(machine.gpus) == 1 else f"GPU {index}"
        now = seen.now.get(gpu.pci_bus_id or "", Now())
        yield from _device(_One(name, f"sudo nvidia-smi -i {gpu.pci_bus_id or index}", gpu, now))
    yield from _libraries(seen, providers)
    yield from _variables(seen)


def _driver(machine: Machine, seen: GpuLooks) -> Check:
    """What stands between NVML and a GPU."""
    if seen.problem == "mismatch":
        why = "the driver was updated while its old kernel module ran on; CUDA cannot start until that is gone"
        return _bad(f"kernel module {seen.module or '?'}, newer libraries", why, "sudo reboot")
    if seen.problem == "no permission":
        return _bad("the driver refuses this user", "/dev/nvidia* must be readable and writable for it")
    if seen.problem == "no library" and seen.module is not None:
        why = "the kernel has the driver, but its libraries (libnvidia-ml, libcuda) are not here"
        fix = "docker run --gpus all ..." if machine.container else None
        return _bad(f"driver {seen.module} without libraries", why, fix)
    if seen.problem == "not loaded" and seen.on_bus:
        why = "nothing can use the GPU"
        return _bad("the kernel's driver is not loaded", why, "sudo modprobe nvidia", "sudo modprobe -r nvidia")
    if seen.problem == "no library" and seen.on_bus:
        return _bad("an NVIDIA GPU without a driver", "nothing can use it until NVIDIA's driver is installed")
    known = seen.problem in ("", "no module", "no library", "not loaded")
    return Check(name="GPU", state="info", found="no NVIDIA driver answers" if known else f"NVML says: {seen.problem}")


def _bad(found: str, why: str, fix: str | None = None, undo: str | None = None) -> Check:
    return Check(name="GPU", state="bad", found=found, why=why, fix=fix, undo=undo)


def _cuda(seen: GpuLooks) -> Iterator[Check]:
    if seen.cuda is None:
        return
    major, newest = seen.cuda[0], f"{seen.cuda[0]}.{seen.cuda[1]}"
    for name, wanted in seen.built_for.items():
        built = f"{name} is built for CUDA {wanted[0]}{f'.{wanted[1]}' if wanted[1] else ''}"
        if wanted[0] > major:
            need = f"driver {_DRIVERS[wanted[0]]} or later" if wanted[0] in _DRIVERS else "a newer driver"
            why = f"it cannot run here: it needs {need}, or must be replaced by a build for CUDA {major}"
            yield Check(name="CUDA", state="bad", found=f"the driver runs up to CUDA {newest}; {built}", why=why)
        elif wanted > seen.cuda:
            why = "it runs, by CUDA's minor-version compatibility, but kernels compiled at run time (PTX) may not"
            yield Check(name="CUDA", state="info", found=f"the driver runs up to CUDA {newest}; {built}", why=why)
    if all(wanted <= seen.cuda for wanted in seen.built_for.values()):
        yield Check(name="CUDA", state="ok", found=f"the driver runs up to CUDA {newest}")


@dataclass(frozen=True)
class _One:
    """A GPU with what its checks are called and how its commands begin."""

    name: str
    smi: str
    gpu: Gpu
    now: Now

    def warn(self, what: str, found: str, why: str, fix: str | None = None, undo: str | None = None) -> Check:
        """A check of this GPU; `fix` and `undo` are options of nvidia-smi."""
        commands = [None if option is None else f"{self.smi} {option}" for option in (fix, undo)]
        return Check(name=f"{self.name} {what}", state="warn", found=found, why=why, fix=commands[0], undo=commands[1])

    def info(self, what: str, found: str, why: str = "") -> Check:
        """A check of this GPU that asks for nothing."""
        return Check(name=f"{self.name} {what}", state="info", found=found, why=why)


def _device(one: _One) -> Iterator[Check]:
    gpu = one.gpu
    found = f"{gpu.name}, {format_bytes(gpu.memory_bytes)}, driver {gpu.driver}"
    yield Check(name=one.name, state="info", found=found)
    yield from _modes(one)
    yield from _power(one)
    yield from _clocks(one)
    yield from _link(one)
    yield from _memory(one)
    yield from _others(one)


def _modes(one: _One) -> Iterator[Check]:
    gpu = one.gpu
    if gpu.persistence is False:
        why = "without a process on it the driver lets the GPU go: the first start then takes seconds, and settings go"
        yield one.warn("persistence mode", "off", why, "-pm 1", "-pm 0")
    if gpu.mig:
        why = "each instance has a part of the SMs and of the memory; clocks, power and PCIe are shared with the others"
        yield one.warn("MIG", "on", why, "-mig 0", "-mig 1")
    if gpu.compute_mode in _COMPUTE_MODES:
        word, why = _COMPUTE_MODES[gpu.compute_mode]
        yield one.warn("compute mode", gpu.compute_mode, why, "-c DEFAULT", f"-c {word}")


def _power(one: _One) -> Iterator[Check]:
    limit, default = one.gpu.power_limit_mw, one.gpu.power_limit_default_mw
    if limit and default and limit < default:
        found = f"{limit / 1000:g} W, {default / 1000:g} W by default"
        why = "the clock falls under load sooner than the cooling demands"
        yield one.warn("power limit", found, why, f"-pl {default / 1000:g}", f"-pl {limit / 1000:g}")
    now, slowdown = one.now.temperature, one.now.slowdown_at
    if now is not None and slowdown is not None and now >= slowdown - 5:
        yield one.warn("temperature", f"{now} C, slows down at {slowdown} C", "heat lowers the clock: look at the air")


def _clocks(one: _One) -> Iterator[Check]:
    now, top = one.now, one.gpu.sm_clock_max_mhz
    limits = now.reasons & LIMITING
    if limits:
        check = one.warn("clock", f"held down by: {', '.join(reason_names(limits))}", "power or heat takes speed away")
        yield Check(name=check.name, state="bad", found=check.found, why=check.why) if limits & _HARDWARE else check
    default = now.application_clock_default
    if now.application_clock and default and now.application_clock < default:
        found = f"{now.application_clock} MHz, {default} MHz by default"
        undo = f"-ac {now.memory_clock},{now.application_clock}" if now.memory_clock else None
        yield one.warn("application clocks", found, "the clock stays below what the GPU can do", "-rac", undo)
    elif now.reasons & APPLICATION_CLOCKS and now.sm_clock and top and now.sm_clock < 0.95 * top:
        found = f"set by hand: {now.sm_clock} of {top} MHz"
        why = "a locked clock makes times steady, and below the highest also longer"
        yield one.warn("locked clocks", found, why, "-rgc", f"-lgc {now.sm_clock}")
    elif now.reasons & IDLE and now.sm_clock and top and now.sm_clock >= 0.9 * top:
        yield one.info("clock", f"{now.sm_clock} of {top} MHz while idle", "locked high, or in use a moment ago")


def _link(one: _One) -> Iterator[Check]:
    now, gpu = one.now, one.gpu
    if now.lanes and gpu.pcie_lanes_max and now.lanes < gpu.pcie_lanes_max:
        why = "copies take longer in proportion: look at the slot, the riser and the BIOS"
        yield one.warn("PCIe lanes", f"{now.lanes} of {gpu.pcie_lanes_max}", why)
    # An idle link goes down to the first generation by itself and comes back with the load.
    loaded = not now.reasons & IDLE
    if loaded and now.generation and gpu.pcie_generation_max and now.generation < gpu.pcie_generation_max:
        why = "copies take twice as long for each generation missing: look at the slot, the riser and the BIOS"
        yield one.warn("PCIe generation", f"{now.generation} of {gpu.pcie_generation_max}, under load", why)


def _memory(one: _One) -> Iterator[Check]:
    if one.gpu.ecc is not None:
        why = "" if one.gpu.ecc else "memory errors go unnoticed, and change results"
        yield one.info("ECC", "on" if one.gpu.ecc else "off", why)
    if one.now.uncorrected:
        why = "results may be wrong, and the next such error ends the process"
        yield Check(name=f"{one.name} memory errors", state="bad", found=f"{one.now.uncorrected} uncorrected", why=why)


def _others(one: _One) -> Iterator[Check]:
    if one.now.processes:
        told = [f"{name} ({pid}, {format_bytes(size) if size else '?'})" for pid, name, size in one.now.processes[:4]]
        more = len(one.now.processes) - len(told)
        found = ", ".join(told) + (f" and {more} more" if more else "")
        yield one.warn("neighbours", found, "their kernels take turns with yours, and their memory is not yours")


def _libraries(seen: GpuLooks, providers: tuple[str, ...]) -> Iterator[Check]:
    if not _PROVIDERS & set(providers):
        yield Check(
            name="GPU in ONNX Runtime",
            state="warn",
            found=f"providers: {', '.join(providers) or 'none'}",
            why="models run on the CPU although there is a GPU",
            fix="pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
            undo="pip uninstall -y onnxruntime-gpu && pip install onnxruntime",
        )
    elif seen.missing:
        major = seen.built_for.get("onnxruntime", (12, 0))[0]
        why = "the CUDA provider cannot be loaded, and models would run on the CPU"
        fix = f"pip install {' '.join(_packages(seen.missing, major))}"
        found = f"without {', '.join(seen.missing)}"
        yield Check(name="GPU in ONNX Runtime", state="bad", found=found, why=why, fix=fix)
    core = "cuda-core" in seen.installed
    usable = ["onnxruntime"] * bool(_PROVIDERS & set(providers)) + [n for n in seen.installed if n != "cuda-core"]
    yield Check(
        name="GPU backends",
        state="info" if core else "warn",
        found=(", ".join(usable) or "none") + ("" if core else "; cuda-core is missing"),
        why="" if core else "framepace drives GPUs through it",
        fix=None if core else "pip install 'framepace[cuda]'",
    )


def _variables(seen: GpuLooks) -> Iterator[Check]:
    for name, value in seen.variables.items():
        hidden = name == "CUDA_VISIBLE_DEVICES" and value.strip() in ("", "-1", "NoDevFiles")
        wrong = hidden or (name == "CUDA_LAUNCH_BLOCKING" and value == "1")
        why = "it hides every GPU from CUDA" if hidden else _VARIABLES[name]
        state: Literal["warn", "info"] = "warn" if wrong else "info"
        yield Check(name=name, state=state, found=value, why=why, fix=f"unset {name}", undo=f"export {name}={value}")


def _packages(sonames: tuple[str, ...], major: int) -> list[str]:
    """The packages that bring libraries; of CUDA 13 and later only cuDNN's has the version in its name."""
    names = {"cudart": "cuda-runtime", "cublasLt": "cublas", "nvrtc": "cuda-nvrtc"}
    stems = [soname.removeprefix("lib").partition(".so")[0] for soname in sonames]
    parts = dict.fromkeys(names.get(stem, stem) for stem in stems)
    return [f"nvidia-{part}-cu{major}" if major < 13 or part == "cudnn" else f"nvidia-{part}" for part in parts]


def built_for() -> dict[str, tuple[int, int]]:
    """The CUDA version (major, minor) that each installed library was built for; CPU builds are left out."""
    found = {}
    for name, (file, pattern) in _BUILT_FOR.items():
        folder = _folder(name)
        match = re.search(pattern, text(folder / file) or "", re.MULTILINE) if folder else None
        if match:
            found[name] = (int(match[1]), int(match[2]))
    majors = [major for major in _DRIVERS if _has(f"tensorrt-cu{major}")]
    return found | ({"tensorrt": (max(majors), 0)} if majors else {})


def missing_libraries(root: Path = _ROOT) -> tuple[str, ...]:
    """CUDA libraries that ONNX Runtime's CUDA provider is linked against and that no place has where it looks.

    Those are NVIDIA's packages beside this one, LD_LIBRARY_PATH and the system's cache of libraries.
    """
    folder = _folder("onnxruntime")
    provider = folder / "capi/libonnxruntime_providers_cuda.so" if folder else None
    if provider is None or not provider.exists():
        return ()
    with provider.open("rb") as file:
        needed = dict.fromkeys(name.decode() for name in _CUDA_LIBRARIES.findall(file.read(_NAMES_END)))
    folders = [Path(path) for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path]
    folders += [lib for path in sys.path for lib in Path(path).glob("nvidia/*/lib")]
    cache = root / "etc/ld.so.cache"
    known = cache.read_bytes() if cache.exists() else b""

    def is_here(name: str) -> bool:
        return name.encode() + b"\0" in known or any((folder / name).exists() for folder in folders)

    return tuple(name for name in needed if not is_here(name))


def _installed() -> tuple[str, ...]:
    """What framepace runs models on GPUs with, beside ONNX Runtime; torch only where it is built for CUDA."""
    names = ("cuda-core", "tensorrt", "tensorrt-rtx", "torch")
    return tuple(name for name in names if _has(name) and (name != "torch" or name in built_for()))


def _problem(nvml: Any = None) -> str:
    """Why NVML does not answer; see GpuLooks."""
    try:
        if nvml is None:
            import pynvml

            nvml = pynvml
    except ImportError:
        return "no module"
    words = {12: "no library", 9: "not loaded", 18: "mismatch", 4: "no permission"}  # NVML_ERROR_*
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return words.get(getattr(error, "value", 0), str(error))
    nvml.nvmlShutdown()
    return ""


def _module_version(words: str) -> str | None:
    match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", words)
    return match[1] if match else None


def _on_bus(root: Path) -> bool:
    """Whether a display controller of NVIDIA is on the PCI bus."""
    devices = (root / "sys/bus/pci/devices").glob("*")
    return any(text(d / "vendor") == "0x10de" and (text(d / "class") or "").startswith("0x03") for d in devices)


def _folder(package: str) -> Path | None:
    """Where a package lies, found without importing it."""
    spec = find_spec(package)
    return Path(spec.origin).parent if spec is not None and spec.origin else None


def _has(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
