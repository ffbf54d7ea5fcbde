"""What bench/gpu_graph.py compares with: one graph per request, written by hand around each library.

Each thread has its own stream, graph and page-locked buffers for each request in flight; copies and kernels are
captured together, and a request is one launch, one event and one wait. ONNX Runtime replays a graph of its own between
copies.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gpu_bare
import numpy as np
from numpy.typing import NDArray

from framepace.devices import cuda


@dataclass
class Bare:
    """Requests by hand: `launch` begins the one in a slot, `wait` ends it."""

    slots: int
    launch: Callable[[int], Any]
    wait: Callable[[int], Any]

    def times(self, count: int) -> NDArray[np.float64]:
        """Wall time of one request after the other, ns; the first fifth is left out."""
        ended = []
        for _ in range(count):
            self.launch(0)
            self.wait(0)
            ended.append(time.perf_counter_ns())
        return np.diff(np.array(ended[count // 5 :], dtype=np.float64))

    def run(self, seconds: float) -> float:
        """Requests per second with all slots in flight."""
        for slot in range(self.slots):
            self.launch(slot)
        began, count, end = time.perf_counter(), 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            slot = count % self.slots
            self.wait(slot)
            self.launch(slot)
            count += 1
        rate = count / (time.perf_counter() - began)
        for slot in range(self.slots):
            self.wait(slot)
        return rate


def bare(backend: str, session: Any, index: int, slots: int) -> Bare:
    """The hand-written loop of a library on the model that framepace loaded; made in the thread that runs it."""
    if backend == "null":
        return _worker(session, slots)
    makers = {"tensorrt": _tensorrt, "torch": _torch, "onnxruntime": _onnxruntime}
    with cuda.lock_setup():
        return makers[backend](cuda.open_device("cuda"), session, index, slots)


class BareThreads:
    """So many threads, each with its own loop, that all run at once when asked."""

    def __init__(self, backend: str, session: Any, count: int, slots: int) -> None:
        self._asked: list[queue.Queue[float]] = [queue.Queue() for _ in range(count)]
        self._answers: queue.Queue[float | Exception] = queue.Queue()
        self._ready = threading.Barrier(count)
        self._threads = [
            threading.Thread(target=self._body, args=(backend, session, index, slots), daemon=True)
            for index in range(count)
        ]
        for thread in self._threads:
            thread.start()
        self._collect()

    def run(self, seconds: float) -> float:
        """Requests per second of all together."""
        for asked in self._asked:
            asked.put(seconds)
        return sum(self._collect())

    def close(self) -> None:
        """End the threads, which hold sessions until then."""
        for asked in self._asked:
            asked.put(-1.0)
        for thread in self._threads:
            thread.join(10)

    def _collect(self) -> list[float]:
        rates = []
        for _ in self._asked:
            answer = self._answers.get(timeout=120)
            if isinstance(answer, Exception):
                raise answer
            rates.append(answer)
        return rates

    def _body(self, backend: str, session: Any, index: int, slots: int) -> None:
        try:
            loop = bare(backend, session, index, slots)
            self._ready.wait(60)  # a wait for an event would break a capture of ONNX Runtime in another thread
            loop.run(0.1)
            self._answers.put(0.0)
            while (seconds := self._asked[index].get()) > 0:
                self._ready.wait(60)
                self._answers.put(loop.run(seconds))
        except Exception as error:  # told by the one who asked
            self._ready.abort()
            self._answers.put(error)


def _worker(session: Any, slots: int) -> Bare:
    """A worker of framepace's without its engine: for a dry run, where there is nothing to write by hand."""
    worker = session.worker()
    return Bare(1, lambda slot: worker.enqueue(0, 1), lambda slot: worker.wait(0))


def _tensorrt(device: Any, session: Any, index: int, slots: int) -> Bare:
    """A context for each slot: their kernels may run side by side."""
    streams, events = [device.stream() for _ in range(slots)], [device.event() for _ in range(slots)]
    graphs = [_tensorrt_graph(device, session, stream) for stream in streams]
    return Bare(
        slots, lambda slot: _launched(graphs[slot], streams[slot], events[slot]), lambda slot: events[slot].sync()
    )


def _launched(graph: Any, stream: Any, event: Any) -> None:
    graph.launch(stream)
    stream.record(event)


def _tensorrt_graph(device: Any, session: Any, stream: Any) -> Any:
    context, copies = gpu_bare.tensorrt_context(device, session)

    def request(on: Any) -> None:
        gpu_bare.give(device, copies, on)
        gpu_bare.enqueue_tensorrt(context, on)
        gpu_bare.fetch(device, copies, on)

    request(stream)
    graph = device.capture(request)
    graph.context = context  # lives as long
    return graph


def _torch(device: Any, session: Any, index: int, slots: int) -> Bare:
    import torch

    streams, events = [torch.cuda.Stream() for _ in range(slots)], [torch.cuda.Event() for _ in range(slots)]
    graphs = [_torch_graph(torch, session, stream) for stream in streams]

    def launch(slot: int) -> None:
        with torch.cuda.stream(streams[slot]):
            graphs[slot].replay()
            events[slot].record()

    return Bare(slots, launch, lambda slot: events[slot].synchronize())


def _torch_graph(torch: Any, session: Any, stream: Any) -> Any:
    shapes = [(tuple(int(d) for d in t.shape), getattr(torch, t.dtype)) for t in session.resolved.inputs]
    host = [torch.full(shape, 0.5, dtype=dtype).pin_memory() for shape, dtype in shapes]
    given = [torch.empty(shape, dtype=dtype, device="cuda") for shape, dtype in shapes]

    def request(results: list[Any]) -> list[Any]:
        for tensor, source in zip(given, host, strict=True):
            tensor.copy_(source, non_blocking=True)
        outputs = [tensor for _, tensor in session.run(given)]
        for result, output in zip(results, outputs, strict=False):
            result.copy_(output, non_blocking=True)
        return outputs

    with torch.inference_mode():
        with torch.cuda.stream(stream):
            for _ in range(3):
                outputs = request([])
        results = [torch.empty(o.shape, dtype=o.dtype).pin_memory() for o in outputs]
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            outputs = request(results)
    graph.held = (host, given, outputs, results)
    return graph


def _onnxruntime(device: Any, session: Any, index: int, slots: int) -> Bare:
    """On the session of framepace's worker of that number: another one may have chosen other cuDNN algorithms."""
    sessions = session.worker_sessions
    own = sessions.take(index)
    sessions.give_back(index, own)
    stream, events = own.stream, [device.event() for _ in range(slots)]
    inputs = session.resolved.inputs
    numbers = [1_000_000 + 100 * index + slot for slot in range(slots)]
    runs = [gpu_bare.onnxruntime_run(device, own.session, inputs, number) for number in numbers]

    def launch(slot: int) -> None:
        run, copies = runs[slot]
        gpu_bare.give(device, copies, stream)
        run()
        gpu_bare.fetch(device, copies, stream)
        stream.record(events[slot])

    return Bare(slots, launch, lambda slot: events[slot].sync())
