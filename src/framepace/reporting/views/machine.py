"""The machine in a line, and in rows."""

from __future__ import annotations

from framepace.facts.machine import Machine
from framepace.units import format_bytes

_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")  # if both are installed, either may be in use


def machine_line(machine: Machine) -> str:
    """The machine in one line: processor, memory, GPUs, system, important libraries and limits."""
    if not machine.cores_logical:
        return f"machine {machine.cpu}"
    parts = [machine.cpu, _cores(machine), format_bytes(machine.memory_bytes)]
    parts += [gpu.name for gpu in machine.gpus]
    parts.append(machine.system)
    parts += [f"{name} {machine.libraries[name]}" for name in _RUNTIMES if name in machine.libraries]
    if machine.governor:
        parts.append(f"governor {machine.governor}")
    if machine.virtual:
        parts.append(f"virtual ({machine.virtual})")
    if machine.container:
        parts.append("container")
    return ", ".join(parts)


def _cores(machine: Machine) -> str:
    cores = f"{machine.cores_logical} cores"
    if machine.cpu_limit is not None and machine.cpu_limit < machine.cores_logical:
        cores += f" (limited to {machine.cpu_limit:g})"
    return cores


def _cores_in_full(machine: Machine) -> str:
    cores = f"{machine.cores_physical} physical, {machine.cores_logical} logical"
    if machine.cpu_limit is not None:
        cores += f", limited to {machine.cpu_limit:g}"
    return cores


def _gpu_rows(machine: Machine) -> list[tuple[str, str]]:
    return [("GPU", f"{gpu.name}, {format_bytes(gpu.memory_bytes)}, driver {gpu.driver}") for gpu in machine.gpus]


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """All properties of the machine, one row each."""
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    container = "yes" if machine.container else "no"
    return [
        ("processor", machine.cpu),
        ("cores", _cores_in_full(machine)),
        ("memory", format_bytes(machine.memory_bytes)),
        ("system", f"{machine.system}, kernel {machine.kernel}"),
        ("governor", machine.governor or "not visible"),
        ("idle driver", machine.idle_driver or "not visible"),
        ("virtual", machine.virtual or "no"),
        ("container", container),
        *_gpu_rows(machine),
        ("Python", machine.python),
        ("libraries", libraries),
        ("fingerprint", machine.fingerprint),
    ]
