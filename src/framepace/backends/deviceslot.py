"""What a request of a GPU worker has: its buffers, its events, the streams that it takes, and its copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.devices.protocol import Device, Event, Memory, Stamps, Stream

BEFORE, UPLOADED, BEGAN, COMPUTED, READY, DONE = range(6)  # places in Slot.events
EVENTS = 6


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


@dataclass(frozen=True)
class Lanes:
    """The streams of a request's copy in, kernels and copy out: three, or one for all."""

    up: Stream
    compute: Stream
    down: Stream

    @classmethod
    def single(cls, stream: Stream) -> Lanes:
        """One stream for all: each part follows the one before without an event between them."""
        return cls(stream, stream, stream)


@dataclass
class Slot:
    """The buffers of one request in flight. Addresses never change, so that a graph can hold them.

    `events`: before the copy in, after it, before the kernels, after them, before the copy out, after it; on a single
    stream the end of one part is the beginning of the next, and the same event. `rivals`: the ends of the kernels of
    other slots that are on other streams, though they share their memory with this one's. `stamps` have the times
    instead, each event's at one of `places`; of the events only the last is recorded then, for the host to wait for.
    `buffers`: host memory for outputs that the library produces, by name.
    """

    host: dict[str, NDArray[Any]]
    device: dict[str, Memory]
    outputs: dict[str, NDArray[Any]]
    lanes: Lanes
    events: list[Event] = field(default_factory=list)
    stamps: Stamps | None = None
    places: Sequence[int] = ()
    rivals: Sequence[Event] = ()
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

    def mark(self, place: int, stream: Stream) -> None:
        """Enqueue that the time is noted when `stream` gets there."""
        if self.stamps is None:
            stream.record(self.events[place])
        else:
            self.stamps.note(place, stream)

    def end(self, stream: Stream) -> None:
        """Enqueue what the host waits for, where no event did so yet."""
        if self.stamps is not None:
            self.stamps.end(self.last, stream)

    @property
    def last(self) -> Event:
        """The event that ends the request."""
        return self.events[DONE if self.copied else COMPUTED]


class Copies:
    """The copies of a request, between the events that time them.

    Args:
        inputs: names of what is copied to the device.
        batched: names of the tensors whose bytes follow the count of items, of `full` items.
        pinned: host memory for outputs that the library produces is page-locked.
    """

    def __init__(self, device: Device, inputs: Sequence[str], batched: frozenset[str], full: int, pinned: bool) -> None:
        self._device = device
        self._inputs = inputs
        self._batched = batched
        self._full = full
        self._pinned = pinned

    def leave_out(self, names: frozenset[str]) -> None:
        """Copy nothing into these inputs, which are written on the device."""
        self._inputs = [name for name in self._inputs if name not in names]

    def give(self, slot: Slot, stream: Stream) -> None:
        """Enqueue the copies to the device."""
        slot.mark(BEFORE, stream)
        for name in self._inputs:
            array = slot.host[name]
            self._device.upload(slot.device[name], array, self._part(name, array.nbytes, slot.count), stream)
        slot.mark(UPLOADED, stream)

    def fetch(self, slot: Slot, stream: Stream) -> None:
        """Enqueue the copies of all outputs, behind the kernels; `slot.results` are the host arrays they will be in."""
        events = slot.events
        if events[READY] is not events[COMPUTED]:
            stream.wait(events[COMPUTED])
            slot.mark(READY, stream)
        slot.results = self._fetched(slot, stream)
        slot.mark(DONE, stream)

    def _fetched(self, slot: Slot, stream: Stream) -> dict[str, NDArray[Any]]:
        results = {}
        for name, out in slot.outputs.items():
            self._device.download(out, slot.device[name], self._part(name, out.nbytes, slot.count), stream)
            results[name] = out
        for name, produced in (slot.produced or {}).items():
            out = self._host_array(slot, name, produced)
            self._device.download(out, produced, produced.size, stream)  # type: ignore[arg-type]
            results[name] = out
        return results

    def _part(self, name: str, size: int, count: int) -> int:
        """Bytes of the first `count` items; all of a tensor that has no batch."""
        if count == self._full or name not in self._batched:
            return size
        return size * count // self._full

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
