"""The contract of a backend on networks that people export, by one command on any machine:

    FRAMEPACE_NETWORKS=FOLDER python -m pytest tests/contract/test_networks.py

FOLDER holds ONNX files (bench/network_exports.py makes some) or PyTorch's exported programs. Each is run by every
backend that takes it here, on a GPU without and with graphs, and its answers are held against the CPU's. Without a
folder a built-in network stands for them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Session, Worker, get_backend
from framepace.backends.deviceworker import DeviceWorker
from framepace.clock.system import SystemClock
from framepace.errors import FramepaceError, ModelError
from framepace.facts.plan import Batching, ModelPlan
from framepace.models.spec import inspect
from tests.gpus import missing

FOLDER = os.environ.get("FRAMEPACE_NETWORKS")
NEAR = 0.02  # of the largest value: the GPU's convolutions without TF32 differ from the CPU's by far less
BATCH = 3
REPETITIONS = 30
_QUICK: dict[str, dict[str, Any]] = {
    "onnxruntime": {"algorithms": "heuristic", "tf32": False},
    "tensorrt": {"tactics": "edge_mask_convolutions,jit_convolutions", "tf32": False, "level": 1},
    "torch": {"tf32": False},
}
Outputs = dict[str, NDArray[Any]]


def networks() -> list[str]:
    """Files of the folder, or a built-in network."""
    if FOLDER is None:
        return ["builtin:classifier"]
    return sorted(str(path) for path in Path(FOLDER).iterdir() if path.suffix in (".onnx", ".pt2"))


def ways(network: str) -> list[tuple[str, str, bool]]:
    """Backend, device and graph of each way to run a file."""
    if network.endswith(".pt2"):
        return [("torch", "cpu", False), ("torch", "cuda", False), ("torch", "cuda", True)]
    on_device = [(name, "cuda", graph) for name in ("onnxruntime", "tensorrt") for graph in (False, True)]
    return [("onnxruntime", "cpu", False), *on_device]


CASES = [(network, *way) for network in networks() for way in ways(network)]


@pytest.fixture(params=CASES, ids=lambda case: "-".join([Path(case[0]).stem, *map(str, case[1:])]))
def case(request: pytest.FixtureRequest) -> tuple[str, str, str, bool]:
    """Each network in each way."""
    network, backend, device, graph = request.param
    reason = missing(backend, device)
    if reason is not None:
        pytest.skip(reason)
    return network, backend, device, graph


def plan(network: str, backend: str, device: str, graph: bool) -> ModelPlan:
    """The plan of one way; a file that takes one item at a time runs one."""
    options: dict[str, Any] = {} if device == "cpu" else _QUICK[backend]
    free = network.startswith("builtin:") or not isinstance(inspect(network).inputs[0].shape[0], int)
    return ModelPlan(
        name="m", model=network, backend=backend, device=device, graph=graph, options=options, spinning=False,
        batch=Batching(max=BATCH if free else 1),
    )  # fmt: skip


def load(model: ModelPlan) -> Session:
    """Loaded; where shapes are computed in the network a graph needs them fixed."""
    backend = get_backend(model.backend)
    try:
        return backend.load(model, SystemClock())
    except ModelError as error:
        if "partitioned" not in str(error):
            raise
        return backend.load(replace(model, graph_shapes="fixed"), SystemClock())


def fill(worker: Worker, slot: int, seed: int) -> None:
    """Random pictures; whole numbers (tokens, masks) stay as they were made up."""
    for array in worker.staging(slot).values():
        if array.dtype.kind == "f":
            array[...] = np.random.default_rng(seed).random(array.shape)


def infer(worker: Worker, slot: int, count: int) -> Outputs:
    """One inference, its outputs copied."""
    worker.enqueue(slot, count)
    return {name: out.copy() for name, out in worker.wait(slot).items()}


def error(expected: Outputs, got: Outputs, count: int) -> float:
    """The largest difference, of the largest value of its output; of outputs with items, of so many of them."""
    worst = 0.0
    for name, out in expected.items():
        items = [array[:count] if array.ndim and array.shape[0] > count else array for array in (out, got[name])]
        assert items[0].shape == items[1].shape
        largest = float(np.abs(items[0]).max(initial=0)) or 1.0
        worst = max(worst, float(np.abs(items[0].astype(np.float64) - items[1]).max(initial=0)) / largest)
    return worst


@pytest.fixture
def session(case: tuple[str, str, str, bool]) -> Iterator[Session]:
    """Loaded in its way; skipped where the library cannot run the network at all, with its words."""
    try:
        loaded = load(plan(*case))
        with closing(loaded.worker()) as worker:
            worker.prime()
    except FramepaceError as refused:
        if FOLDER is None:
            raise
        pytest.skip(str(refused))
    with closing(loaded):
        yield loaded


@pytest.fixture
def reference(case: tuple[str, str, str, bool]) -> Iterator[Worker]:
    """The same network on the CPU; without a library for that, on the device without graphs."""
    network, backend, device, _ = case
    on_host = "torch" if network.endswith(".pt2") else "onnxruntime"
    way = (on_host, "cpu") if missing(on_host, "cpu") is None else (backend, device)
    with closing(load(plan(network, *way, False))) as loaded, closing(loaded.worker()) as worker:
        yield worker


def test_a_network_keeps_the_contract(case: Any, session: Session, reference: Worker) -> None:
    """Answers are the CPU's for whole batches and parts of them, in every slot; repeated they are the same bits.

    Two workers in two threads do not disturb each other, one that follows a closed one works, and a graph holds the
    whole request (beside ONNX Runtime's own, its copies).
    """
    batch = plan(*case).batch.max
    with closing(session.worker()) as worker:
        worker.prime()
        check_answers(worker, reference, batch)
        check_slots(worker, batch)
        if isinstance(worker, DeviceWorker) and case[3]:
            assert worker._scope == ("copies" if case[1] == "onnxruntime" else "request"), session.notes
    check_threads(session, batch)
    with closing(session.worker()) as worker:
        check_answers(worker, reference, batch)


def check_answers(worker: Worker, reference: Worker, batch: int) -> None:
    """Random pictures, on the CPU and here, for each number of items."""
    for count in range(batch, 0, -1):
        fill(worker, 0, count)
        fill(reference, 0, count)
        expected = infer(reference, 0, count)
        assert error(expected, infer(worker, 0, count), count) < NEAR


def check_slots(worker: Worker, batch: int) -> None:
    """All slots in flight give what each gives alone, again and again: a race would show."""
    for slot in range(worker.slots):
        fill(worker, slot, 10 + slot)
    alone = [infer(worker, slot, batch) for slot in range(worker.slots)]
    for _ in range(REPETITIONS):
        for slot in range(worker.slots):
            worker.enqueue(slot, batch)
        for slot in range(worker.slots):
            got = {name: out.copy() for name, out in worker.wait(slot).items()}
            assert error(alone[slot], got, batch) < 1e-5


def check_threads(session: Session, batch: int) -> None:
    """Two workers, set up one after the other as in a run, then both at once on their own inputs."""
    setting_up = threading.Lock()
    all_set_up = threading.Barrier(2)
    wrong: list[float] = []

    def work(index: int) -> None:
        with setting_up:
            worker = session.worker(index)
            worker.prime()
            fill(worker, 0, 20 + index)
            expected = infer(worker, 0, batch)
        all_set_up.wait(60)
        wrong.extend(off for _ in range(REPETITIONS) if (off := error(expected, infer(worker, 0, batch), batch)) > 1e-5)
        worker.close()

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
