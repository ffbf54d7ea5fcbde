"""Device times of a request, from the events of its slot or from the moments that the device noted."""

from __future__ import annotations

from framepace.backends.base import DeviceTimes
from framepace.backends.deviceslot import Slot
from framepace.devices.protocol import Device, Event


def request_times(device: Device, slot: Slot) -> DeviceTimes:
    """How long each part of the request that ended last took, and when it began on the host's clock, ns."""
    if slot.stamps is None:
        return _by_events(device, slot)
    return _by_stamps(slot)


def _by_stamps(slot: Slot) -> DeviceTimes:
    assert slot.stamps is not None
    moments = slot.stamps.read()
    before, uploaded, began, computed, ready, done = [moments[place] for place in slot.places]
    if not slot.copied:
        return DeviceTimes(0, computed - began, 0, -1, began, -1)
    return DeviceTimes(uploaded - before, computed - began, done - ready, before, began, ready)


def _by_events(device: Device, slot: Slot) -> DeviceTimes:
    before, uploaded, began, computed, ready, done = slot.events
    elapsed = device.elapsed
    compute = round(elapsed(began, computed))
    if not slot.copied:
        return DeviceTimes(0, compute, 0, -1, device.at(began), -1)
    h2d = round(elapsed(before, uploaded))
    h2d_at = device.at(before)
    compute_at = _start(device, began, uploaded, h2d_at + h2d)
    d2h_at = _start(device, ready, computed, compute_at + compute)
    return DeviceTimes(h2d, compute, round(elapsed(ready, done)), h2d_at, compute_at, d2h_at)


def _start(device: Device, first: Event, before: Event, end: int) -> int:
    """When a part began: at the `end` of the one before where it follows that on its stream."""
    return end if first is before else device.at(first)
