"""A healthy GPU, and kernel files that are made up."""

from __future__ import annotations

from pathlib import Path

from framepace.facts.machine import Gpu

BUS = "0000:19:00.0"
GPU = Gpu(
    name="T4",
    memory_bytes=16 << 30,
    driver="550",
    pci_bus_id=BUS,
    sm_clock_max_mhz=1590,
    power_limit_mw=70_000,
    power_limit_default_mw=70_000,
    persistence=True,
    pcie_generation_max=3,
    pcie_lanes_max=16,
    compute_mode="default",
)
CUDA = ("CUDAExecutionProvider", "CPUExecutionProvider")


def made_up(root: Path, files: dict[str, str]) -> Path:
    """A tree of kernel files."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root
