"""Another tool's number: every step is what was put in, and the steps add up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.expect import COUNTS, Counts, columns, expected
from framepace.facts.finding import Expectation
from framepace.facts.trace import Trace
from framepace.testing import make_trace

US = 1_000
MS = 1_000_000
FRAMES = 60
AROUND = {"backlog": 0.4, "wake-up": 0.3, "decode": 2.0, "queue": 0.6, "prepare": 1.0, "finish": 0.2}


def gpu(h2d: float, compute: float, d2h: float, host: float = 0.0, clock: int = 1500, **stages: float) -> Trace:
    """Frames whose inference is these parts (ms), half of `host` before the device's and half after, after `stages`."""
    stages = {name.replace("_", "-"): ms for name, ms in stages.items()}
    spent = {name: np.full(FRAMES, round(ms * MS)) for name, ms in stages.items()}
    trace = make_trace(stages=spent | {"infer": np.full(FRAMES, round((h2d + compute + d2h + host) * MS))})
    at = {name: round(ms * MS) for name, ms in (("h2d", h2d), ("compute", compute), ("d2h", d2h))}
    begin = trace.requests["started"] + round(host / 2 * MS)
    given = {
        "h2d_at": begin if h2d else np.full(FRAMES, -1),
        "compute_at": begin + at["h2d"],
        "d2h_at": begin + at["h2d"] + at["compute"] if d2h else np.full(FRAMES, -1),
        "sm_clock_before": np.full(FRAMES, clock),
    }
    return Trace(trace.meta, {**trace.requests, **{k: np.full(FRAMES, v) for k, v in at.items()}, **given}, {})


def runs(**more: Trace) -> dict[str, Trace]:
    """A known case: 2 ms of kernels back to back, 3 ms after a gap, 3.5 ms in the stream; copies of 0.7 ms."""
    stages = {name.replace("-", "_"): ms for name, ms in AROUND.items()}
    return {
        "gapless": gpu(0.5, 2.0, 0.2, 0.4),
        "model": gpu(0.5, 3.0, 0.2, 0.6, clock=600),
        "stream": gpu(0.5, 3.5, 0.2, 0.6, clock=600, **stages),
        **more,
    }


def parts(found: Expectation) -> dict[str, float]:
    """The steps in ms."""
    return {part.name: part.ns / MS for part in found.parts}


STREAM = {**AROUND, "beside the pipeline": 0.5, "unexplained": 0.0}


@pytest.mark.parametrize(
    ("counts", "reproduced", "steps"),
    [
        ("compute", 2.0, {"gaps between frames": 1.0, "transfers": 0.7, "launch": 0.3, "host wake-up": 0.3}),
        ("device", 2.7, {"gaps between frames": 1.0, "launch": 0.3, "host wake-up": 0.3}),
        ("call", 3.1, {"gaps between frames": 1.2}),
        ("sent", 3.1, {"gaps between frames": 1.2}),
    ],
)
def test_each_number_leaves_out_what_it_does_not_count(
    counts: Counts, reproduced: float, steps: dict[str, float]
) -> None:
    """The same runs, four definitions: what one counts is no step of it, what it does not is one of its size."""
    found = expected("tool", counts, 5 * MS, runs(), {})
    assert found.reproduced == pytest.approx(reproduced * MS)
    assert found.seen == pytest.approx(9.3 * MS)
    assert parts(found) == pytest.approx({"another set-up": reproduced - 5, **steps, **STREAM}, abs=1e-6)


def test_kinds_tell_what_is_real() -> None:
    """Other settings and another set-up are real, other load is load, stages are left out."""
    more = {"tool": gpu(0.0, 1.5, 0.0, 0.1), "ahead": gpu(0.5, 1.8, 0.2, 0.1)}
    found = expected("tool", "compute", 1 * MS, runs(**more), {"settings": "graph=on there", "load": "2 in flight"})
    kinds = {part.name: (part.kind, round(part.ns / MS, 6), part.how) for part in found.parts}
    assert kinds["another set-up"][:2] == ("real", 0.5)
    assert kinds["its settings"] == ("real", 0.3, "graph=on there")
    assert kinds["its load"] == ("load", 0.2, "2 in flight")
    assert kinds["gaps between frames"][:2] == ("load", 1.0)
    assert {part.kind for part in found.parts if part.name in AROUND} == {"left out"}


def test_a_queue_of_the_tool_counts_from_the_send() -> None:
    """With more requests in flight than workers, what waits after the send is in the number."""
    queued = gpu(0.5, 2.0, 0.2, 0.4, backlog=3.1)
    assert expected("t", "sent", MS, runs(ahead=queued), {}).reproduced == pytest.approx(6.2 * MS)
    assert expected("t", "call", MS, runs(ahead=queued), {}).reproduced == pytest.approx(3.1 * MS)


def test_steps_have_intervals_that_hold_them() -> None:
    """Noise of 5 % in every run: each measured step lies in its interval, the first one too, and the rest has none."""
    rng = np.random.default_rng(0)

    def noisy(ms: float, **stages: float) -> Trace:
        return make_trace(stages={k: v * MS * rng.normal(1, 0.05, 400) for k, v in (stages | {"infer": ms}).items()})

    traces = {"gapless": noisy(2), "model": noisy(3), "stream": noisy(3.5, decode=2)}
    *steps, rest = expected("tool", "call", 1.9 * MS, traces, {}).parts
    assert rest.interval is None
    for step in steps:
        assert step.interval is not None
        assert step.interval[0] < step.ns < step.interval[1]


def test_the_clocks_beside_the_gaps_are_told() -> None:
    """The step that the gaps make says from which SM clock to which."""
    found = expected("tool", "device", 5 * MS, runs(), {})
    assert "SM clock 1,500 to 600 MHz" in next(p.how for p in found.parts if p.name == "gaps between frames")


def test_a_number_that_is_reproduced_is_said_to_be() -> None:
    """Within 5 % nothing is said of another clock; beyond, it is."""
    near, far = (expected("tool", "device", ms * MS, runs(), {}).parts[0].how for ms in (2.8, 4.0))
    assert near == "its number is 2.70 ms here"
    assert far.startswith("its number is 2.70 ms here: another")


def test_without_device_times_the_whole_call_is_the_kernels() -> None:
    """On the CPU nothing can be told apart: no launch, no copies, and the sum is right."""
    spent = {name: np.full(FRAMES, round(ms * MS)) for name, ms in AROUND.items()}
    traces = {
        name: make_trace(stages={"infer": np.full(FRAMES, ms * MS)}) for name, ms in (("gapless", 2), ("model", 3))
    }
    traces["stream"] = make_trace(stages=spent | {"infer": np.full(FRAMES, 3 * MS)})
    found = expected("tool", "compute", 2 * MS, traces, {})
    assert parts(found) == pytest.approx({"gaps between frames": 1.0, **AROUND, "unexplained": 0.0})


@given(
    counts=st.sampled_from(sorted(COUNTS)),
    said=st.floats(1.0, 1e9),
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 40),
)
def test_the_steps_always_add_up(counts: Counts, said: float, seed: int, frames: int) -> None:
    """Whatever the traces hold, the number that was said and its steps are the median of the stream."""
    rng = np.random.default_rng(seed)

    def some(scale: float) -> Trace:
        stages = {name: rng.integers(0, MS, frames) for name in AROUND}
        return make_trace(stages=stages | {"infer": rng.integers(US, round(scale * MS), frames)})

    found = expected("t", counts, said, {"gapless": some(2), "model": some(3), "stream": (stream := some(4))}, {})
    assert found.said + sum(part.ns for part in found.parts) == pytest.approx(found.seen, abs=1e-3)
    assert found.seen == np.median(stream.latency)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_parts_of_an_inference_add_up_though_clocks_disagree(seed: int) -> None:
    """Device stamps off by up to 50 us, or missing: the parts are still the whole inference."""
    rng = np.random.default_rng(seed)
    trace = gpu(0.5, 2.0, 0.2, 0.05)
    moved: dict[str, Any] = dict(trace.requests)
    for name in ("h2d_at", "compute_at", "d2h_at"):
        shifted = moved[name] + rng.integers(-50 * US, 50 * US, FRAMES)
        moved[name] = np.where(rng.random(FRAMES) < 0.1, -1, shifted)
    found = columns(Trace(trace.meta, moved, {}))
    total = sum(found[name] for name in ("compute", "transfers", "launch", "host wake-up"))
    assert np.array_equal(total, found["infer"])
    assert (found["host wake-up"] >= 0).all()


def test_nothing_measured_is_zeros() -> None:
    """Empty traces: no step but what nobody can explain."""
    empty = make_trace([])
    found = expected("tool", "call", 0.0, dict.fromkeys(("gapless", "model", "stream"), empty), {})
    assert (found.seen, [part.name for part in found.parts]) == (0.0, ["unexplained"])
