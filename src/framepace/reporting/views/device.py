"""The view-model of GPUs and layers: what a device did during a run, as rows of name and text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from framepace.facts.device import DeviceSummary
from framepace.facts.model import Layer
from framepace.facts.summary import Summary
from framepace.reporting.views.text import optional, share
from framepace.units import format_bytes, format_ms

_PARTS = {"h2d": "copy in", "paint": "preparation", "compute": "kernels", "d2h": "copy out", "host": "host"}
_ACTIVITY = {"sm_activity": "SM", "tensor_activity": "tensor cores", "dram_activity": "DRAM"}
# GB/s per lane one way, after the line code (PCI-SIG: 8, 16, 32 GT/s at 128b/130b; 2.5 and 5 GT/s at 8b/10b).
_LANE_GB_S = {1: 0.25, 2: 0.5, 3: 0.985, 4: 1.969, 5: 3.938}
LAYERS_SHOWN = 12
LAYER_COLUMNS = ("layer", "kind", "on", "time", "share")
LayerRow = tuple[str, str, str, str, str]


def device_rows(summary: Summary) -> list[tuple[str, str]]:
    """The devices during a run: parts of the inference, each device's time, clocks, power, activity and copies."""
    rows: list[tuple[str, str]] = []
    if summary.frames.parts:
        rows.append(("inference", parts_text(summary.frames.parts)))
    several = len(summary.devices) > 1
    for device in summary.devices:
        title = f"device {device.device}" if several else "device"
        rows += [(f"{title} {name}", text) for name, text in _rows(device) if text]
    return rows


def parts_text(parts: Mapping[str, float]) -> str:
    """'copy in 60.1 us, kernels 258 us, copy out 27.8 us, host 12.3 us': means per request."""
    return ", ".join(f"{_PARTS[name]} {format_ms(parts[name])}" for name in _PARTS if name in parts)


def _rows(device: DeviceSummary) -> Iterable[tuple[str, str]]:
    yield "time", _time(device)
    yield "clock", _clock(device)
    yield "power", _power(device)
    yield "activity", _activity(device)
    yield "copies", _copies(device)
    yield "PCIe traffic", _bus(device)
    yield "waits", _waits(device)
    yield "memory", optional(device.medians.get("device_memory_bytes"), format_bytes)


def _time(device: DeviceSummary) -> str:
    shares = {
        "busy": device.busy,
        "overlap": device.overlap,
        "with kernels": device.overlap_kernels,
        "copies": device.overlap_copies,
    }
    return ", ".join(f"{name} {share(value)}" for name, value in shares.items() if value is not None)


def _clock(device: DeviceSummary) -> str:
    if device.sm_clock is None:
        return ""
    lowest, highest = device.sm_clock
    text = f"SM {device.medians.get('sm_clock_mhz', highest):,.0f} MHz"
    if lowest != highest:
        text += f" ({lowest:,} to {highest:,})"
    reasons = ", ".join(f"{name} {share(part)}" for name, part in device.reasons.items() if name != "idle")
    if reasons:
        text += f", limited by {reasons} of the time"
    return text


def _power(device: DeviceSummary) -> str:
    parts = []
    if "power_mw" in device.medians:
        parts.append(f"{device.medians['power_mw'] / 1000:,.0f} W")
    if device.energy_mj is not None and device.inferences:
        parts.append(f"{device.energy_mj / device.inferences:,.0f} mJ per inference")
    if "temperature_c" in device.medians:
        parts.append(f"{device.medians['temperature_c']:.0f} °C")
    return ", ".join(parts)


def _activity(device: DeviceSummary) -> str:
    per_mille = {name: device.medians[key] for key, name in _ACTIVITY.items() if key in device.medians}
    shares = [f"{name} {value / 10:.0f} %" for name, value in per_mille.items()]
    decoders = device.medians.get("decoder_utilisation")
    if decoders:  # most runs decode nothing there
        shares.append(f"video decoders {decoders:.0f} %")
    return ", ".join(shares)


def _bus(device: DeviceSummary) -> str:
    """What crossed the PCIe link in all, whoever sent it."""
    counters = {"in": "pcie_rx_bytes_s", "out": "pcie_tx_bytes_s"}
    known = {name: device.medians[key] for name, key in counters.items() if key in device.medians}
    return ", ".join(f"{name} {speed / 1e9:.3g} GB/s" for name, speed in known.items())


def _copies(device: DeviceSummary) -> str:
    speeds = {"in": device.h2d_bytes_s, "out": device.d2h_bytes_s}
    texts = [f"{name} {speed / 1e9:.3g} GB/s" for name, speed in speeds.items() if speed is not None]
    return ", ".join(texts) + _link(device) if texts else ""


def _link(device: DeviceSummary) -> str:
    """What the PCIe link carries one way at the measured speed, before packet and acknowledgement overhead."""
    generation = device.medians.get("pcie_generation")
    lanes = device.medians.get("pcie_lanes")
    speed = _LANE_GB_S.get(int(generation or 0))
    if speed is None or not lanes:
        return ""
    return f" of {speed * lanes:,.0f} GB/s that PCIe {generation:.0f}.0 x{lanes:.0f} carries"


def _waits(device: DeviceSummary) -> str:
    waits = {"start to kernels": device.launch_delay, "end to host": device.wake_up}
    return ", ".join(
        f"{name} {format_ms(spread.median)} (p99 {format_ms(spread.p99)})"
        for name, spread in waits.items()
        if spread is not None
    )


def layer_rows(layers: Sequence[Layer], shown: int = LAYERS_SHOWN) -> list[LayerRow]:
    """The slowest layers (the first ones if there are no times): name, kind and precision, place, time, share."""
    total = sum(layer.time or 0.0 for layer in layers)
    slowest_first = sorted(layers, key=lambda layer: -(layer.time or 0.0))
    return list(_layer_rows(slowest_first[:shown], total))


def _layer_rows(layers: Iterable[Layer], total: float) -> Iterator[LayerRow]:
    for layer in layers:
        kind = f"{layer.kind} {layer.precision}".strip()
        part = ""
        if layer.time is not None and total:
            part = share(layer.time / total)
        yield layer.name, kind, layer.place, optional(layer.time, format_ms), part
