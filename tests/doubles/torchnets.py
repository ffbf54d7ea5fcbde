"""PyTorch models for tests, and how they are saved, loaded and run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from framepace.backends.base import Session, Tensors, Worker, get_backend
from framepace.clock.system import SystemClock
from framepace.facts.plan import Batching, ModelPlan


class Net(torch.nn.Module):  # type: ignore[misc]
    """A convolution with a normalisation and a buffer: a map and its mean."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(4)
        self.register_buffer("scale", torch.full((4, 1, 1), 2.0))

    def forward(self, picture):  # type: ignore[no-untyped-def]
        """(n, 3, 8, 8) to (n, 4, 8, 8) and (n, 4)."""
        y = self.norm(self.conv(picture)) * self.scale
        return y, y.mean((2, 3))


class Branches(torch.nn.Module):  # type: ignore[misc]
    """What exported graphs may hold: control flow, modes, sizes, several results of one operator, None, bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.linear = torch.nn.Linear(6, 6)
        self.lstm = torch.nn.LSTM(6, 5, batch_first=True)

    def forward(self, x, unused=None):  # type: ignore[no-untyped-def]
        """(n, 3, 6) to many."""
        with torch.no_grad():
            y = self.linear(x)
        with torch.autocast("cpu", enabled=False):
            product = torch.matmul(y, y.transpose(1, 2))
        first, second = torch.split(y, [2, 4], dim=-1)
        sign = torch.cond(x.sum() > 0, lambda t: (t + 1,), lambda t: (t - 1,), (y,))[0]
        flat = y.reshape(x.shape[0] * x.shape[1], 6)
        limited = torch.clamp(y, min=-float("inf"), max=0.5)
        half = torch.ones(x.shape[0] // 2 + 1, dtype=torch.bfloat16)
        return {"a": first, "b": [second, torch.sort(y)[0]]}, product, sign, flat, self.lstm(x)[0], limited, half, None


def save_export(path: Path, net: Any = None) -> str:
    """An exported program with a batch of 1 to 64."""
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(net or Net().eval(), (torch.rand(2, 3, 8, 8),), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return str(path)


def save_script(path: Path) -> str:
    """Net as TorchScript."""
    torch.jit.script(Net().eval()).save(path)
    return str(path)


def plan(location: str, batch: int = 1, **changes: Any) -> ModelPlan:
    """A plan on the CPU."""
    fields: dict[str, Any] = {"device": "cpu", "threads": 1} | changes
    return ModelPlan(name="m", model=location, backend="torch", batch=Batching(max=batch), **fields)


def load(location: str, batch: int = 1, **changes: Any) -> Session:
    """The model loaded."""
    return get_backend("torch").load(plan(location, batch, **changes), SystemClock())


def fill(worker: Worker, seed: int = 0) -> NDArray[Any]:
    """Random input; what it is."""
    (array,) = worker.staging(0).values()
    high = 256 if array.dtype == np.uint8 else 1
    array[...] = np.random.default_rng(seed).random(array.shape) * high
    return array


def infer(worker: Worker, count: int) -> Tensors:
    """One inference, its outputs copied."""
    worker.enqueue(0, count)
    return {name: out.copy() for name, out in worker.wait(0).items()}


_NET = Net().eval()


def reference(x: Any) -> list[NDArray[Any]]:
    """What Net itself computes."""
    with torch.no_grad():
        return [out.numpy() for out in _NET(torch.from_numpy(np.array(x)))]


def changed(location: str, into: Path, change: Callable[[str, bytes], bytes | None]) -> str:
    """A copy of an archive with changed members; None leaves one out."""
    with zipfile.ZipFile(location) as source, zipfile.ZipFile(into, "w") as target:
        for name in source.namelist():
            if (content := change(name, source.read(name))) is not None:
                target.writestr(name, content)
    return str(into)
