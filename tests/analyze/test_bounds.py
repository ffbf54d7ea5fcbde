"""The roofline's arithmetic: closed forms, order, fusion, calibrations, and the time that is compared."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framepace.analyze.bounds import bandwidth, bound, fused, highest, inference_ns, node_times
from framepace.facts.bounds import Ceilings, ModelWork, NodeWork
from framepace.facts.model import Layer
from framepace.testing import make_trace
from framepace.units import NS_PER_US

# 1 TFLOP/s in fp32 and 4 in fp16, 100 GB/s and 400 of what is under 10 MB, 1 us a kernel.
CEILINGS = Ceilings(
    backend="b", device="cuda", peaks={"fp32": 1e12, "fp16": 4e12}, bandwidth=((1_000, 4e11), (10_000_000, 1e11)),
    launch=1000.0,
)  # fmt: skip


def node(name: str, flops: float = 0.0, reads: Any = (), writes: Any = (), **fields: Any) -> NodeWork:
    """A node in fp32."""
    return NodeWork(
        **{"name": name, "kind": "Conv", "precision": "fp32"} | fields, flops=flops, reads=reads, writes=writes
    )


def work(*nodes: NodeWork) -> ModelWork:
    """A model of these nodes."""
    return ModelWork(model="m", precision="fp32", batch=1, nodes=nodes)


CHAIN = work(
    node("a", 2e9, (("x", 4_000_000),), (("t", 4_000_000),), weights=(("w", 1_000_000),)),
    node("add", 0.0, (("t", 4_000_000), ("x", 4_000_000)), (("u", 4_000_000),), kind="Add"),
    node("b", 1e9, (("u", 4_000_000),), (("y", 4_000_000),)),
)

positive = st.floats(1e3, 1e15)
nodes = st.lists(
    st.builds(lambda f, r, w: node("n", f, (("r", r),), (("w", w),)), st.floats(0, 1e12), *[st.integers(1, 10**9)] * 2),
    min_size=1,
    max_size=5,
)


def test_the_floor_is_the_longest_resource() -> None:
    """3 GFLOP at 1 TFLOP/s take 3 ms; 9 and 8 MB at 400 GB/s and 12 MB at 100 GB/s 162.5 us; two products 2 us."""
    found = bound(CHAIN, CEILINGS, 6e6)
    assert (found.compute, found.memory, found.launches) == pytest.approx((3e6, 22_500 + 120_000 + 20_000, 2000))
    assert (found.floor, found.limit, found.times, found.peak_share) == (3e6, "compute", 2.0, 0.5)


@given(nodes, st.floats(1.01, 100))
def test_higher_ceilings_lower_the_floor_as_much(found: list[NodeWork], factor: float) -> None:
    """All ceilings k times higher: the floor k times lower, limited by the same."""
    better = Ceilings(
        backend="b", device="cuda", peaks={"fp32": 1e12 * factor}, launch=1000 / factor,
        bandwidth=tuple((size, speed * factor) for size, speed in CEILINGS.bandwidth),
    )  # fmt: skip
    before, after = bound(work(*found), CEILINGS, 1e6), bound(work(*found), better, 1e6)
    assert after.floor * factor == pytest.approx(before.floor)
    assert after.times == pytest.approx(before.times * factor)


@given(nodes)
def test_a_model_is_never_under_what_its_nodes_need_of_one_resource(found: list[NodeWork]) -> None:
    """The model's floor is at least each node's compute and memory time, and at most the sum of the nodes' floors."""
    times = [node_times(n, CEILINGS) for n in found]
    floor = bound(work(*found), CEILINGS, 1e6).floor
    assert all(floor >= t[resource] * 0.999 for t in times for resource in ("compute", "memory"))
    assert floor <= sum(max(t.values()) for t in times) * 1.001


@given(st.integers(1, 10**9), st.integers(1, 10**9), st.lists(positive, min_size=3, max_size=3))
def test_fewer_bytes_never_move_slower(a: int, b: int, speeds: list[float]) -> None:
    """Whatever a noisy calibration saw: a smaller kernel's bandwidth is at least a larger one's."""
    noisy = Ceilings(
        backend="b", device="cpu", peaks={"fp32": 1e12}, launch=1.0,
        bandwidth=tuple(zip((1000, 10**5, 10**7), speeds, strict=True)),
    )  # fmt: skip
    assert bandwidth(noisy, min(a, b)) >= bandwidth(noisy, max(a, b))


def test_precisions_count_at_their_own_peaks_and_unknown_ones_at_the_highest() -> None:
    """fp16 at 4 TFLOP/s; of int8 nothing is known, and 4 TFLOP/s keep the floor low."""
    half, eight = (node_times(node("n", 4e9, precision=p), CEILINGS)["compute"] for p in ("fp16", "int8"))
    assert half == eight == 1e6


def test_fusion_keeps_the_operations_and_what_leaves_the_layer() -> None:
    """conv + add: t stays inside; x is read once; u leaves, for b reads it."""
    both = fused(CHAIN, ["a", "add", "a relu that the file fuses"])
    assert both is not None
    assert (both.flops, dict(both.reads), dict(both.writes)) == (2e9, {"x": 4_000_000}, {"u": 4_000_000})
    assert dict(both.weights) == {"w": 1_000_000}
    everything = fused(CHAIN, ["a", "add", "b"])
    assert everything is not None
    assert (dict(everything.reads), dict(everything.writes)) == ({"x": 4_000_000}, {"y": 4_000_000})
    assert fused(CHAIN, ["reformat"]) is None


def test_layers_with_times_are_told_slowest_first() -> None:
    """A layer's floor is that of its nodes together; its share that of all layers' time, unknown ones too."""
    layers = (
        Layer(name="b", time=2e6, nodes=("b",)),
        Layer(name="a + add", time=5e6, nodes=("a", "add")),
        Layer(name="reformat", time=3e6),
    )
    first, second = bound(CHAIN, CEILINGS, 1e7, layers).hottest
    assert (first.name, first.measured, first.share, first.floor) == ("a + add", 5e6, 0.5, 2e6)
    assert (second.name, second.share, second.limit) == ("b", 0.2, "compute")


def test_without_times_the_highest_floors_are_told_first() -> None:
    """Shares are then of the floors' sum."""
    found = bound(CHAIN, CEILINGS, 1e7, (Layer(name="a"),)).hottest
    assert [n.name for n in found] == ["a", "b", "add"]
    assert sum(n.share for n in found) == pytest.approx(1)
    assert [n.measured for n in found] == [None] * 3


@given(positive, positive, positive, positive)
def test_of_two_calibrations_the_better_counts_in_everything(a: float, b: float, c: float, d: float) -> None:
    """A disturbed calibration only adds to what another one reached."""
    one, two = (
        Ceilings(backend="b", device="cpu", peaks={"fp32": p}, bandwidth=((8, s),), launch=1e6 / p)
        for p, s in ((a, b), (c, d))
    )
    found = highest(one, two)
    assert (found.peaks["fp32"], found.bandwidth, found.launch) == (max(a, c), ((8, max(b, d)),), 1e6 / max(a, c))
    assert highest(one, two) == highest(two, one)


def test_the_time_of_the_kernels_is_compared_where_the_device_tells_it() -> None:
    """Device times of 300 us in calls of 500 us; without them, the calls."""
    stages = {"infer": [500 * NS_PER_US] * 20}
    assert inference_ns(make_trace(stages=stages, columns={"compute": 300 * NS_PER_US}), "model") == 300 * NS_PER_US
    assert inference_ns(make_trace(stages=stages), "model") == 500 * NS_PER_US
    assert inference_ns(make_trace(stages=stages, columns={"outcome": 3}), "model") is None
