"""What bench/gpu.py compares with: a kernel of known length, and the plain loops people write around each library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.backends.base import Backend, Session, Worker, register
from framepace.backends.deviceworker import DeviceWorker, Produced, Slot
from framepace.clock.system import Clock
from framepace.devices import cuda
from framepace.facts.model import TensorSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.workload import Closed, Stop, Workload
from framepace.models.spec import inspect, resolve
from framepace.progress import Tell

_SOURCE = r"""
extern "C" __global__ void spin(long long ns, long long* noted) {
  long long began, now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(began));
  do { asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)); } while (now - began < ns);
  noted[0] = began; noted[1] = now;
}
extern "C" __global__ void stray(long long* nowhere) { nowhere[0] = 1; }
"""


def _kernels() -> tuple[Any, Any]:
    from cuda.core import Device, Program, ProgramOptions

    arch = f"sm_{Device().arch}"
    module = Program(_SOURCE, "c++", options=ProgramOptions(std="c++17", arch=arch)).compile("cubin")
    return module.get_kernel("spin"), module.get_kernel("stray")


class SpinBackend(Backend):
    """A kernel that keeps one SM busy for `us` microseconds and notes when it began and ended by the device's timer."""

    name = "spin"
    options = {"us": "how long the kernel spins", "stray_at": "launch that writes where it may not"}
    devices = ("cuda",)
    outputs: list[NDArray[Any]] = []

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        return _SpinSession(model)

    @classmethod
    def noted(cls) -> float:
        """Median length of the last thousand kernels, ns, as they noted it themselves."""
        ends = np.array(cls.outputs[-1000:])
        cls.outputs.clear()
        return float(np.median(ends[:, 1] - ends[:, 0]))


class _SpinSession(Session):
    def __init__(self, model: ModelPlan) -> None:
        self._model, self.spec = model, inspect("null")
        self.resolved = resolve(self.spec, model)
        self.gpu = cuda.identity(model.device)["pci_bus_id"]

    def _worker(self, index: int) -> Worker:
        device = cuda.open_device(self._model.device, self._model.sms, index)
        output = TensorSpec(name="noted", dtype="int64", shape=(2,))
        launch = _SpinLaunch(self._model)
        return _Noting(device, self._model, self.resolved, (output,), launch)


class _SpinLaunch:
    def __init__(self, model: ModelPlan) -> None:
        from cuda.core import LaunchConfig, launch

        self._launch, self._one = launch, LaunchConfig(grid=1, block=1)
        self._spin, self._stray = _kernels()
        self._ns, self._stray_at = int(model.options.get("us", 100)) * 1000, model.options.get("stray_at")
        self._count = 0

    def __call__(self, index: int, slot: Slot, count: int, stream: Any) -> Mapping[str, Produced] | None:
        self._count += 1
        if self._count == self._stray_at:
            self._launch(stream.core, self._one, self._stray, np.int64(8))
        self._launch(stream.core, self._one, self._spin, np.int64(self._ns), np.int64(slot.pointers["noted"]))
        return None


class _Noting(DeviceWorker):
    def wait(self, slot: int) -> Any:
        results = super().wait(slot)
        SpinBackend.outputs.append(results["noted"].copy())
        return results


def lose_device(folder: str) -> None:
    """Measure into `folder` while a kernel writes to address 8 at the 300th launch."""
    from framepace.measure.session import measure

    register(SpinBackend)
    model = ModelPlan(name="spin", model="null", backend="spin", device="cuda", options={"us": 50, "stray_at": 300})
    load = Workload(load=Closed(), scope="model", stop=Stop(seconds=20))
    measure(Plan(models=(model,)), load, folder=Path(folder))


Buffer = tuple[Any, NDArray[Any], bool]
"""Device memory, the page-locked array beside it, and whether it is an input."""


def buffers(device: Any, tensors: Sequence[TensorSpec], is_input: bool) -> dict[str, Buffer]:
    """Memory of each tensor, by its name; on the host it is filled with 0.5."""
    by_name = {}
    for tensor in tensors:
        array = device.host(tuple(int(d) for d in tensor.shape), tensor.dtype, True)
        array[...] = 0.5
        by_name[tensor.name] = (device.memory(array.nbytes), array, is_input)
    return by_name


def give(device: Any, copies: Sequence[Buffer], stream: Any) -> None:
    """Copy the inputs to the device."""
    for memory, array, is_input in copies:
        if is_input:
            device.upload(memory, array, array.nbytes, stream)


def fetch(device: Any, copies: Sequence[Buffer], stream: Any) -> None:
    """Copy the outputs to the host."""
    for memory, array, is_input in copies:
        if not is_input:
            device.download(array, memory, array.nbytes, stream)


@dataclass
class Loop:
    """A bare loop: `enqueue` runs the kernels on `stream`, with inputs on the device."""

    device: Any
    stream: Any
    enqueue: Callable[[], Any]
    copies: Sequence[Buffer]

    def device_times(self, count: int) -> NDArray[np.float64]:
        """Device time of the kernels by two events around them, ns.

        The copy in comes first, as in a real request: on an idle device the first event would be reached while the host
        still prepares the launch, and count that.
        """
        first, second, times = self.device.event(), self.device.event(), []
        for _ in range(count):
            give(self.device, self.copies, self.stream)
            self.stream.record(first)
            self.enqueue()
            self.stream.record(second)
            second.sync()
            times.append(self.device.elapsed(first, second))
        return np.array(times[count // 5 :])

    def wall_times(self, count: int) -> NDArray[np.float64]:
        """Wall time of copy in, kernels, copy out and wait, ns."""
        done, times = self.device.event(), []
        for _ in range(count):
            began = time.perf_counter_ns()
            give(self.device, self.copies, self.stream)
            self.enqueue()
            fetch(self.device, self.copies, self.stream)
            self.stream.record(done)
            done.sync()
            times.append(time.perf_counter_ns() - began)
        return np.array(times[count // 5 :], dtype=np.float64)


@contextmanager
def loop(backend: str, engine: Any, plan: ModelPlan) -> Iterator[Loop]:
    """The bare loop of a library, on the same model with the same settings."""
    device = cuda.open_device("cuda")
    try:
        yield {"onnxruntime": _onnxruntime, "torch": _torch, "tensorrt": _tensorrt}[backend](device, engine, plan)
    finally:
        device.close()


def _onnxruntime(device: Any, engine: Any, plan: ModelPlan) -> Loop:
    """On the very session that framepace uses: another one may have chosen other cuDNN algorithms."""
    session = engine.sessions[0]
    worker = session.worker_sessions.free[0]
    run, copies = onnxruntime_run(device, worker.session, session.resolved.inputs, 1_000_000 if plan.graph else -1)
    return Loop(device, worker.stream, run, copies)


def onnxruntime_run(
    device: Any, session: Any, inputs: Sequence[TensorSpec], graph: int
) -> tuple[Callable[[], Any], list[Buffer]]:
    """A run of the session on buffers of its own, and the buffers; `graph` is the number of its graph, -1 for none."""
    import onnxruntime as ort

    skip = ort.RunOptions()
    skip.add_run_config_entry("gpu_graph_id", "-1")
    options = ort.RunOptions()
    options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    options.add_run_config_entry("gpu_graph_id", str(graph))
    results = session.run(None, {t.name: np.zeros([int(d) for d in t.shape], t.dtype) for t in inputs}, skip)
    names = [out.name for out in session.get_outputs()]
    made = [TensorSpec(name=n, dtype=r.dtype.name, shape=r.shape) for n, r in zip(names, results, strict=True)]
    held = buffers(device, inputs, True) | buffers(device, made, False)
    binding = session.io_binding()
    for bind, tensors in ((binding.bind_input, inputs), (binding.bind_output, made)):
        for t in tensors:
            bind(t.name, "cuda", 0, t.dtype, [int(d) for d in t.shape], held[t.name][0].pointer)
    for _ in range(3):
        session.run_with_iobinding(binding, options)
    return (lambda: session.run_with_iobinding(binding, options)), list(held.values())


def _torch(device: Any, engine: Any, plan: ModelPlan) -> Loop:
    import torch

    from framepace.models.torch import builtin as torchnet

    stream = device.stream()
    outside = torch.cuda.ExternalStream(stream.handle)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = bool(plan.options.get("tf32", True))
    net = torchnet.load(plan.model.removeprefix("builtin:"), "cuda")
    inputs = engine.sessions[0].resolved.inputs
    held = list(buffers(device, inputs, True).values())
    given = [_tensor(torch, memory.pointer, array) for memory, array, _ in held]
    with torch.inference_mode(), torch.cuda.stream(outside):
        for _ in range(3):
            out = net(*given)
        graph = torch.cuda.CUDAGraph() if plan.graph else None
        if graph is not None:
            torch.cuda.synchronize()
            with torch.cuda.graph(graph, stream=outside):
                out = net(*given)
    outs = list(out) if isinstance(out, tuple | list) else list(out.values()) if isinstance(out, dict) else [out]

    def enqueue() -> None:
        if graph is not None:
            with torch.cuda.stream(outside):
                graph.replay()
            return
        with torch.inference_mode(), torch.cuda.stream(outside):
            net(*given)

    copies = held + [(_Address(o.data_ptr()), device.host(tuple(o.shape), "float32", True), False) for o in outs]
    return Loop(device, stream, enqueue, copies)


@dataclass
class _Address:
    pointer: int


def _tensor(torch: Any, pointer: int, array: NDArray[Any]) -> Any:
    holder = type("Holder", (), {})()
    holder.__cuda_array_interface__ = {
        "shape": array.shape, "typestr": array.dtype.str, "data": (pointer, False), "version": 3
    }  # fmt: skip
    return torch.as_tensor(holder, device="cuda")


def _tensorrt(device: Any, engine: Any, plan: ModelPlan) -> Loop:
    context, copies = tensorrt_context(device, engine.sessions[0])
    stream = device.stream()

    def run(on: Any) -> None:
        enqueue_tensorrt(context, on)

    run(stream)
    if not plan.graph:
        return Loop(device, stream, lambda: run(stream), copies)
    graph = device.capture(run)
    graph.context = context  # lives as long
    return Loop(device, stream, lambda: graph.launch(stream), copies)


def tensorrt_context(device: Any, session: Any) -> tuple[Any, list[Buffer]]:
    """A context of the session's engine on buffers of its own, and the buffers."""
    built = session.engine
    inputs = session.resolved.inputs
    context = built.create_execution_context()
    for tensor in inputs:
        context.set_input_shape(tensor.name, [int(d) for d in tensor.shape])
    names = {built.get_tensor_name(i) for i in range(built.num_io_tensors)} - {t.name for t in inputs}
    made = [TensorSpec(name=n, dtype="float32", shape=tuple(context.get_tensor_shape(n))) for n in sorted(names)]
    held = buffers(device, inputs, True) | buffers(device, made, False)
    for name, (memory, _, _) in held.items():
        context.set_tensor_address(name, memory.pointer)
    return context, list(held.values())


def enqueue_tensorrt(context: Any, stream: Any) -> None:
    """Enqueue an inference, or fail."""
    if not context.execute_async_v3(stream.handle):
        raise RuntimeError("enqueue failed")


def cupti_sum(run: Callable[[], Any]) -> dict[str, float]:
    """By CUPTI: the sum of the kernels of an inference, ns, and how many they are, over a whole run."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        trace = run()
    events = [e for e in profiler.events() if "CUDA" in str(e.device_type)]
    kernels = [e for e in events if not e.name.startswith(("Memcpy", "Memset"))]
    count = len(trace.requests["due"]) + 1  # one more primes the worker
    total = sum(e.time_range.end - e.time_range.start for e in kernels)
    return {"sum": total * 1e3 / count, "kernels": len(kernels) / count}
