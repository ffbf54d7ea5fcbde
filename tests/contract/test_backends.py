"""The contract of a backend: one suite for all of them. A new backend is one line in SUBJECTS.

Those that need a GPU, or a library that is not installed, are skipped with the reason.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import pytest

from framepace.backends.base import Session, Tensors, Worker, get_backend
from framepace.backends.deviceworker import DeviceWorker
from framepace.clock.system import SystemClock
from framepace.errors import BackendError, UsageError
from framepace.facts.plan import Batching, ModelPlan
from framepace.models.builtin import model_bytes, names
from tests.gpus import missing


@dataclass(frozen=True)
class Subject:
    """A backend under test: `computes` when its outputs follow its inputs, within `rtol` and `atol` of float64."""

    backend: str
    computes: bool = True
    device: str = "cpu"
    settings: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    rtol: float = 1e-3
    atol: float = 1e-5

    def __str__(self) -> str:
        words = [f"{k}={v}" for k, v in {**self.settings, **self.options}.items()]
        return "-".join([self.backend, *([self.device] if self.device != "cpu" else []), *words])


_TRT = {"tactics": "edge_mask_convolutions,jit_convolutions"}
_EXACT = {"tf32": False}
SUBJECTS = [
    Subject("null", computes=False),
    Subject("onnxruntime"),
    Subject("torch"),
    *(
        Subject(backend, device="cuda", settings=settings, options=options)
        for backend, options in (("onnxruntime", _EXACT), ("torch", _EXACT), ("tensorrt", {**_EXACT, **_TRT}))
        for settings in (
            {},
            {"graph": True},
            {"graph": True, "stream": "slot"},
            {"slots": 1, "transfer": "pageable"},
            {"spinning": False},
        )
    ),
    Subject("onnxruntime", device="cuda", settings={"sms": 64}, options=_EXACT),
    Subject("torch", device="cuda", settings={"sms": "50%"}, options=_EXACT),
    Subject("tensorrt", device="cuda", settings={"sms": 64}, options={**_EXACT, **_TRT}),
]


@pytest.fixture(params=SUBJECTS, ids=str)
def subject(request: pytest.FixtureRequest) -> Subject:
    """Each backend in turn."""
    chosen: Subject = request.param
    reason = missing(chosen.backend, chosen.device)
    if reason is not None:
        pytest.skip(reason)
    return chosen


def plan(subject: Subject, model: str = "builtin:classifier", batch: int = 1, **options: Any) -> ModelPlan:
    """A plan of one model, with one thread."""
    fields: dict[str, Any] = {"threads": 1, "spinning": False, "device": subject.device} | subject.settings
    if subject.backend == "null":
        fields.pop("device")
    chosen = {**subject.options, **options}
    return ModelPlan(
        name="m", model=model, backend=subject.backend, batch=Batching(max=batch), options=chosen, **fields
    )


def load(subject: Subject, **kwargs: Any) -> Session:
    """The model loaded."""
    return get_backend(subject.backend).load(plan(subject, **kwargs), SystemClock())


def infer(worker: Worker, count: int = 1) -> Tensors:
    """One inference, its outputs copied."""
    worker.enqueue(0, count)
    return {name: out.copy() for name, out in worker.wait(0).items()}


def fill(worker: Worker, seed: int) -> None:
    """Random input."""
    for array in worker.staging(0).values():
        array[...] = np.random.default_rng(seed).random(array.shape)


def reference(worker: Worker, name: str) -> list[Any]:
    """What onnx's own evaluator computes from the worker's staging."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_model_from_string(model_bytes(name))
    result: list[Any] = ReferenceEvaluator(model).run(None, dict(worker.staging(0)))
    return result


@pytest.mark.parametrize("name", names())
def test_staging_and_outputs_have_the_shapes_of_the_spec(subject: Subject, name: str) -> None:
    """Every input of the spec has a staging array of its shape and dtype; every output comes back."""
    session = load(subject, model=f"builtin:{name}", batch=2)
    worker = session.worker()
    staging = worker.staging(0)
    assert {t.name: (t.shape, t.dtype) for t in session.spec.inputs} == {
        n: (a.shape, a.dtype.name) for n, a in staging.items()
    }
    assert set(infer(worker, 2)) == {t.name for t in session.spec.outputs}


def test_equal_inputs_give_equal_outputs(subject: Subject) -> None:
    """Two runs on the same input are bit-identical."""
    worker = load(subject).worker()
    fill(worker, 1)
    first, second = infer(worker), infer(worker)
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_outputs_follow_the_inputs_and_agree_with_the_reference(subject: Subject) -> None:
    """Other inputs give other outputs, equal to onnx's reference evaluator within float32 rounding."""
    worker = load(subject).worker()
    fill(worker, 1)
    first = infer(worker)["y0"]
    expected = reference(worker, "classifier")[0]
    fill(worker, 2)
    second = infer(worker)["y0"]
    if subject.computes:
        assert not np.array_equal(first, second)
        np.testing.assert_allclose(first, expected, rtol=subject.rtol, atol=subject.atol)
    else:
        assert np.array_equal(first, second)


def test_a_smaller_batch_runs_the_items_it_names(subject: Subject) -> None:
    """Three of eight staged items give the outputs that the eight give for these three."""
    worker = load(subject, batch=8).worker()
    fill(worker, 3)
    whole, part = infer(worker, 8)["y0"], infer(worker, 3)["y0"]
    np.testing.assert_allclose(part[:3], whole[:3], rtol=1e-4, atol=1e-6)


def test_two_workers_in_two_threads_do_not_disturb_each_other(subject: Subject) -> None:
    """Each thread gets the outputs of its own inputs, fifty times; they are set up one after the other, as in a run."""
    session = load(subject)
    failures: list[int] = []
    setting_up = threading.Lock()
    all_set_up = threading.Barrier(2)

    def work(seed: int) -> None:
        with setting_up:
            worker = session.worker()
            fill(worker, seed)
            expected = infer(worker)["y0"]
        all_set_up.wait(60)
        failures.extend(seed for _ in range(50) if not np.array_equal(infer(worker)["y0"], expected))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_closing_twice_is_harmless_and_a_closed_session_says_so(subject: Subject) -> None:
    """close() is idempotent; a worker after it is an error, not a crash."""
    session = load(subject)
    session.worker().close()
    session.close()
    session.close()
    with pytest.raises(BackendError, match="closed"):
        session.worker()


def test_an_unknown_option_lists_the_known_ones(subject: Subject) -> None:
    """A typo in the backend's options is answered with its options."""
    with pytest.raises(UsageError) as error:
        load(subject, latncy=1)
    assert all(key in str(error.value) for key in get_backend(subject.backend).options)


def test_a_failing_inference_raises_and_leaves_the_worker_usable(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a BackendError the next inference answers as one of a worker that never failed.

    On a GPU it is the library's launch that fails, in the first request of a slot: what was made for it stays of use.
    """
    healthy = load(subject).worker()
    fill(healthy, 1)
    expected = infer(healthy)
    healthy.close()
    worker = load(subject, **({"fail_at": 0} if subject.backend == "null" else {})).worker()
    fill(worker, 1)
    with monkeypatch.context() as broken:
        if isinstance(worker, DeviceWorker):
            broken.setattr(worker, "_launch", lambda *_: 1 // 0)
        elif subject.backend != "null":
            inputs = {name: array[:, :1] for name, array in worker.staging(0).items()}
            broken.setattr(worker, "_inputs", inputs)
        with pytest.raises(BackendError):
            worker.enqueue(0, 1)
    for name, out in infer(worker).items():
        np.testing.assert_allclose(out, expected[name], rtol=1e-3, atol=1e-5)


def test_batches_that_change_in_size_take_no_longer_than_full_ones(subject: Subject) -> None:
    """No batch size is set up again when it comes back: in the median at most three times as long as one size alone."""
    worker = load(subject, batch=4).worker()
    worker.prime()

    def took(count: int) -> float:
        began = time.perf_counter()
        infer(worker, count)
        return time.perf_counter() - began

    alone = median([took(4) for _ in range(12)])
    assert median([took(count) for count in (1, 4, 2, 3) * 3]) <= 3 * alone


def test_slots_in_flight_give_each_its_own_outputs(subject: Subject) -> None:
    """All slots are filled and enqueued before the first is waited for: outputs are those of one at a time."""
    worker = load(subject).worker()
    for slot in range(worker.slots):
        for array in worker.staging(slot).values():
            array[...] = np.random.default_rng(slot).random(array.shape)
    alone = []
    for slot in range(worker.slots):
        worker.enqueue(slot, 1)
        alone.append({name: out.copy() for name, out in worker.wait(slot).items()})
    for slot in range(worker.slots):
        worker.enqueue(slot, 1)
    for slot in range(worker.slots):
        for name, out in worker.wait(slot).items():
            np.testing.assert_allclose(out, alone[slot][name], rtol=1e-5, atol=1e-7)


def test_device_times_are_there_where_there_is_a_device(subject: Subject) -> None:
    """On a GPU each request has durations above 0 and starts in order; on a CPU there are none."""
    worker = load(subject).worker()
    infer(worker)
    infer(worker)
    times = worker.times(0)
    if subject.device == "cpu":
        assert times is None
        return
    assert times is not None
    assert min(times.h2d, times.compute, times.d2h) > 0
    assert times.h2d_at < times.compute_at < times.d2h_at


def test_with_graphs_a_request_is_one_graph(subject: Subject) -> None:
    """Copies, kernels and events, in every slot and batch size; beside ONNX Runtime's own graph its copies are two."""
    if not subject.settings.get("graph"):
        pytest.skip("no graphs")
    session = load(subject, batch=4)
    worker = session.worker()
    worker.prime()
    assert isinstance(worker, DeviceWorker)
    assert worker._scope == ("copies" if subject.backend == "onnxruntime" else "request"), session.notes
    fill(worker, 1)
    expected = infer(worker, 4)["y0"]
    for _ in range(100):
        assert np.array_equal(infer(worker, 4)["y0"], expected)
    worker.close()


def test_the_backend_names_its_library(subject: Subject) -> None:
    """Versions that travel with a trace are there."""
    found = get_backend(subject.backend).versions()
    assert all(found.values())
    assert bool(found) == subject.computes


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_the_model_that_only_takes_time_is_not_computed(backend: str) -> None:
    """The error has the setting with which it runs."""
    if (reason := missing(backend, "cpu")) is not None:
        pytest.skip(reason)
    with pytest.raises(UsageError, match="takes time, and computes nothing") as error:
        get_backend(backend).load(ModelPlan(name="m", model="null", backend=backend), SystemClock())
    assert error.value.fix == "--set m.backend=null"
