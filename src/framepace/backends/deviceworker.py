"""The worker that every GPU backend uses: staging, copies, events and graphs of its slots.

A backend brings only the launch of its kernels. Without a graph three streams per worker (up, compute, down), ordered
by events, let the copy of one request overlap the computation of another; a worker with one slot has nothing to
overlap and keeps to one stream. With a graph all of a request is one: both copies, the kernels and the events. Each
slot launches its own on its own stream, where its kernels wait for those of the other slots, which share their memory;
with stream=slot they have memory of their own, and wait for nothing.
What makes several workers of one process wait for each other is how often a request lets the interpreter go: it does so
once here, to wait, and not at all where the device is done already.

Durations come from events, or from the device's clock where requests run side by side.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from numpy.typing import NDArray

from framepace.backends.base import DeviceTimes, Prepare, Tensors, Worker, padded
from framepace.backends.deviceslot import (
    BEGAN,
    COMPUTED,
    EVENTS,
    READY,
    UPLOADED,
    Copies,
    Lanes,
    Produced,
    Slot,
)
from framepace.backends.devicetimes import request_times
from framepace.backends.painting import Painting
from framepace.backends.requestgraphs import (
    Capture,
    Parts,
    RequestGraphs,
    Scope,
    answered,
    check_answers,
    undisturbed,
)
from framepace.backends.sidebyside import disagreeing
from framepace.devices.protocol import Device, Event, Stamps, Stream
from framepace.errors import DeviceLost, DeviceMemoryError
from framepace.facts.model import TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.inputs import fill
from framepace.models.spec import Resolved

__all__ = ["DeviceWorker", "Launch", "Produced", "Slot", "compute_stream"]

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
        capture: makes graphs: each (slot, count) is captured once, after one plain run, and replayed. None: no graphs.
        own_graph: the launch replays a graph of the library's own, which can be captured into no other.
        side_by_side: the launch has memory of its own for each slot, so that the kernels of several may run at once.
        compute: the stream of the kernels, where the backend needed one before; made here otherwise.
        sizes: the only batch sizes that are launched, ascending; others are padded to the next. Empty: any.
        close: frees what the backend made for this worker.
        tell: takes a sentence for the reader of the run.

    Raises what the device does; nothing is left taken then.
    """

    def __init__(
        self,
        device: Device,
        plan: ModelPlan,
        inputs: Resolved,
        outputs: Sequence[TensorSpec],
        launch: Launch,
        capture: Capture | None = None,
        own_graph: bool = False,
        side_by_side: bool = False,
        compute: Stream | None = None,
        close: Callable[[], None] | None = None,
        sizes: Sequence[int] = (),
        tell: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.slots = plan.slots
        self._device = device
        self.sm_clock = device.sm_clock  # type: ignore[method-assign]  # bound once: asked twice in every request
        self._launch = launch
        self._resident = plan.transfer == "device"
        self._pinned = plan.transfer != "pageable"
        self._own_stream = plan.stream != "shared"
        self._side_by_side = side_by_side
        self._blocking = not plan.spinning
        self._full = plan.batch.max
        self._sizes = tuple(sizes)
        self._tell = tell
        self._scope = self._widest(capture, own_graph)
        self._requests: dict[tuple[int, int], Callable[[], None]] = {}
        batched = _batched(inputs, outputs, self._full)
        self._copies = Copies(device, [tensor.name for tensor in inputs.inputs], batched, self._full, self._pinned)
        with ExitStack() as stack:
            stack.callback(device.close)
            if close is not None:
                stack.callback(close)
            self._graphs = RequestGraphs(capture or device.capture)
            stack.callback(self._graphs.close)
            self._compute = compute or compute_stream(device, plan)
            self._painting = Painting.of(device, plan, inputs, tell)
            self._slots = [self._slot(inputs, outputs) for _ in range(self.slots)]
            self._lay_out()
            self._close = stack.pop_all()

    def _widest(self, capture: Capture | None, own_graph: bool) -> Scope | None:
        """The most of a request that can be one graph; copies from pageable memory cannot be captured at all."""
        if capture is None:
            return None
        if not own_graph:
            return "request" if self._pinned and self._own_stream else "kernels"
        if self._pinned and not self._resident:
            return "copies"
        return None

    def preparer(self, model: ModelPlan) -> Prepare | None:
        """See Worker: on the device, where the plan wants it."""
        if self._painting is None:
            return None
        self._copies.leave_out(self._painting.names)
        return self._painting.filler(model)

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self._slots[slot].host

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: copy in, compute, copy out, each behind the one before."""
        if self._sizes:
            count = padded(count, self._sizes)
        try:
            buffers = self._slots[slot]
            if self._painting is not None:
                self._painting.enqueue(slot, buffers.lanes)
            request = self._requests.get((slot, count)) or self._prepared(slot, count)
            buffers.count = count
            buffers.copied = not (self._resident and buffers.filled)
            request()
            buffers.filled = True
        except Exception as error:
            raise self._device.error(error, "an inference was started") from error

    def _prepared(self, index: int, count: int) -> Callable[[], None]:
        """What enqueues a request, made when it comes first and kept."""
        made = self._requests[index, count] = self._made(index, count)
        return made

    def wait(self, slot: int) -> Tensors:
        """See Worker: waits for this request's last event, nothing else."""
        buffers = self._slots[slot]
        try:
            if not self._device.is_reached(buffers.last):
                buffers.last.sync()
        except Exception as error:
            raise self._device.error(error, "an inference ran") from error
        buffers.produced = None
        if self._painting is not None:
            self._painting.release(slot)
        return buffers.results

    def prime(self) -> None:
        """See Worker: one inference of each size in each slot, the largest first (its memory serves the others)."""
        for slot, size in itertools.product(range(self.slots), self._sizes[::-1] or (self._full,)):
            self.enqueue(slot, size)
            self.wait(slot)
        if self._side_by_side and self.slots > 1 and not self._resident:
            self._try_side_by_side()

    def _try_side_by_side(self) -> None:
        """Go back to one request after the other where several at once answer otherwise."""
        if wrong := disagreeing(self, self._full):
            self._side_by_side = False
            self._tell(f"kernels of a worker follow each other: side by side {', '.join(wrong)} came out otherwise")
            self._start_anew()
            self.prime()

    def times(self, slot: int) -> DeviceTimes:
        """See Worker."""
        times = request_times(self._device, self._slots[slot])
        if self._painting is None:
            return times
        return dataclasses.replace(times, **self._painting.times(slot))

    def close(self) -> None:
        """See Worker: what runs comes to its end before its graph and its memory are freed."""
        with suppress(Exception):  # of a lost device
            self._settle()
        self._requests.clear()
        self._slots.clear()
        self._close.close()

    def _made(self, index: int, count: int) -> Callable[[], None]:
        """What enqueues a request of a slot and count."""
        slot = self._slots[index]
        slot.count = count
        parts = self._parts(index, slot)
        if self._scope is None:
            return partial(self._run, slot, parts)
        try:
            return undisturbed(partial(self._graphed, slot, parts))
        except _NotCaptured as error:
            self._give_up(error)
            return self._made(index, count)

    def _graphed(self, slot: Slot, parts: Parts) -> Callable[[], None]:
        """A request with its graphs, which are captured and tried here."""
        self._settle()
        # Libraries load kernels and choose algorithms in their first run, which a capture does not allow.
        slot.copied = not (self._resident and slot.filled)
        plain = partial(answered, partial(self._run_apart, slot, parts), slot)
        expected = plain()
        slot.filled = True
        slot.copied = not self._resident
        try:
            request = self._captured(slot, parts)
            # The first launch of a graph takes it to the device; a race would show in the second.
            for _ in range(2):
                check_answers(plain, expected, answered(request, slot))
        except (DeviceLost, DeviceMemoryError):
            raise
        except Exception as error:
            if self._scope == "kernels":
                raise
            raise _NotCaptured(str(self._device.error(error, "a request was captured"))) from error
        return request

    def _captured(self, slot: Slot, parts: Parts) -> Callable[[], None]:
        if self._scope == "request":
            return self._graphs.whole(lambda lanes: self._run(slot, parts, lanes), slot)
        if self._scope == "copies":
            return partial(self._run, slot, self._graphs.copies(parts, slot))
        return partial(self._run, slot, self._graphs.kernels(parts))

    def _give_up(self, why: _NotCaptured) -> None:
        """Capture less from here on, and say why."""
        if self._scope == "request":
            self._scope = "kernels"
            self._tell(f"only the kernels of a request are a CUDA graph, its copies are apart: {why.words}")
        else:
            self._scope = None
            self._tell(f"the copies of a request are not CUDA graphs: {why.words}")
        self._start_anew()

    def _start_anew(self) -> None:
        """Forget the requests that were made, and lay out streams and events again."""
        self._settle()
        self._requests.clear()
        self._graphs.close()
        self._lay_out()

    def _settle(self) -> None:
        """Wait for all that was started; only where graphs are made or freed."""
        for slot in self._slots:
            slot.last.sync()

    def _parts(self, index: int, slot: Slot) -> Parts:
        count = slot.count
        return Parts(
            partial(self._copies.give, slot),
            lambda stream: self._launch(index, slot, count, stream),
            partial(self._copies.fetch, slot),
        )

    def _run_apart(self, slot: Slot, parts: Parts) -> None:
        """Enqueue a request without its graph, and what the host waits for."""
        self._run(slot, parts)
        slot.end(slot.lanes.down)

    def _run(self, slot: Slot, parts: Parts, lanes: Lanes | None = None) -> None:
        """Enqueue the parts of a request, on the slot's streams or others."""
        lanes = lanes or slot.lanes
        if slot.copied:
            parts.give(lanes.up)
        if slot.events[BEGAN] is not slot.events[UPLOADED]:
            for event in self._awaited(slot, lanes):
                lanes.compute.wait(event)
            slot.mark(BEGAN, lanes.compute)
        slot.produced = parts.kernels(lanes.compute)
        slot.mark(COMPUTED, lanes.compute)
        if slot.copied:
            parts.fetch(lanes.down)

    def _awaited(self, slot: Slot, lanes: Lanes) -> Iterator[Event]:
        """What the kernels of a request wait for."""
        if slot.copied and lanes.up is not lanes.compute:
            yield slot.events[UPLOADED]
        yield from slot.rivals

    def _slot(self, inputs: Resolved, outputs: Sequence[TensorSpec]) -> Slot:
        tensors = (*inputs.inputs, *outputs)
        host = {tensor.name: self._host_memory(tensor) for tensor in tensors}
        device = {name: self._device.memory(max(1, array.nbytes)) for name, array in host.items()}
        host_outputs = {tensor.name: host.pop(tensor.name) for tensor in outputs}
        for tensor in inputs.inputs:
            fill(inputs, tensor, host[tensor.name])
        if self._painting is not None:
            self._painting.add(host, device)
        return Slot(host, device, host_outputs, Lanes.single(self._compute))

    def _lay_out(self) -> None:
        """Give each slot its streams and its events."""
        for slot, lanes, stamps in zip(self._slots, self._lanes(), self._stamps(), strict=True):
            slot.lanes = lanes
            slot.events = self._events(lanes)
            slot.rivals = ()
            slot.places = [_first(event, slot.events) for event in slot.events]
            slot.stamps = stamps
        if self._scope == "request" and not self._side_by_side:
            for slot in self._slots:
                slot.lanes.compute.record(slot.events[COMPUTED])  # the others' graphs wait for it from the first on
                slot.rivals = [other.events[COMPUTED] for other in self._slots if other is not slot]

    def _stamps(self) -> Sequence[Stamps | None]:
        """Where the times of each slot are noted: by the device itself where graphs are to run side by side."""
        none = [None] * self.slots
        if self._scope != "request" or not self._side_by_side or self.slots == 1:
            return none
        first = self._device.stamps(EVENTS)
        if first is None:
            why = "kernels cannot be compiled here (pip install nvidia-cuda-nvrtc)"
            self._tell(f"times come from events, beside which few requests run at once: {why}")
            return none
        return [first, *(self._device.stamps(EVENTS) for _ in self._slots[1:])]

    def _lanes(self) -> list[Lanes]:
        """The streams of each slot."""
        if self._scope == "request" or self._side_by_side:
            others = [self._device.stream() for _ in self._slots[1:]]
            return [Lanes.single(stream) for stream in (self._compute, *others)]
        # Device-resident tensors are copied in the first request only, whose kernels are timed apart all the same.
        if self.slots == 1 and not self._resident and self._own_stream:
            return [Lanes.single(self._compute)]
        return [Lanes(self._device.stream(), self._compute, self._device.stream())] * self.slots

    def _events(self, lanes: Lanes) -> list[Event]:
        events = [self._device.event(self._blocking) for _ in range(EVENTS)]
        if lanes.up is lanes.compute:
            events[READY] = events[COMPUTED]
            if (self.slots == 1 or self._side_by_side) and not self._resident:
                events[BEGAN] = events[UPLOADED]
        return events

    def _host_memory(self, tensor: TensorSpec) -> NDArray[Any]:
        shape = tuple(int(d) for d in tensor.shape)
        return self._device.host(shape, tensor.dtype, self._pinned)


class _NotCaptured(Exception):
    """A request cannot be a graph; the driver's words, or the library's, in one line."""

    @property
    def words(self) -> str:
        return " ".join(str(self).split())


def _batched(inputs: Resolved, outputs: Sequence[TensorSpec], full: int) -> frozenset[str]:
    """Names of the tensors whose bytes follow the count; outputs of a batched model have its batch."""
    if not inputs.batched:
        return frozenset()
    return inputs.batched | {tensor.name for tensor in outputs if tensor.shape[:1] == (full,)}


def _first(event: Event, events: Sequence[Event]) -> int:
    """The first place of an event: the end of one part may be the beginning of the next."""
    return next(place for place, other in enumerate(events) if other is event)


def compute_stream(device: Device, plan: ModelPlan) -> Stream:
    """The stream for the kernels of a worker, its own or the one that all share."""
    return device.shared_stream() if plan.stream == "shared" else device.stream()
