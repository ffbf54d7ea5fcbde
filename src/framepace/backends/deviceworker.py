"""The worker that every GPU backend uses: staging, copies, events and graphs of its slots.

A backend brings only the launch of its kernels. Three streams per worker (up, compute, down), ordered by events, let
the copy of one request overlap the computation of another; all durations come from those events. A worker with one
slot has nothing to overlap: it keeps to one stream, which saves two waits between streams.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.backends.base import DeviceTimes, Tensors, Worker, padded
from framepace.devices.protocol import Device, Event, Graph, Memory, Stream
from framepace.facts.model import TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.inputs import fill
from framepace.models.spec import Resolved

_BEFORE, _UPLOADED, _BEGAN, _COMPUTED, _READY, _DONE = range(6)  # places in Slot.events
_EVENTS = 6


@dataclass(frozen=True)
class Produced:
    """An output at a place of the library's choice: address, shape and dtype, and what must live until it is copied."""

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    owner: Any = None

    @property
    def size(self) -> int:
        """Bytes."""
        return int(np.prod(self.shape)) * np.dtype(self.dtype).itemsize

    def close(self) -> None:
        """The library frees it."""


@dataclass
class Slot:
    """The buffers of one request in flight. Addresses never change, so that a graph can hold them.

    `events`: before the copy in, after it, before the kernels, after them, before the copy out, after it; on a single
    stream the end of one part is the beginning of the next, and the same event. `buffers`: host memory for outputs that
    the library produces, by name.
    """

    host: dict[str, NDArray[Any]]
    device: dict[str, Memory]
    outputs: dict[str, NDArray[Any]]
    events: list[Event]
    count: int = 0
    filled: bool = False
    produced: Mapping[str, Produced] | None = None
    results: dict[str, NDArray[Any]] = field(default_factory=dict)
    buffers: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    copied: bool = True

    @property
    def pointers(self) -> dict[str, int]:
        """Device address of every input and output, by name."""
        return {name: memory.pointer for name, memory in self.device.items()}


# What a backend brings: enqueue the inference of the first `count` items of slot `index` on the stream. Inputs are at
# `slot.pointers`; outputs go there too, or it returns where they were produced. Nothing in it may wait for the device.
Launch = Callable[[int, Slot, int, Stream], Mapping[str, Produced] | None]


class DeviceWorker(Worker):
    """Runs `launch` between the copies of its slots.

    Args:
        device: closed with the worker.
        inputs: shapes and dtypes of the staging.
        outputs: concrete shapes (for the largest batch) and dtypes; empty where the library produces them itself.
        launch: see Launch; called in the thread that made the worker.
        graph: capture the launch of each (slot, count) once, after one plain run, and replay it.
        compute: the stream of the kernels, where the backend needed one before; made here otherwise.
        sizes: the only batch sizes that are launched, ascending; others are padded to the next. Empty: any.
        close: frees what the backend made for this worker.

    Raises what the device does; nothing is left taken then.
    """

    def __init__(
        self,
        device: Device,
        plan: ModelPlan,
        inputs: Resolved,
        outputs: Sequence[TensorSpec],
        launch: Launch,
        graph: bool = False,
        compute: Stream | None = None,
        close: Callable[[], None] | None = None,
        sizes: Sequence[int] = (),
    ) -> None:
        self.slots = plan.slots
        self._device = device
        self._launch = launch
        self._resident = plan.transfer == "device"
        self._pinned = plan.transfer != "pageable"
        self._graph = graph
        self._full = plan.batch.max
        self._sizes = tuple(sizes)
        self._batched = _batched(inputs, outputs, self._full)
        self._graphs: dict[tuple[int, int], Graph] = {}
        self._inputs = tuple(tensor.name for tensor in inputs.inputs)
        with ExitStack() as stack:
            stack.callback(device.close)
            if close is not None:
                stack.callback(close)
            self._compute = compute or compute_stream(device, plan)
            # Device-resident tensors are copied in the first request only, whose kernels are timed apart all the same.
            self._single = self.slots == 1 and not self._resident and plan.stream == "own"
            self._up, self._down = (self._compute if self._single else device.stream() for _ in range(2))
            self._slots = [self._slot(inputs, outputs, self._pinned, not plan.spinning) for _ in range(self.slots)]
            self._close = stack.pop_all()

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self._slots[slot].host

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: copy in, compute, copy out, each on its stream behind the one before."""
        try:
            self._enqueue(slot, count)
        except Exception as error:
            raise self._device.error(error, "an inference was started") from error

    def _enqueue(self, slot: int, count: int) -> None:
        buffers = self._slots[slot]
        events = buffers.events
        buffers.count = padded(count, self._sizes)
        buffers.copied = not (self._resident and buffers.filled)
        if buffers.copied:
            self._copy_in(buffers)
        if events[_BEGAN] is not events[_UPLOADED]:
            if buffers.copied:
                self._compute.wait(events[_UPLOADED])
            self._compute.record(events[_BEGAN])
        buffers.produced = self._run(slot, buffers, buffers.count)
        self._compute.record(events[_COMPUTED])
        if buffers.copied:
            self._copy_out(buffers)
        buffers.filled = True

    def _copy_in(self, slot: Slot) -> None:
        self._up.record(slot.events[_BEFORE])
        for name in self._inputs:
            array = slot.host[name]
            self._device.upload(slot.device[name], array, self._part(name, array.nbytes, slot.count), self._up)
        self._up.record(slot.events[_UPLOADED])

    def _copy_out(self, slot: Slot) -> None:
        events = slot.events
        if events[_READY] is not events[_COMPUTED]:
            self._down.wait(events[_COMPUTED])
            self._down.record(events[_READY])
        slot.results = self._fetch(slot, slot.count)
        self._down.record(events[_DONE])

    def wait(self, slot: int) -> Tensors:
        """See Worker: waits for this request's last event, nothing else."""
        buffers = self._slots[slot]
        try:
            buffers.events[_DONE if buffers.copied else _COMPUTED].sync()
        except Exception as error:
            raise self._device.error(error, "an inference ran") from error
        buffers.produced = None
        return buffers.results

    def prime(self) -> None:
        """See Worker: one inference of each size in each slot, the largest first (its memory serves the others)."""
        for slot, size in itertools.product(range(self.slots), self._sizes[::-1] or (self._full,)):
            self.enqueue(slot, size)
            self.wait(slot)

    def times(self, slot: int) -> DeviceTimes:
        """See Worker."""
        device = self._device
        before, uploaded, began, computed, ready, done = self._slots[slot].events
        compute = round(device.elapsed(began, computed))
        if not self._slots[slot].copied:
            return DeviceTimes(0, compute, 0, -1, device.at(began), -1)
        h2d = round(device.elapsed(before, uploaded))
        d2h = round(device.elapsed(ready, done))
        h2d_at = device.at(before)
        if began is uploaded:  # one part follows the other on its stream
            return DeviceTimes(h2d, compute, d2h, h2d_at, h2d_at + h2d, h2d_at + h2d + compute)
        return DeviceTimes(h2d, compute, d2h, h2d_at, device.at(began), device.at(ready))

    def sm_clock(self) -> int:
        """See Worker."""
        return self._device.sm_clock()

    def close(self) -> None:
        """See Worker."""
        self._graphs.clear()
        self._slots.clear()
        self._close.close()

    def _run(self, index: int, slot: Slot, count: int) -> Mapping[str, Produced] | None:
        if not self._graph:
            return self._launch(index, slot, count, self._compute)
        if (index, count) not in self._graphs:
            # Libraries load kernels and choose algorithms in their first run, which a capture does not allow.
            self._launch(index, slot, count, self._compute)
            self._graphs[index, count] = self._device.capture(lambda stream: self._captured(index, slot, count, stream))
        self._graphs[index, count].launch(self._compute)
        return None

    def _captured(self, index: int, slot: Slot, count: int, stream: Stream) -> None:
        self._launch(index, slot, count, stream)

    def _fetch(self, slot: Slot, count: int) -> dict[str, NDArray[Any]]:
        """Enqueue the copies of all outputs; the host arrays they will be in."""
        results = {}
        for name, out in slot.outputs.items():
            self._device.download(out, slot.device[name], self._part(name, out.nbytes, count), self._down)
            results[name] = out
        for name, produced in (slot.produced or {}).items():
            out = self._host_array(slot, name, produced)
            self._device.download(out, produced, produced.size, self._down)  # type: ignore[arg-type]
            results[name] = out
        return results

    def _slot(self, inputs: Resolved, outputs: Sequence[TensorSpec], pinned: bool, blocking: bool) -> Slot:
        tensors = (*inputs.inputs, *outputs)
        host = {tensor.name: self._host_memory(tensor, pinned) for tensor in tensors}
        device = {name: self._device.memory(max(1, array.nbytes)) for name, array in host.items()}
        host_outputs = {tensor.name: host.pop(tensor.name) for tensor in outputs}
        for tensor in inputs.inputs:
            fill(inputs, tensor, host[tensor.name])
        return Slot(host, device, host_outputs, self._events(blocking))

    def _events(self, blocking: bool) -> list[Event]:
        events = [self._device.event(blocking) for _ in range(_EVENTS)]
        if self._single:
            events[_BEGAN] = events[_UPLOADED]
            events[_READY] = events[_COMPUTED]
        return events

    def _host_memory(self, tensor: TensorSpec, pinned: bool) -> NDArray[Any]:
        shape = tuple(int(d) for d in tensor.shape)
        return self._device.host(shape, tensor.dtype, pinned)

    def _host_array(self, slot: Slot, name: str, produced: Produced) -> NDArray[Any]:
        """A host array for an output that the library made: a view of memory that only grows, for locking it is slow.

        Locked memory is freed with the device, so what grows at least doubles.
        """
        out = slot.results.get(name)
        if out is not None and out.shape == produced.shape and out.dtype == produced.dtype:
            return out
        buffer = self._buffer(slot, name, produced.size)
        return buffer[: produced.size].view(produced.dtype).reshape(produced.shape)

    def _buffer(self, slot: Slot, name: str, size: int) -> NDArray[Any]:
        """Host memory of at least `size` bytes for the output `name`."""
        buffer = slot.buffers.get(name)
        if buffer is None:
            buffer = slot.buffers[name] = self._device.host((size,), "uint8", self._pinned)
        elif buffer.nbytes < size:
            size = max(size, 2 * buffer.nbytes)
            buffer = slot.buffers[name] = self._device.host((size,), "uint8", self._pinned)
        return buffer

    def _part(self, name: str, size: int, count: int) -> int:
        """Bytes of the first `count` items; all of a tensor that has no batch."""
        if count == self._full or name not in self._batched:
            return size
        return size * count // self._full


def _batched(inputs: Resolved, outputs: Sequence[TensorSpec], full: int) -> frozenset[str]:
    """Names of the tensors whose bytes follow the count; outputs of a batched model have its batch."""
    if not inputs.batched:
        return frozenset()
    return inputs.batched | {tensor.name for tensor in outputs if tensor.shape[:1] == (full,)}


def compute_stream(device: Device, plan: ModelPlan) -> Stream:
    """The stream for the kernels of a worker, its own or the one that all share."""
    return device.shared_stream() if plan.stream == "shared" else device.stream()
