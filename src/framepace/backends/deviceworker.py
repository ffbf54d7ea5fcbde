"""The worker that every GPU backend uses: staging, copies, events and graphs of its slots.

A backend brings only the launch of its kernels. Three streams a worker (up, compute, down), held together by events,
let the copy of one request overlap the computation of another; all durations come from those events. A worker with one
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
from framepace.models.inputs import staging_array
from framepace.models.spec import Resolved

_BEFORE, _UPLOADED, _BEGAN, _COMPUTED, _READY, _DONE = range(6)  # places in Slot.events


@dataclass(frozen=True)
class Produced:
    """Where a library put an output by itself: address, shape and dtype, and what must live until it is copied."""

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
    stream the end of one part is the beginning of the next, and the same event. `rooms`: host memory for outputs that
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
    rooms: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    copied: bool = True

    @property
    def pointers(self) -> dict[str, int]:
        """Device address of every input and output, by name."""
        return {name: memory.pointer for name, memory in self.device.items()}


# What a backend brings: enqueue the inference of the first `count` items of slot `index` on the stream. Inputs are at
# `slot.pointers`; outputs go there too, or are told where they were produced. Nothing in it may wait for the device.
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
        self.slots, self._device, self._launch = plan.slots, device, launch
        self._resident, self._pinned, self._graph = plan.transfer == "device", plan.transfer != "pageable", graph
        self._full, self._sizes = plan.batch.max, tuple(sizes)
        # Outputs of a batched model have its batch; only theirs and the batched inputs' bytes follow the count.
        self._batched = inputs.batched | {t.name for t in outputs if inputs.batched and t.shape[:1] == (self._full,)}
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
        s, count = self._slots[slot], padded(count, self._sizes)
        s.count, s.copied = count, not (self._resident and s.filled)
        events = s.events
        if s.copied:
            self._up.record(events[_BEFORE])
            for name in self._inputs:
                array = s.host[name]
                self._device.upload(s.device[name], array, self._part(name, array.nbytes, count), self._up)
            self._up.record(events[_UPLOADED])
        if events[_BEGAN] is not events[_UPLOADED]:
            if s.copied:
                self._compute.wait(events[_UPLOADED])
            self._compute.record(events[_BEGAN])
        s.produced = self._run(slot, s, count)
        self._compute.record(events[_COMPUTED])
        if s.copied:
            if events[_READY] is not events[_COMPUTED]:
                self._down.wait(events[_COMPUTED])
                self._down.record(events[_READY])
            s.results = self._fetch(s, count)
            self._down.record(events[_DONE])
        s.filled = True

    def wait(self, slot: int) -> Tensors:
        """See Worker: waits for this request's last event, nothing else."""
        s = self._slots[slot]
        try:
            s.events[_DONE if s.copied else _COMPUTED].sync()
        except Exception as error:
            raise self._device.error(error, "an inference ran") from error
        s.produced = None
        return s.results

    def prime(self) -> None:
        """See Worker: one inference of each size in each slot, the largest first (its memory serves the others)."""
        for slot, size in itertools.product(range(self.slots), self._sizes[::-1] or (self._full,)):
            self.enqueue(slot, size)
            self.wait(slot)

    def times(self, slot: int) -> DeviceTimes:
        """See Worker."""
        s, d = self._slots[slot], self._device
        before, uploaded, began, computed, ready, done = s.events
        compute = round(d.elapsed(began, computed))
        if not s.copied:
            return DeviceTimes(0, compute, 0, -1, d.at(began), -1)
        h2d, d2h, h2d_at = round(d.elapsed(before, uploaded)), round(d.elapsed(ready, done)), d.at(before)
        if began is uploaded:  # one part follows the other on its stream
            return DeviceTimes(h2d, compute, d2h, h2d_at, h2d_at + h2d, h2d_at + h2d + compute)
        return DeviceTimes(h2d, compute, d2h, h2d_at, d.at(began), d.at(ready))

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
            out = self._room(slot, name, produced)
            self._device.download(out, produced, produced.size, self._down)  # type: ignore[arg-type]
            results[name] = out
        return results

    def _slot(self, inputs: Resolved, outputs: Sequence[TensorSpec], pinned: bool, blocking: bool) -> Slot:
        host, device = {}, {}
        for tensor in (*inputs.inputs, *outputs):
            shape = tuple(int(d) for d in tensor.shape)
            host[tensor.name] = self._device.host(shape, tensor.dtype, pinned)
            device[tensor.name] = self._device.memory(host[tensor.name].nbytes)
        given = {tensor.name: host.pop(tensor.name) for tensor in outputs}
        for tensor in inputs.inputs:
            staging_array(tensor, host[tensor.name])
        events = [self._device.event(blocking) for _ in range(6)]
        if self._single:
            events[_BEGAN], events[_READY] = events[_UPLOADED], events[_COMPUTED]
        return Slot(host, device, given, events)

    def _room(self, slot: Slot, name: str, produced: Produced) -> NDArray[Any]:
        """A host array for an output that the library made: a view of memory that only grows, for locking it is slow.

        Locked memory is freed with the device, so what grows at least doubles.
        """
        out = slot.results.get(name)
        if out is not None and out.shape == produced.shape and out.dtype == produced.dtype:
            return out
        room = slot.rooms.get(name)
        if room is None or room.nbytes < produced.size:
            size = produced.size if room is None else max(produced.size, 2 * room.nbytes)
            room = slot.rooms[name] = self._device.host((size,), "uint8", self._pinned)
        return room[: produced.size].view(produced.dtype).reshape(produced.shape)

    def _part(self, name: str, size: int, count: int) -> int:
        """Bytes of the first `count` items; all of a tensor that has no batch."""
        return size if count == self._full or name not in self._batched else size * count // self._full


def compute_stream(device: Device, plan: ModelPlan) -> Stream:
    """The stream for the kernels of a worker, its own or the one that all share."""
    return device.shared_stream() if plan.stream == "shared" else device.stream()
