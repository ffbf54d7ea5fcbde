"""NVIDIA's driver: why it does not answer, its kernel module, and whether there is a GPU for it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from framepace.recording.machine import text

# NVML_ERROR_UNINITIALIZED and so on (nvml.h), as DriverState.problem has them.
_PROBLEMS = {12: "no library", 9: "not loaded", 18: "mismatch", 4: "no permission"}
_NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASS = "0x03"


def driver_problem(nvml: Any = None) -> str:
    """Why NVML does not answer; '' when it does. See DriverState."""
    try:
        if nvml is None:
            import pynvml

            nvml = pynvml
    except ImportError:
        return "no module"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _PROBLEMS.get(getattr(error, "value", 0), str(error))
    nvml.nvmlShutdown()
    return ""


def module_version(root: Path) -> str | None:
    """The version of the driver in the kernel, None where it is not loaded."""
    match = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", text(root / "proc/driver/nvidia/version") or "")
    if match is None:
        return None
    return match[1]


def on_bus(root: Path) -> bool:
    """Whether a display controller of NVIDIA is on the PCI bus."""
    return any(_is_nvidia_display(device) for device in (root / "sys/bus/pci/devices").glob("*"))


def _is_nvidia_display(device: Path) -> bool:
    is_display = (text(device / "class") or "").startswith(_DISPLAY_CLASS)
    return is_display and text(device / "vendor") == _NVIDIA_VENDOR
