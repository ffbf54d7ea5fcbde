"""The view-model of GPUs and layers: what a device did during a run, as rows of name and text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from framepace.facts.device import DeviceSummary
from framepace.facts.model import Layer
from framepace.facts.summary import Summary
from framepace.units import format_bytes, format_ms, format_quantity

_PARTS = {"h2d": "copy in", "compute": "kernels", "d2h": "copy out", "host": "host"}
_ACTIVITY = {"sm_activity": "SM", "tensor_activity": "tensor cores", "dram_activity": "DRAM"}
# GB/s a lane one way, after the line code (PCI-SIG: 8, 16, 32 GT/s at 128b/130b; 2.5 and 5 GT/s at 8b/10b).
_LANE_GB_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938}
LAYERS_SHOWN = 12
LAYER_COLUMNS = ("layer", "kind", "on", "time", "share")


def device_rows(summary: Summary) -> list[tuple[str, str]]:
    """What the devices did: parts of the inference, each device's time, clocks, power, activity and copies."""
    rows = [("inference", parts_text(summary.frames.parts))] if summary.frames.parts else []
    for device in summary.devices:
        head = "device" if len(summary.devices) == 1 else f"device {device.device}"
        rows += [(f"{head} {name}" if name else head, text) for name, text in _rows(device) if text]
    return rows


def parts_text(parts: Mapping[str, float]) -> str:
    """'copy in 60.1 us, kernels 258 us, copy out 27.8 us, host 12.3 us', means a request."""
    return ", ".join(f"{_PARTS[name]} {format_ms(parts[name])}" for name in _PARTS if name in parts)


def _rows(d: DeviceSummary) -> Iterable[tuple[str, str]]:
    shares = (
        ("busy", d.busy),
        ("overlap", d.overlap),
        ("with kernels", d.overlap_kernels),
        ("copies", d.overlap_copies),
    )
    yield "time", ", ".join(f"{name} {format_quantity(s, 'share')}" for name, s in shares if s is not None)
    yield "clock", _clock(d)
    yield "power", _power(d)
    told = ((name, d.medians[key]) for key, name in _ACTIVITY.items() if key in d.medians)
    yield "activity", ", ".join(f"{name} {value / 10:.0f} %" for name, value in told)
    speeds = (("in", d.h2d_bytes_s), ("out", d.d2h_bytes_s))
    known = [f"{name} {speed / 1e9:.3g} GB/s" for name, speed in speeds if speed is not None]
    yield "copies", ", ".join(known) + _link(d) if known else ""
    yield "waits", _waits(d)
    if "device_memory_bytes" in d.medians:
        yield "memory", format_bytes(d.medians["device_memory_bytes"])


def _link(d: DeviceSummary) -> str:
    """What the PCIe link as it ran can carry one way, before packets and acknowledgements take their part."""
    generation, lanes = (d.medians.get(f"pcie_{name}") for name in ("generation", "lanes"))
    speed = _LANE_GB_S.get(int(generation or 0))
    if speed is None or not lanes:
        return ""
    return f" of {speed * lanes:,.0f} GB/s that PCIe {generation:.0f}.0 x{lanes:.0f} carries"


def _clock(d: DeviceSummary) -> str:
    if d.sm_clock is None:
        return ""
    median = d.medians.get("sm_clock_mhz", d.sm_clock[1])
    span = "" if d.sm_clock[0] == d.sm_clock[1] else f" ({d.sm_clock[0]:,} to {d.sm_clock[1]:,})"
    held = ", ".join(f"{name} {format_quantity(share, 'share')}" for name, share in d.reasons.items() if name != "idle")
    return f"SM {median:,.0f} MHz{span}" + (f", held down by {held} of the time" if held else "")


def _power(d: DeviceSummary) -> str:
    parts = []
    if "power_mw" in d.medians:
        parts.append(f"{d.medians['power_mw'] / 1000:,.0f} W")
    if d.energy_mj is not None and d.inferences:
        parts.append(f"{d.energy_mj / d.inferences:,.0f} mJ an inference")
    if "temperature_c" in d.medians:
        parts.append(f"{d.medians['temperature_c']:.0f} °C")
    return ", ".join(parts)


def _waits(d: DeviceSummary) -> str:
    told = (("start to kernels", d.launch_delay), ("end to host", d.wake_up))
    return ", ".join(f"{name} {format_ms(s.median)} (p99 {format_ms(s.p99)})" for name, s in told if s is not None)


def layer_rows(layers: Sequence[Layer], shown: int = LAYERS_SHOWN) -> list[tuple[str, str, str, str, str]]:
    """The slowest layers: name, kind and precision, place, time, share of all; where no times are, the first ones."""
    total = sum(layer.time or 0.0 for layer in layers)
    ordered = sorted(layers, key=lambda layer: -(layer.time or 0.0))
    return [
        (
            layer.name,
            " ".join(part for part in (layer.kind, layer.precision) if part),
            layer.place,
            "" if layer.time is None else format_ms(layer.time),
            format_quantity(layer.time / total, "share") if layer.time is not None and total else "",
        )
        for layer in ordered[:shown]
    ]
