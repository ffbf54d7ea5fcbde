"""PyTorch on a GPU: the numbers of the CPU, and its errors told apart."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, UsageError
from framepace.facts.plan import Prepare
from tests.gpus import missing

pytest.importorskip("torch")
import torch

from tests.doubles.torchnets import fill, infer, load, reference

cuda = pytest.mark.skipif(missing("torch", "cuda") is not None, reason="no GPU for PyTorch")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), DeviceMemoryError),
        (RuntimeError("CUDA error: an illegal memory access was encountered\nmore"), DeviceLost),
        (RuntimeError("CUDA error: device-side assert triggered"), DeviceLost),
        (RuntimeError("expected 3 channels"), BackendError),
        (UsageError("ours"), UsageError),
    ],
)
def test_errors_of_cuda_are_told_apart(error: Exception, kind: type[Exception]) -> None:
    """Too little memory, a lost device and a plain failure are different errors, in one line."""
    from framepace.backends.torch.cuda import translate

    found = translate(error, "inference failed in PyTorch")
    assert type(found) is kind
    assert "more" not in str(found)


@cuda
@pytest.mark.parametrize("changes", [{}, {"graph": True}, {"graph": True, "slots": 3}, {"transfer": "pageable"}])
def test_a_gpu_gives_the_outputs_of_the_module(exported: str, changes: dict[str, Any]) -> None:
    """Every slot, whole batch and parts of it, twice: outputs are those of the CPU within rounding."""
    worker = load(exported, batch=4, device="cuda", options={"tf32": False}, **changes).worker()
    for turn in range(2):
        for slot in range(worker.slots):
            x = worker.staging(slot)["picture"]
            x[...] = np.random.default_rng([turn, slot]).random(x.shape)
        for count in (4, 1):
            for slot in range(worker.slots):
                worker.enqueue(slot, count)
            for slot in range(worker.slots):
                expected = reference(worker.staging(slot)["picture"][:count])
                for out, own in zip(worker.wait(slot).values(), expected, strict=True):
                    np.testing.assert_allclose(out, own, rtol=1e-4, atol=1e-5)
    worker.close()


@cuda
@pytest.mark.parametrize(("precision", "near"), [("fp16", 1e-2), ("bf16", 5e-2)])
def test_folding_layout_and_precision_on_a_gpu(exported: str, precision: str, near: float) -> None:
    """uint8 in, float32 out, near the module's own outputs; as a graph."""
    changes = {"precision": precision, "options": {"channels_last": True}, "prepare": Prepare(place="graph")}
    worker = load(exported, batch=2, device="cuda", graph=True, **changes).worker()
    x = fill(worker)
    for out, expected in zip(infer(worker, 2).values(), reference(np.float32(x) / 255), strict=True):
        assert out.dtype == np.float32
        assert np.abs(out - expected).max() < near * np.abs(expected).max()


@cuda
def test_layers_on_a_gpu_have_device_time(exported: str) -> None:
    """Kernels are counted to the node that launched them; a node that only looks at a tensor has none."""
    session = load(exported, device="cuda")
    assert session.gpu
    layers = session.layers()
    assert any("conv" in layer.name for layer in layers)
    assert all(layer.place == "cuda" for layer in layers)
    assert all((layer.time or 0) > 0 for layer in layers if layer.flops)


@cuda
def test_two_workers_capture_and_run_side_by_side(exported: str) -> None:
    """Graphs captured in two threads at once replay with their own inputs."""
    session, wrong = load(exported, batch=4, device="cuda", graph=True, options={"tf32": False}), list[int]()

    def work(seed: int) -> None:
        worker = session.worker()
        x = fill(worker, seed)
        for count in (1, 2, 3, 4) * 10:
            out = next(iter(infer(worker, count).values()))[:count]
            wrong.extend([seed] if not np.allclose(out, reference(x[:count])[0], rtol=1e-4, atol=1e-5) else [])
        worker.close()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
