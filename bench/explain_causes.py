"""The causes of the labelled cases in bench/explain.py: what switches each on, on a simulated device, and off again.

Each costs about `strength` times the inference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from framepace.simulate.parameters import DeviceModel

Settings = dict[str, Any]
_INPUT_MB = 0.049152  # what the model 'null' takes: 1x3x64x64 in float32
FRAME_HOOK = "explain_hooks:slow_hook"
FINISH_HOOK = "explain_hooks:slow_finish"
CROWDED_HOOK = "explain_hooks:crowded_finish"
SINK_HOOK = "explain_hooks:stalling_sink"


@dataclass(frozen=True)
class Base:
    """A network on a device with nothing wrong: `ms` of arithmetic a frame."""

    device: DeviceModel
    settings: Settings
    ms: float
    fps: float

    @property
    def boost(self) -> int:
        """The highest clock, MHz."""
        return self.device.boost_mhz


@dataclass(frozen=True)
class Injected:
    """What switches a cause on: settings, the load and target it needs, time of hooks (ns), and a quota of cores."""

    on: Settings
    off: Settings
    closed: int | None = None
    hook_ns: int = 0
    faster: float | None = None
    burst: int | None = None
    random: float | None = None
    quota: float | None = None
    p99_ms: float | None = None


def _clocks(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    low = round(base.boost / (1 + strength))
    slow: Settings = {"option.base_mhz": low, "option.load_share": 0.6, "option.load_window_ms": 300.0}
    idle = {"option.idle_delay_ms": 10.0}
    on = slow if rng.random() < 0.5 else idle
    rise = {"option.idle_mhz": low, "option.fall_ms": 40.0, "option.rise_ms": 100.0, "option.step_mhz": 5}
    return Injected({**on, **rise}, {"option.idle_delay_ms": 0, "option.load_share": 0})


def _sleeping(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    part = rng.uniform(0.3, 1.0)  # of it before the kernels, the rest in them
    on = {
        "option.wake_us": 1000 * base.ms * strength * part,
        "option.asleep_us": 1000 * base.ms,
        "option.asleep_factor": strength * (1 - part),
    }
    return Injected(on, {"option.wake_us": 0, "option.asleep_factor": 0})


def _cold(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    on = {"option.cold_us": 1000 * base.ms * strength, "option.cold_ms": base.ms * rng.uniform(1, 3)}
    return Injected(on, {"option.cold_us": 0})


def _power(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    idle, dynamic = 50.0, 400.0
    limit = idle + 0.7 * dynamic / (1 + strength) ** 2.5
    on = {"option.idle_w": idle, "option.dynamic_w": dynamic, "option.power_limit_w": limit}
    lower = {"option.idle_mhz": round(base.boost / 4), "option.base_mhz": round(base.boost / 3), "option.step_mhz": 5}
    return Injected({**on, **lower, "option.dram_power_share": 0.3}, {"option.power_limit_w": 0}, closed=1)


def _launches(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    kernels = int(rng.integers(150, 600))
    each = 1000 * base.ms * (1 + strength) / kernels
    on = {"option.kernels": kernels, "option.launch_us": each, "option.graph_us": 8.0}
    return Injected(on, {"option.launch_us": 0.0})


def _copies(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    speed = _INPUT_MB / (base.ms * strength)  # MB a ms are GB a s
    if rng.random() < 0.5:
        return Injected({"transfer": "pageable", "option.pageable_gb_s": speed}, {"option.pageable_gb_s": 1000.0})
    return Injected({"option.pinned_gb_s": speed}, {"option.pinned_gb_s": 1000.0})


def _memory(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    seconds = base.ms / 1000 * (1 + strength)
    on = {"option.mbytes": seconds * base.device.dram_gb_s * 0.8 * 1000, "option.dram_efficiency": 0.8}
    return Injected({**on, "option.weights_mb": 0.0}, {"option.mbytes": 1.0})


def _compute(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    return Injected({}, {})  # made whole in _compute_case


def _under_filled(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    share = 1 / (1 + strength) / 1.5
    blocks = max(1, round(base.device.sm_count * share))
    faster = 1000 / base.ms * (1 + min(0.7, strength))  # frames per second, more than one worker carries
    return Injected({"option.blocks": blocks}, {"workers": 4}, faster=faster)


def _serialised(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    workers = int(rng.integers(2, 5))
    blocks = max(1, round(base.device.sm_count / (1 + strength) / 1.2))
    on = {"workers": workers, "stream": "shared", "option.blocks": blocks}
    return Injected(on, {"stream": "own"}, closed=2 * workers)


def _host_stage(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    name, hook = ("prepare-hook", FRAME_HOOK) if rng.random() < 0.5 else ("finish", FINISH_HOOK)
    return Injected({name: hook}, {name: None}, hook_ns=round(base.ms * (0.4 + strength) * 1e6))


def _fallen_back(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    share = 0.05 + 0.1 * strength
    arithmetic = base.settings["option.gflops"] * share / (base.ms * strength / 1000)
    return Injected({"option.fallback_share": share, "option.cpu_gflops": arithmetic}, {"option.fallback_share": 0})


def _own_queue(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    in_flight = 4 + round(6 * strength * rng.uniform(0.5, 2.0))
    return Injected({"workers": 1}, {"concurrency": 2}, closed=in_flight)


def _unfilled_batches(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    waits = {"batch": int(rng.choice([4, 8])), "window-ms": round(base.ms * strength, 2)}
    return Injected(waits, {"batch": 1, "window-ms": 0})


def _crowded(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    return Injected({"finish": CROWDED_HOOK}, {"finish": None}, hook_ns=round(base.ms * (1 + 2 * strength) * 1e6))


def _stalling_sink(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    return Injected({"finish": SINK_HOOK}, {"finish": None}, hook_ns=round(base.ms * (1 + 2 * strength) * 1e6))


def _shapes(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    return Injected({"option.shapes_us": 1000 * base.ms * strength}, {"option.shapes_us": 0})


def _new_sizes(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    on = {"batch": 8, "option.new_size_ms": 10 * base.ms * (1 + strength)}
    return Injected(on, {"option.new_size_ms": 0}, random=0.8 * 1000 / base.ms)


def _throttled(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    return Injected({"wait": "spin"}, {"wait": "sleep"}, quota=float(0.8 / (1 + strength)))


def _pages(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    on = {"option.page_share": 0.15, "option.page_ms": base.ms * (1 + 2 * strength)}
    return Injected(on, {"option.page_share": 0.0})


def _bursts(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    """A frame alone fills an eighth of the device, so that a batch of eight takes as long, which is `base.ms`."""
    size = 3 + round(8 * strength)
    blocks = max(1, base.device.sm_count // 8)
    alone = base.settings["option.gflops"] * blocks / base.device.sm_count
    return Injected({"option.blocks": blocks, "option.gflops": alone}, {"batch": min(8, size)}, burst=size)


def _high_precision(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    """Inference alone takes longer than the frame period."""
    times = 1000 / base.fps / base.ms * (1.05 + strength)
    on = {"option.gflops": times * base.settings["option.gflops"]}
    return Injected(on, {"precision": "fp16"})


def _large_batch(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    """Batches back to back, each of which takes 0.62 to 0.92 of the budget."""
    size = int(rng.choice([4, 8]))
    budget_ms = size * base.ms / (0.52 + strength / 3)
    return Injected({"batch": size}, {"batch": size // 2}, closed=1, p99_ms=round(budget_ms, 3))


def _uneven_batch(base: Base, strength: float, rng: np.random.Generator) -> Injected:
    """Products of 9 or 17 rows are padded to 16 or 24, and reach 0.7 of the peak."""
    batch = int(rng.choice([9, 17]))
    padded = (batch + 7) / batch / 0.7
    on = {
        "batch": batch,
        "precision": "fp16",
        "transfer": "device",
        "option.gflops": base.ms * base.device.fp16_tflops * 0.5,
        "option.fp16_multiple": 8,
        "option.uneven_share": 0.7,
        "option.product_share": min(1.0, strength / (padded - 1)),
    }
    return Injected(on, {"batch": batch - 1}, closed=2)


Injection = Callable[[Base, float, np.random.Generator], Injected]
CAUSES: dict[str, Injection] = {
    "FP001": _clocks,
    "FP002": _sleeping,
    "FP003": _cold,
    "FP004": _power,
    "FP005": _launches,
    "FP006": _copies,
    "FP007": _memory,
    "FP008": _compute,
    "FP009": _under_filled,
    "FP010": _serialised,
    "FP011": _host_stage,
    "FP016": _fallen_back,
    "FP017": _crowded,
    "FP018": _own_queue,
    "FP019": _unfilled_batches,
    "FP023": _shapes,
    "FP024": _stalling_sink,
    "FP025": _new_sizes,
    "FP027": _throttled,
    "FP018 bursts": _bursts,
    "FP028": _high_precision,
    "FP029": _large_batch,
    "FP030": _uneven_batch,
    "FP026": _pages,  # at the end, so that the others are drawn as before
}
