"""Labelled cases for bench/explain.py: a simulated device with known causes switched on, drawn from a seed.

Every case starts from a device with all effects off. A cause (explain_causes.py) is a set of parameters that costs
about `strength` times the inference, and what it is really worth is found by running the same case without them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np
from explain_causes import CAUSES, Base, Injected, Settings

from framepace.api import make_case
from framepace.facts.settings import Case, apply
from framepace.facts.workload import Burst, Closed, Load, Poisson
from framepace.simulate.presets import preset

STRENGTHS = (0.3, 0.6, 1.2)
NOISES: tuple[Settings, ...] = (
    {"option.jitter": 0.01},
    {"option.jitter": 0.04, "option.stall_share": 0.002},
    {"option.jitter": 0.1, "option.stall_share": 0.01},
)
QUIET: Settings = {"option.jitter": 0.0, "option.stall_share": 0.0}
# All that could slow an inference down beside its arithmetic, switched off.
_OFF: Settings = {
    f"option.{name}": value
    for name, value in {
        "idle_delay_ms": 0, "load_share": 0, "load_hold_ms": 0, "load_fall_ms": 0,
        "power_limit_w": 0, "thermal_limit_c": 0, "wake_us": 0, "asleep_us": 0,
        "asleep_factor": 0, "cold_us": 0, "evict_us": 0, "launch_us": 0.3, "kernel_us": 0.5, "block_us": 5,
        "pinned_gb_s": 50, "pageable_gb_s": 50,
    }.items()
}  # fmt: skip
Measure = Literal["median", "interval", "tail", "inference"]


@dataclass(frozen=True)
class Labelled:
    """A case with its causes: code -> settings that take it away, and what their worth is measured by.

    `tail` is the cause of the slowest frames where that is another than the typical frame's.
    """

    name: str
    case: Case
    causes: dict[str, Settings]
    hook_ns: int = 0
    noise: int = 0
    measure: Measure = "median"
    about: Settings = field(default_factory=dict)
    quota: float | None = None
    tail: str | None = None


_MEASURES: dict[str, Measure] = {
    "FP009": "interval", "FP010": "interval", "FP028": "inference", "FP030": "interval"
}  # fmt: skip
_MEASURES |= dict.fromkeys(("FP017", "FP024", "FP025", "FP026", "FP027"), "tail")
# The typical frame has one of these, the slowest frames one of those.
_TYPICAL = ("FP001", "FP002", "FP003", "FP006", "FP023")
_TAILS = ("FP017", "FP024")
# Causes that can be there at the same time, each worth the same as alone.
_PAIRED = ("FP001", "FP002", "FP003", "FP006", "FP011")


def draw(seed: int) -> Iterator[Labelled]:
    """Every cause at three strengths and three noise levels, pairs of causes, and healthy controls."""
    for place, code in enumerate(CAUSES):
        for strength in STRENGTHS:
            for noise in range(len(NOISES)):
                rng = np.random.default_rng([seed, 1, place, round(10 * strength), noise])
                make = _compute_case if code == "FP008" else _single
                yield make(code, strength, noise, rng)
    pairs = [(a, b) for i, a in enumerate(_PAIRED) for b in _PAIRED[i + 1 :]]
    for place, pair in enumerate(pairs):
        for number in range(5):
            yield _pair(pair, number % len(NOISES), np.random.default_rng([seed, 2, place, number]))
    for place, (typical, tail) in enumerate(product(_TYPICAL, _TAILS)):
        for number in range(3):
            yield _with_tail(typical, tail, number, np.random.default_rng([seed, 4, place, number]))
    for number in range(60):
        yield _healthy(number % len(NOISES), np.random.default_rng([seed, 3, number]))


def _base(rng: np.random.Generator, room: float) -> Base:
    """A network whose inference fills 1 / `room` of the frame period at most."""
    name = str(rng.choice(["t4", "xavier", "a100", "h100", "h200"]))
    device = preset(name)
    fps = float(rng.choice([10, 15, 25, 30, 60]))
    ms = float(1000 / fps / room * rng.uniform(0.7, 1.0))
    settings: Settings = {
        "backend": "simulated", "spinning": bool(rng.random() < 0.3), "option.device": name, **_OFF,
        "option.gflops": ms * device.fp32_tflops * 0.5, "option.efficiency": 0.5, "option.blocks": device.sm_count,
        "option.kernels": int(rng.integers(20, 120)), "option.mbytes": 0.1 * ms * device.dram_gb_s,
        "option.weights_mb": 0.05 * ms * device.dram_gb_s, "option.base_mhz": device.boost_mhz,
        "option.seed": int(rng.integers(1 << 30)),
    }  # fmt: skip
    return Base(device, settings, ms, fps)


def _noise(base: Base, level: int) -> Settings:
    return {**NOISES[level], "option.stall_ms": 3 * base.ms}


def _case(base: Base, settings: Settings, made: Injected) -> Case:
    load: Load | None = None
    if made.closed is not None:
        load = Closed(concurrency=made.closed)
    if made.burst is not None:
        load = Burst(fps=base.fps, size=made.burst)
    if made.random is not None:
        load = Poisson(fps=made.random)
    rate = None if load is not None else made.faster or base.fps
    return make_case("null", fps=rate, load=load, p99_ms=made.p99_ms, settings=settings)


def _single(code: str, strength: float, noise: int, rng: np.random.Generator) -> Labelled:
    base = _base(rng, room=3.2 * (1 + strength))
    made = CAUSES[code](base, strength, rng)
    case = _case(base, {**base.settings, **_noise(base, noise), **made.on}, made)
    about = {"strength": strength, "ms": base.ms}
    measure = _MEASURES.get(code, "median")
    causes = {code.split()[0]: made.off}
    return Labelled(f"{code} {strength:g}", case, causes, made.hook_ns, noise, measure, about, made.quota)


def _compute_case(code: str, strength: float, noise: int, rng: np.random.Generator) -> Labelled:
    """A real network's arithmetic on a device so slow that it takes 0.6, 0.8 or 1.3 of the frame period."""
    base = _base(rng, room=4.0)
    name = str(rng.choice(["builtin:resnet50@1280x704", "builtin:detector@1920x1088"]))
    share = {0.3: 0.6, 0.6: 0.8, 1.2: 1.3}[strength]
    own = ("option.gflops", "option.blocks", "option.kernels", "option.mbytes", "option.weights_mb")
    settings = {k: v for k, v in base.settings.items() if k not in own}
    gflops, blocks = _asks(name)
    waves = -(-blocks // base.device.sm_count) * base.device.sm_count / blocks
    tflops = gflops * waves / 0.5 / (share / base.fps) / 1000
    speeds = {"option.fp32_tflops": tflops, "option.fp16_tflops": 4 * tflops, "option.dram_gb_s": 8000.0}
    case = make_case(name, fps=base.fps, settings={**settings, **speeds, **_noise(base, noise)})
    return Labelled(
        f"{code} {strength:g}",
        case,
        {code: {"option.fp32_tflops": 1000.0}},
        0,
        noise,
        "interval" if share > 1 else "median",
    )


def _asks(name: str) -> tuple[float, float]:
    from framepace.models.spec import inspect
    from framepace.simulate.network import estimate

    shapes = {t.name: tuple(1 if not isinstance(d, int) else d for d in t.shape) for t in inspect(name).inputs}
    found = estimate(name, shapes)
    return found.gflops, found.blocks


def _pair(codes: tuple[str, str], noise: int, rng: np.random.Generator) -> Labelled:
    """Two causes, one worth at least twice the other."""
    large, small = rng.permutation(codes)
    strengths = {str(large): float(rng.uniform(0.7, 1.2)), str(small): float(rng.uniform(0.15, 0.35))}
    base = _base(rng, room=3.2 * (1 + sum(strengths.values())))
    settings, causes, hook_ns = {**base.settings, **_noise(base, noise)}, dict[str, Settings](), 0
    for code, strength in strengths.items():
        made = CAUSES[code](base, strength, rng)
        settings |= made.on
        causes[code] = made.off
        hook_ns = max(hook_ns, made.hook_ns)
    name = " + ".join(f"{code} {strength:.2f}" for code, strength in sorted(strengths.items()))
    return Labelled(name, _case(base, settings, Injected({}, {})), causes, hook_ns, noise, about={"ms": base.ms})


def _with_tail(typical: str, tail: str, noise: int, rng: np.random.Generator) -> Labelled:
    """One cause in every frame, and one in a few."""
    base = _base(rng, room=8.0)
    usual = CAUSES[typical](base, float(rng.uniform(0.7, 1.2)), rng)
    rare = CAUSES[tail](base, float(rng.uniform(0.7, 1.2)), rng)
    case = _case(base, {**base.settings, **_noise(base, noise), **usual.on, **rare.on}, usual)
    causes = {typical: usual.off}
    about = {"ms": base.ms}
    return Labelled(f"{typical} tail {tail}", case, causes, rare.hook_ns, noise, about=about, tail=tail)


def _healthy(noise: int, rng: np.random.Generator) -> Labelled:
    """Nothing wrong, or effects of one hundredth of the inference."""
    base = _base(rng, room=4.0)
    settings = {**base.settings, **_noise(base, noise), "workers": int(rng.integers(1, 3))}
    if rng.random() < 0.5:
        settings |= {"option.wake_us": 10 * base.ms, "option.cold_us": 5 * base.ms, "option.launch_us": 0.5}
    closed = 1 if rng.random() < 0.2 else None
    case = _case(base, settings, Injected({}, {}, closed=closed))
    return Labelled("healthy", case, {}, 0, noise, about={"ms": base.ms})


def without(labelled: Labelled, *codes: str) -> Case:
    """The case with the causes `codes` away, and no noise."""
    away = [labelled.causes[code] for code in codes]
    return apply(labelled.case, {**QUIET, **{name: value for settings in away for name, value in settings.items()}})
