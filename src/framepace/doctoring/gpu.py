"""The GPU part of the doctor: `observe_gpus` reads driver, devices and libraries, `judge_gpus` decides from that alone.

No library is imported for it: which CUDA a package was built for is written in its files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from framepace.devices.nvml import ask, started
from framepace.doctoring.check import bad, info, ok, warn
from framepace.doctoring.gpulibraries import (
    CUDA_VARIABLES,
    FIRST_DRIVERS,
    built_for,
    cuda_variables,
    installed_libraries,
    missing_libraries,
    packages,
)
from framepace.doctoring.gpulinks import Link, judge_links, observe_links
from framepace.doctoring.gpusettings import judge_gpu
from framepace.doctoring.nvidiadriver import driver_problem, module_version, on_bus
from framepace.facts.check import Check
from framepace.facts.machine import Machine
from framepace.recording.gpu import GpuStatus, gpu_statuses
from framepace.video.device.decoder import has_library

_ROOT = Path("/")
_PROVIDERS = {"CUDAExecutionProvider", "TensorrtExecutionProvider"}
_PROVIDER_CHECK = "GPU in ONNX Runtime"


@dataclass(frozen=True)
class DriverState:
    """The state of driver, GPUs (by PCI bus id) and libraries; the defaults are those of a healthy machine.

    `problem` is why NVML does not answer ('' when it does): 'no module', 'no library', 'not loaded', 'mismatch',
    'no permission' or the driver's own words. `module` is the version of the kernel's driver, `on_bus` whether there
    is a GPU of NVIDIA at all. CUDA versions are (major, minor): the newest that the driver runs, and by library the
    one it was built for. `missing` are the CUDA libraries that ONNX Runtime needs and nobody has. `decodes`: the driver
    brought its library for video. `links` are those of every two GPUs, by their PCI bus ids.
    """

    problem: str = ""
    module: str | None = None
    on_bus: bool = False
    cuda: tuple[int, int] | None = None
    built_for: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    installed: tuple[str, ...] = ("cuda-core",)
    decodes: bool = True
    status: Mapping[str, GpuStatus] = field(default_factory=dict)
    links: Mapping[frozenset[str], Link] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def observe_gpus(root: Path = _ROOT, nvml: Any = None) -> DriverState:
    """The state of driver, GPUs and libraries; nothing is changed, and no CUDA context made.

    Args:
        root: where `proc`, `sys` and `etc` are.
        nvml: a module to use instead of pynvml.
    """
    return DriverState(
        module=module_version(root),
        on_bus=on_bus(root),
        built_for=built_for(),
        missing=missing_libraries(root),
        installed=installed_libraries(),
        decodes=has_library(),
        variables=cuda_variables(),
        **_told(nvml),
    )


def _told(nvml: Any) -> dict[str, Any]:
    """The fields of DriverState that NVML answers, or why it does not."""
    with started(nvml) as module:
        if module is None:
            return {"problem": driver_problem(nvml)}
        return {"cuda": _newest_cuda(module), "status": gpu_statuses(module), "links": observe_links(module)}


def judge_gpus(machine: Machine, state: DriverState, providers: tuple[str, ...]) -> Iterator[Check]:
    """The checks of a machine whose GPUs are in that state. `providers` are ONNX Runtime's."""
    if state.problem or not machine.gpus:
        yield _driver(machine, state)
        return
    yield from _cuda(state)
    yield from _devices(machine, state)
    yield from _decoding(machine, state)
    yield from _providers(state, providers)
    yield _backends(state, providers)
    yield from _variables(state)


def _devices(machine: Machine, state: DriverState) -> Iterator[Check]:
    """Each GPU, and how they reach each other."""
    for index, gpu in enumerate(machine.gpus):
        name = f"GPU {index}"
        if len(machine.gpus) == 1:
            name = "GPU"
        status = state.status.get(gpu.pci_bus_id or "", GpuStatus())
        yield from judge_gpu(name, index, gpu, status)
    yield from judge_links([gpu.pci_bus_id for gpu in machine.gpus], state.links)


def _newest_cuda(nvml: Any) -> tuple[int, int] | None:
    """The newest CUDA that the driver runs, (major, minor); NVML gives 1000 * major + 10 * minor."""
    number = ask(nvml, nvml.nvmlSystemGetCudaDriverVersion_v2)
    if not number:
        return None
    return number // 1000, number % 1000 // 10


def _driver(machine: Machine, state: DriverState) -> Check:
    """What stands between NVML and a GPU."""
    if state.problem == "mismatch":
        why = "the driver was updated while its old kernel module ran on; CUDA cannot start until that is gone"
        return bad("GPU", f"kernel module {state.module or '?'}, newer libraries", why, "sudo reboot")
    if state.problem == "no permission":
        return bad("GPU", "the driver refuses this user", "/dev/nvidia* must be readable and writable for this user")
    if state.problem == "not loaded" and state.on_bus:
        why = "nothing can use the GPU"
        return bad("GPU", "the kernel's driver is not loaded", why, "sudo modprobe nvidia", "sudo modprobe -r nvidia")
    if state.problem == "no library" and state.module is not None:
        return _driver_without_libraries(machine, state.module)
    if state.problem == "no library" and state.on_bus:
        return bad("GPU", "an NVIDIA GPU without a driver", "nothing can use it until NVIDIA's driver is installed")
    if state.problem in ("", "no module", "no library", "not loaded"):
        return info("GPU", "no NVIDIA driver answers")
    return info("GPU", f"NVML says: {state.problem}")


def _driver_without_libraries(machine: Machine, module: str) -> Check:
    fix = None
    if machine.container:
        fix = "docker run --gpus all ..."
    why = "the kernel has the driver, but its libraries (libnvidia-ml, libcuda) are missing"
    return bad("GPU", f"driver {module} without libraries", why, fix)


def _cuda(state: DriverState) -> Iterator[Check]:
    """Whether the driver runs the CUDA that each library was built for."""
    if state.cuda is None:
        return
    newest = f"the driver runs up to CUDA {state.cuda[0]}.{state.cuda[1]}"
    for name, version in state.built_for.items():
        mismatch = f"{newest}; {name} is built for CUDA {_version_text(version)}"
        if version[0] > state.cuda[0]:
            build = f"a build for CUDA {state.cuda[0]}"
            why = f"it cannot run here: it needs {_driver_for(version[0])}, or must be replaced by {build}"
            yield bad("CUDA", mismatch, why)
        elif version > state.cuda:
            why = "it runs, by CUDA's minor-version compatibility, but kernels compiled at run time (PTX) may not"
            yield info("CUDA", mismatch, why)
    if all(version <= state.cuda for version in state.built_for.values()):
        yield ok("CUDA", newest)


def _decoding(machine: Machine, state: DriverState) -> Iterator[Check]:
    """Whether the GPU's video decoder can be used."""
    if state.decodes:
        return
    fix = None
    if machine.container:
        fix = "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility,video ..."
    why = "videos are decoded on the CPU: decode=gpu needs the driver's library for video"
    yield warn("GPU video decoding", "libnvcuvid is missing", why, fix)


def _version_text(version: tuple[int, int]) -> str:
    """'12.4', or '12' where only the major version is known."""
    major, minor = version
    if minor:
        return f"{major}.{minor}"
    return str(major)


def _driver_for(cuda_major: int) -> str:
    if cuda_major in FIRST_DRIVERS:
        return f"driver {FIRST_DRIVERS[cuda_major]} or later"
    return "a newer driver"


def _providers(state: DriverState, providers: tuple[str, ...]) -> Iterator[Check]:
    """Whether ONNX Runtime can use the GPU."""
    if not _PROVIDERS & set(providers):
        yield warn(
            _PROVIDER_CHECK,
            f"providers: {', '.join(providers) or 'none'}",
            why="models run on the CPU although there is a GPU",
            fix="pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
            undo="pip uninstall -y onnxruntime-gpu && pip install onnxruntime",
        )
    elif state.missing:
        cuda_major, _ = state.built_for.get("onnxruntime", (12, 0))
        yield bad(
            _PROVIDER_CHECK,
            f"without {', '.join(state.missing)}",
            why="the CUDA provider cannot be loaded, and models would run on the CPU",
            fix=f"pip install {' '.join(packages(state.missing, cuda_major))}",
        )


def _backends(state: DriverState, providers: tuple[str, ...]) -> Check:
    """What runs models on the GPU here."""
    names = [name for name in state.installed if name != "cuda-core"]
    if _PROVIDERS & set(providers):
        names.insert(0, "onnxruntime")
    usable = ", ".join(names) or "none"
    if "cuda-core" in state.installed:
        return info("GPU backends", usable)
    fix = "pip install 'framepace[cuda]'"
    return warn("GPU backends", f"{usable}; cuda-core is missing", "framepace drives GPUs through it", fix)


def _variables(state: DriverState) -> Iterator[Check]:
    for name, value in state.variables.items():
        commands = {"fix": f"unset {name}", "undo": f"export {name}={value}"}
        if name == "CUDA_VISIBLE_DEVICES" and value.strip() in ("", "-1", "NoDevFiles"):
            yield warn(name, value, "it hides every GPU from CUDA", **commands)
        elif name == "CUDA_LAUNCH_BLOCKING" and value == "1":
            yield warn(name, value, CUDA_VARIABLES[name], **commands)
        else:
            yield Check(name=name, state="info", found=value, why=CUDA_VARIABLES[name], **commands)
