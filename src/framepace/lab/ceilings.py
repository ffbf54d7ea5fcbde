"""What a device can do at its best, through the backend that runs the model: peak, bandwidth, launches, copies.

Three small ONNX files are run by the backend's own workers, so that the ceilings are those of what runs: large matrix
products in the precision asked for, an elementwise copy of several sizes, and a chain of tiny products. The best of
several runs counts: a ceiling is what was reached, not what is usual. Kept in the cache, but for simulated devices.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import fields, replace

from framepace.analyze.bounds import highest
from framepace.backends.base import Backend, DeviceTimes, Worker, get_backend
from framepace.clock.system import Clock
from framepace.engine.corekeeper import usable_cores
from framepace.facts.bounds import Ceilings
from framepace.facts.machine import Machine
from framepace.facts.plan import Batching, ModelPlan, Plan, Prepare
from framepace.measure.session import clock_for
from framepace.simulate.parameters import NetworkModel
from framepace.store import cache
from framepace.units import NS_PER_S

_MADE = 1  # to be raised when the same device would be measured differently
_RUNS, _FEWEST, _SECONDS = 50, 3, 0.25  # at most and at least so many runs, and about so long, for each number
_CHAIN, _TINY = 64, 32
_OPSET, _IR = 17, 8
_KEPT = ("efficiency", "dram_efficiency")  # parameters of a simulated network that hold for any network


@dataclass(frozen=True)
class _Sizes:
    """(rows, width) x (width, width) for each of the products; items of so many floats for the copy, in a batch."""

    rows: int
    width: int
    products: int
    floats: int
    items: int


# Products large enough to fill a device to 98 %; copies from what its caches hold to several times as much.
_ON_DEVICE = _Sizes(rows=16384, width=2048, products=2, floats=1 << 20, items=32)


def _on_cpu(threads: int) -> _Sizes:
    # About a millisecond: of short runs some escape what else the machine does.
    rows = min(max(256 * (threads or len(usable_cores())), 512), 8192)
    return _Sizes(rows=rows, width=512, products=2, floats=1 << 17, items=128)


def known_ceilings(model: ModelPlan, precisions: Iterable[str], machine: Machine) -> Ceilings | None:
    """The ceilings that were measured before for what `model` runs on; None when they were not."""
    probe, path = _probe(model), _path(model, precisions, machine)
    if get_backend(probe.backend).simulated or not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes(), type=Ceilings)
    except (msgspec.MsgspecError, OSError):  # half a file, or of another version: measured anew
        return None


def measure_ceilings(
    model: ModelPlan, precisions: Iterable[str], machine: Machine, clock: Clock | None = None
) -> Ceilings:
    """Measure what the device of `model` can do, in about 3 s on a CPU and 5 s on a GPU, and keep it in the cache.

    On a CPU ONNX Runtime measures, whatever the backend, with the model's threads. What an earlier calibration reached
    stays reached. Raises what the backend does.
    """
    probe = _probe(model)
    backend, device = get_backend(probe.backend), _device(probe)
    rig = _Rig(backend, probe, clock or clock_for(Plan(models=(probe,))))
    sizes = _on_cpu(probe.threads) if device == "cpu" else _ON_DEVICE
    peaks = {precision: rig.peak(sizes, precision) for precision in sorted(set(precisions))}
    bandwidth, copies = rig.copies(sizes)
    found = Ceilings(
        backend=probe.backend, device=device, peaks=peaks, bandwidth=bandwidth, launch=rig.launch(), **copies
    )
    if backend.simulated:
        return found
    if (before := known_ceilings(model, precisions, machine)) is not None:
        found = highest(found, before)
    cache.put(str(_path(model, precisions, machine).relative_to(cache.folder())), msgspec.json.encode(found))
    return found


def _device(model: ModelPlan) -> str:
    return model.device or get_backend(model.backend).devices[0]


def _probe(model: ModelPlan) -> ModelPlan:
    """The plan of the calibration: backend, device and settings of `model`, and nothing that belongs to its file."""
    options = dict(model.options)
    backend = model.backend
    if _device(model).partition(":")[0] == "cpu" and backend != "onnxruntime":
        backend, options = "onnxruntime", {}
    if get_backend(backend).simulated:
        of_network = {field.name for field in fields(NetworkModel)} - set(_KEPT)
        options = {key: value for key, value in options.items() if key not in of_network}
    return ModelPlan(
        name="ceilings",
        model="",
        backend=backend,
        device=model.device,
        threads=model.threads,
        slots=1,
        transfer=model.transfer,
        graph=model.graph,
        sms=model.sms,
        prepare=Prepare(),
        options=options,
    )


def _path(model: ModelPlan, precisions: Iterable[str], machine: Machine) -> Path:
    probe = _probe(model)
    versions = sorted(get_backend(probe.backend).versions().items())
    parts = (_MADE, machine.fingerprint, versions, sorted(set(precisions)), msgspec.json.encode(probe))
    return cache.folder() / f"ceilings/{cache.key(*parts)}.json"


class _Rig:
    """A backend and the clock that its runs are timed with where it has no device clock."""

    def __init__(self, backend: Backend, plan: ModelPlan, clock: Clock) -> None:
        self._backend, self._plan, self._clock = backend, plan, clock

    def peak(self, sizes: _Sizes, precision: str) -> float:
        """Operations a second of large matrix products."""
        flops = 2.0 * sizes.rows * sizes.width**2 * sizes.products
        # ONNX Runtime computes in the precision that the file is in, the others take it from the plan as well.
        asked = "fp32" if self._plan.backend == "onnxruntime" else precision
        with self._worker(_products(sizes, precision), transfer="device", precision=asked) as worker:
            return flops / self._best(worker).compute * NS_PER_S

    def copies(self, sizes: _Sizes) -> tuple[tuple[tuple[int, float], ...], dict[str, float]]:
        """Bytes a second that a kernel moves, by how many it moves; and those of copies to and from the device."""
        item, table = 4 * sizes.floats, []
        with self._worker(_copy(sizes.floats), batch=Batching(max=sizes.items)) as worker:
            for count in _doubling(sizes.items):
                times = self._best(worker, count)
                table.append((2 * item * count, 2 * item * count / times.compute * NS_PER_S))
        ways = (("h2d_bytes_s", times.h2d), ("d2h_bytes_s", times.d2h))
        return tuple(table), {name: item * sizes.items / ns * NS_PER_S for name, ns in ways if ns > 0}

    def launch(self) -> float:
        """The least time of a kernel among others, ns."""
        sizes = _Sizes(rows=_TINY, width=_TINY, products=_CHAIN, floats=0, items=0)
        with self._worker(_products(sizes, "fp32"), transfer="device") as worker:
            return self._best(worker).compute / _CHAIN

    @contextmanager
    def _worker(self, model: Any, **changes: Any) -> Iterator[Worker]:
        with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
            path = Path(folder) / "ceilings.onnx"
            path.write_bytes(model.SerializeToString())
            plan = replace(self._plan, model=str(path), **changes)
            with closing(self._backend.load(plan, self._clock)) as session, closing(session.worker()) as worker:
                worker.prime()
                yield worker

    def _best(self, worker: Worker, count: int = 1) -> DeviceTimes:
        """The shortest of each part over several runs."""
        found: list[DeviceTimes] = []
        end = self._clock.now() + round(_SECONDS * NS_PER_S)
        while len(found) < _FEWEST or (len(found) < _RUNS and self._clock.now() < end):
            began = self._clock.now()
            worker.enqueue(0, count)
            worker.wait(0)
            took = self._clock.now() - began
            found.append(worker.times(0) or DeviceTimes(h2d=0, compute=took, d2h=0))
        return DeviceTimes(*(max(0, min(getattr(t, part) for t in found)) for part in ("h2d", "compute", "d2h")))


def _doubling(most: int) -> Iterator[int]:
    count = 1
    while count <= most:
        yield count
        count *= 2


def _products(sizes: _Sizes, precision: str) -> Any:
    """x W W ...: weights keep the variance; in float16, in int8 between Q/DQ pairs, else in float32."""
    shape = [1, sizes.rows, sizes.width]  # the first dimension is the batch
    weights = np.random.default_rng(0).uniform(-1, 1, (sizes.width, sizes.width)) * np.sqrt(3 / sizes.width)
    if precision == "int8":
        return _quantised(shape, np.round(weights / np.abs(weights).max() * 127).astype(np.int8), sizes.products)
    dtype = np.float16 if precision == "fp16" else np.float32
    names = ["x", *(f"t{i}" for i in range(1, sizes.products)), "y"]
    nodes = [("MatMul", [names[i], "w"], names[i + 1]) for i in range(sizes.products)]
    return _model(nodes, shape, shape, {"w": weights.astype(dtype)}, dtype)


def _quantised(shape: list[int], weights: Any, products: int) -> Any:
    nodes = [("QuantizeLinear", ["x", "s", "z"], "q0"), ("DequantizeLinear", ["w", "s", "z"], "dw")]
    for i in range(products):
        nodes += [
            ("DequantizeLinear", [f"q{i}", "s", "z"], f"d{i}"),
            ("MatMul", [f"d{i}", "dw"], f"t{i}"),
            ("QuantizeLinear", [f"t{i}", "s", "z"], f"q{i + 1}"),
        ]
    nodes.append(("DequantizeLinear", [f"q{products}", "s", "z"], "y"))
    constants = {"w": weights, "s": np.array(1 / 127, np.float32), "z": np.array(0, np.int8)}
    return _model(nodes, shape, shape, constants, np.float32)


def _copy(floats: int) -> Any:
    """A kernel that reads and writes a tensor once."""
    shape = ["batch", floats]
    return _model([("Neg", ["x"], "y")], shape, shape, {}, np.float32)


def _model(
    nodes: list[tuple[str, list[str], str]], given: Any, made: Any, constants: dict[str, Any], dtype: Any
) -> Any:
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, inputs, [output], name=output) for op, inputs, output in nodes],
        "ceilings",
        [value("x", kind, given)],
        [value("y", kind, made)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="framepace")
    model.ir_version = _IR
    return model
