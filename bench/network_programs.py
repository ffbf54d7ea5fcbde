"""Classifiers of torchvision with random weights as PyTorch's exported programs (.pt2), with an open batch.

    python bench/network_programs.py FOLDER [NAME ...]

Run it with a Python that has torchvision; `tests/contract/test_networks.py` runs what is in FOLDER.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from network_makers import classifier, stand_in_for_compiled_operators

SIDE = 224
NAMES = (
    "mobilenet_v3_large", "resnet18", "squeezenet1_1", "shufflenet_v2_x1_0", "efficientnet_b0", "regnet_y_400mf",
)  # fmt: skip


def export(name: str, folder: Path) -> Path:
    """The file of a network; one that is there already is left."""
    path = folder / f"torchvision-{name}.pt2"
    if path.is_file():
        return path
    torch.manual_seed(1)
    network = classifier(name).eval()
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    # Two items: one would be taken for a size that is always one.
    program = torch.export.export(network, (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=(batch,))
    torch.export.save(program, str(path))
    return path


def main(folder: str, names: Sequence[str]) -> None:
    """Export these networks, or all."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    stand_in_for_compiled_operators()
    for name in names or NAMES:
        path = export(name, Path(folder))
        print(f"{path}  {path.stat().st_size >> 10} KiB", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
