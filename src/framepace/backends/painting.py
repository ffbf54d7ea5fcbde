"""Pictures painted on the device into the inputs of a worker: prepare-place=device.

A picture that was decoded on the device is read where it is. One on the host is copied as it is, in its own format,
which takes fewer bytes than any input made of it. What the kernel does not do is prepared on the host, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.backends.deviceslot import Lanes
from framepace.devices.protocol import Device, Event, Memory
from framepace.facts.plan import ModelPlan
from framepace.facts.prepare import Prepare
from framepace.models.dtypes import dtype_of
from framepace.models.filling import Write, input_filler
from framepace.models.spec import Resolved
from framepace.video.device.description import (
    KERNEL,
    Canvas,
    CPicture,
    Kind,
    describe_lines,
    launches,
    source,
)
from framepace.video.device.surface import Lines, device_lines, host_planes, is_on_device, kind_key, kind_of
from framepace.video.prepare import Preparer

_BLOCK = (32, 8, 1)  # threads; a warp writes one line
_LINE = 256  # bytes at whose multiples planes begin

Tell = Callable[[str], None]


@dataclass
class _Original:
    """A picture of the host on its way: page-locked memory, and as much on the device."""

    host: NDArray[np.uint8]
    device: Memory
    size: int = 0


@dataclass
class _Slot:
    """The inputs of one slot, and what is to be painted into them before its next inference."""

    host: Mapping[str, NDArray[Any]]
    device: Mapping[str, Memory]
    events: tuple[Event, Event, Event]
    originals: list[_Original] = field(default_factory=list)
    pictures: list[CPicture] = field(default_factory=list)
    owners: list[Any] = field(default_factory=list)
    copied: int = 0
    decoded: bool = False
    prepared: set[str] = field(default_factory=set)
    painted: bool = False


class Painting:
    """Paints pictures into the slots of a worker. Used by the worker's thread.

    Args:
        pinned: the host's side of copies is page-locked.
        tell: takes a sentence on what is prepared on the host all the same.

    Attributes:
        names: of the inputs that are painted; nothing else is to be copied into them.
    """

    def __init__(self, device: Device, resolved: Resolved, pinned: bool, tell: Tell) -> None:
        self.names = frozenset(image.name for image in (*resolved.images, *resolved.previous))
        self._device = device
        self._resolved = resolved
        self._pinned = pinned
        self._tell = tell
        self._kernel = device.compile(source(), KERNEL)
        self._slots: list[_Slot] = []
        self._decoder: Event = device.event()
        self._is_loaded = False

    @classmethod
    def of(cls, device: Device, plan: ModelPlan, resolved: Resolved, tell: Tell) -> Painting | None:
        """The painting of a worker; None where the plan does not prepare on the device, or nothing takes a picture."""
        if plan.prepare.place != "device" or not resolved.images:
            return None
        return cls(device, resolved, plan.transfer != "pageable", tell)

    def add(self, host: Mapping[str, NDArray[Any]], device: Mapping[str, Memory]) -> None:
        """The inputs of the next slot: its staging, and its memory on the device."""
        before, began, ended = (self._device.event() for _ in range(3))
        self._slots.append(_Slot(host, device, (before, began, ended)))

    def filler(self, model: ModelPlan) -> Write:
        """The function that brings frames to the inputs, as `models.filling.input_filler` does."""
        return input_filler(model, self._resolved, self._preparer)

    def enqueue(self, index: int, lanes: Lanes) -> None:
        """Paint what was brought to slot `index` since its last inference, before anything of the next one begins."""
        slot = self._slots[index]
        slot.painted = bool(slot.pictures)
        if not self._is_loaded:
            self._load(lanes)
        if slot.copied or slot.prepared:
            self._copy(slot, lanes)
        if slot.pictures:
            self._paint(slot, lanes)
        slot.pictures = []
        slot.prepared.clear()
        slot.copied = 0
        slot.decoded = False

    def release(self, index: int) -> None:
        """Let go of the pictures of a slot whose inference has ended."""
        self._slots[index].owners.clear()

    def times(self, index: int) -> dict[str, int]:
        """When the last painting of a slot began, and its device time, as DeviceTimes calls them; {} without one."""
        slot = self._slots[index]
        if not slot.painted:
            return {}
        _, began, ended = slot.events
        return {"paint": round(self._device.elapsed(began, ended)), "paint_at": self._device.at(began)}

    def _load(self, lanes: Lanes) -> None:
        """Launch the kernel for no picture: its code is loaded in the first launch."""
        self._is_loaded = True
        argument, _ = launches([CPicture()])[0]
        self._kernel.launch((1, 1, 1), _BLOCK, argument, lanes.compute)

    def _copy(self, slot: _Slot, lanes: Lanes) -> None:
        """Copy originals, and inputs that were prepared on the host."""
        for name in slot.prepared:
            array = slot.host[name]
            self._device.upload(slot.device[name], array, array.nbytes, lanes.up)
        for original in slot.originals[: slot.copied]:
            self._device.upload(original.device, original.host, original.size, lanes.up)
        if lanes.up is not lanes.compute:
            lanes.up.record(slot.events[0])
            lanes.compute.wait(slot.events[0])

    def _paint(self, slot: _Slot, lanes: Lanes) -> None:
        if slot.decoded:
            self._device.await_decoder(lanes.compute, self._decoder)
        _, began, ended = slot.events
        lanes.compute.record(began)
        for argument, count in launches(slot.pictures):
            height, width = _largest(slot.pictures)
            grid = (-(-width // _BLOCK[0]), -(-height // _BLOCK[1]), count)
            self._kernel.launch(grid, _BLOCK, argument, lanes.compute)
        lanes.compute.record(ended)

    def _preparer(
        self, prepare: Prepare, size: tuple[int, int], layout: str, channels: int, dtype: str
    ) -> DevicePreparer:
        canvas = Canvas(prepare, size, layout, channels, dtype_of(dtype))
        return DevicePreparer(self, canvas, self._table(canvas))

    def _table(self, canvas: Canvas) -> int:
        """The address of a canvas's table on the device."""
        values = canvas.table()
        host = self._device.host((values.nbytes,), "uint8", self._pinned)
        host[...] = values.reshape(-1).view(np.uint8)
        memory = self._device.memory(values.nbytes)
        stream = self._device.stream()
        self._device.upload(memory, host, values.nbytes, stream)
        done = self._device.event()
        stream.record(done)
        done.sync()
        return memory.pointer

    def bring(self, picture: Any, kind: Kind, described: CPicture, out: NDArray[Any]) -> bool:
        """Have a picture painted into `out`, a part of a slot's staging; False where its memory cannot be read."""
        slot, name = self._place(out)
        lines = self._lines(slot, picture, kind)
        if lines is None:
            return False
        described.out = slot.device[name].pointer + _address(out) - _address(slot.host[name])
        describe_lines(described, kind, [(plane.address, plane.row_bytes) for plane in lines])
        slot.pictures.append(described)
        slot.owners.append(picture)
        return True

    def bring_prepared(self, out: NDArray[Any]) -> None:
        """`out`, a part of a slot's staging, was prepared on the host."""
        slot, name = self._place(out)
        slot.prepared.add(name)

    def tell(self, why: str) -> None:
        """Say that pictures are prepared on the host all the same."""
        self._tell(f"prepared on the host, not on the device: {why}")

    def _place(self, out: NDArray[Any]) -> tuple[_Slot, str]:
        """The slot and the input of which `out` is a part."""
        address = _address(out)
        for slot in self._slots:
            for name in self.names:
                array = slot.host[name]
                if 0 <= address - _address(array) < array.nbytes:
                    return slot, name
        raise ValueError("no input of this worker")

    def _lines(self, slot: _Slot, picture: Any, kind: Kind) -> Sequence[Lines] | None:
        if is_on_device(picture):
            slot.decoded = True
            return device_lines(picture, self._device.index, kind.pixels.planes)
        return self._copied(slot, host_planes(picture, kind.pixels.planes))

    def _copied(self, slot: _Slot, planes: Sequence[tuple[NDArray[np.uint8], int]]) -> list[Lines]:
        """The planes where they will be on the device; copied into page-locked memory here."""
        starts = [0]
        for plane, _ in planes:
            starts.append(-(-(starts[-1] + plane.nbytes) // _LINE) * _LINE)
        original = self._room(slot, starts[-1])
        for start, (plane, _) in zip(starts, planes, strict=False):
            original.host[start : start + plane.nbytes] = plane
        return [
            Lines(original.device.pointer + start, row_bytes)
            for start, (_, row_bytes) in zip(starts, planes, strict=False)
        ]

    def _room(self, slot: _Slot, size: int) -> _Original:
        """Memory for the next picture of a slot; it only grows."""
        place = slot.copied
        slot.copied += 1
        if place == len(slot.originals):
            slot.originals.append(self._original(size))
        elif slot.originals[place].host.nbytes < size:
            slot.originals[place].device.close()
            slot.originals[place] = self._original(size)
        slot.originals[place].size = size
        return slot.originals[place]

    def _original(self, size: int) -> _Original:
        return _Original(self._device.host((size,), "uint8", self._pinned), self._device.memory(size))


class DevicePreparer:
    """Brings pictures to one kind of input, as `video.prepare.Preparer` does; used by one thread."""

    def __init__(self, painting: Painting, canvas: Canvas, table: int) -> None:
        self._painting = painting
        self._canvas = canvas
        self._table = table
        self._kinds: dict[tuple[Any, ...], tuple[Kind, CPicture] | None] = {}
        self._host = Preparer(canvas.prepare, canvas.size, canvas.layout, canvas.channels, canvas.dtype.name)

    def __call__(self, picture: Any, out: NDArray[Any]) -> None:
        """Have `picture` painted into `out`, a part of a slot's staging, (c, h, w) or (h, w, c)."""
        described = self._described(picture)
        if described is not None and self._painting.bring(picture, described[0], self._at(described[1], out), out):
            return
        self._host(picture, out)
        self._painting.bring_prepared(out)

    def _described(self, picture: Any) -> tuple[Kind, CPicture] | None:
        if self._canvas.prepare.hook:
            return None
        key = kind_key(picture)
        if key not in self._kinds:
            self._kinds[key] = self._describe(picture, key)
        return self._kinds[key]

    def _describe(self, picture: Any, key: tuple[Any, ...]) -> tuple[Kind, CPicture] | None:
        kind = kind_of(picture)
        template = None
        if kind is not None:
            template = self._canvas.template(kind)
        if kind is None or template is None:
            self._painting.tell(f"pictures of {key[0]}, {key[2]}x{key[1]}")
            return None
        template.table = self._table
        return kind, template

    def _at(self, template: CPicture, out: NDArray[Any]) -> CPicture:
        """A copy of the description with the steps of `out` in it."""
        described = CPicture.from_buffer_copy(template)
        strides = out.strides
        if self._canvas.layout == "nhwc":
            strides = (strides[2], strides[0], strides[1])
        described.channel_bytes, described.row_bytes, described.column_bytes = strides
        return described


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])


def _largest(pictures: Sequence[CPicture]) -> tuple[int, int]:
    """(height, width) that hold every input of the pictures."""
    return max(p.input_height for p in pictures), max(p.input_width for p in pictures)
