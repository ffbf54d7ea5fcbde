"""The simulated device: closed forms, copies, workers that share it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.clock.virtual import VirtualClock
from framepace.errors import UsageError
from framepace.facts.plan import Batching, Prepare
from framepace.facts.smshare import sm_count
from framepace.simulate.demand import demand
from framepace.simulate.parameters import DeviceModel, NetworkModel
from tests.doubles.simulation import MS, ONE_MS, US, alone, infer, load, primed, together

# --- closed forms: with everything off, times are exact ---------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 50), st.integers(1, 500), st.sampled_from([0.001, 3.0, 40.0]))
def test_latency_is_launch_and_kernel_exactly(launch_us: int, gflops: int, tick_ms: float) -> None:
    """One kernel, all effects off: launch + arithmetic to the nanosecond, whatever the governor's tick."""
    latency = alone({**ONE_MS, "launch_us": launch_us, "gflops": gflops / 10, "tick_ms": max(tick_ms, 0.5)})
    assert latency == launch_us * US + gflops * 20 * US


def test_many_kernels_end_with_the_last_launch_or_with_the_work() -> None:
    """n kernels: launch + the longer of the work and (n - 1) launches + the last kernel; a graph is one launch."""
    many = {**ONE_MS, "kernels": 100}
    assert alone({**many, "launch_us": 5}) == 5 * US + MS
    assert alone({**many, "launch_us": 20}) == 20 * US + 99 * 20 * US + MS // 100
    assert alone({**many, "launch_us": 20, "graph_us": 7}, graph=True) == 7 * US + MS
    assert alone({**many, "kernel_us": 30}, graph=True) == 100 * 30 * US


def test_enqueue_takes_the_launches_and_the_rest_is_waited_for() -> None:
    """The call returns after 40 launches of 3 us; the device began after the first."""
    clock = VirtualClock()
    worker = primed(load({**ONE_MS, "kernels": 40, "launch_us": 3}, clock))
    worker.enqueue(0, 1)
    assert clock.now() == 120 * US
    worker.wait(0)
    times = worker.times(0)
    assert times is not None
    assert (times.compute_at, times.compute) == (3 * US, MS)
    assert (times.h2d, times.h2d_at, times.d2h_at) == (0, -1, -1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 64))
def test_batches_run_in_whole_waves_over_the_sms(blocks: int, batch: int) -> None:
    """b * blocks over 100 SMs: whole waves, each as long as one block, so nothing is free and nothing is twice paid."""
    found = demand(DeviceModel(), NetworkModel(**{**_network(), "blocks": blocks}), "fp32", batch)
    waves = -(-batch * blocks // 100)
    assert found.compute == pytest.approx(waves * MS * 100 / blocks)
    assert found.filled == pytest.approx(batch * blocks / (waves * 100))


def _network() -> dict[str, Any]:
    return {key: value for key, value in ONE_MS.items() if key != "device"}


def test_a_batch_costs_nothing_more_until_the_first_wave_is_full() -> None:
    """20 blocks an item: batches 1 to 5 take the same, 6 to 10 twice that."""
    small = {**ONE_MS, "blocks": 20}
    costs = [alone(small, count, batch=Batching(max=16)) for count in (1, 5, 6, 10, 11)]
    assert costs == [5 * MS, 5 * MS, 10 * MS, 10 * MS, 15 * MS]


def test_memory_bound_work_follows_bytes_and_not_the_clock() -> None:
    """80 MB at 800 GB/s take 100 us at any clock, half in fp16; weights are read once a batch."""
    moved = {**ONE_MS, "gflops": 0.001, "mbytes": 60, "weights_mb": 20, "dram_efficiency": 0.8}
    assert alone(moved) == 100 * US
    assert alone({**moved, "boost_mhz": 2000, "idle_mhz": 500}) == 100 * US
    assert alone(moved, precision="fp16") == 50 * US
    assert alone(moved, precision="int8") == 25 * US
    assert alone(moved, 3, batch=Batching(max=4)) == 250 * US


def test_precision_raises_the_arithmetic_by_the_device_s_table() -> None:
    """fp16 is 8 and int8 16 times fp32 on the ideal device; what a device lacks is refused with what it has."""
    assert alone(ONE_MS, precision="fp16") == MS // 8
    assert alone(ONE_MS, precision="int8") == MS // 16
    with pytest.raises(UsageError, match="fp32, fp16, int8"):
        load({"device": "t4"}, precision="bf16")


# --- copies -----------------------------------------------------------------------------------------------------------


def test_copies_take_latency_and_bytes_and_none_when_resident() -> None:
    """49,152 bytes in and 4 out: pinned at 10 GB/s, pageable at 5 GB/s, each copy 2 us on top; none on the device."""
    options = {**ONE_MS, "copy_us": 2}
    assert alone(options, transfer="pinned") == MS + 2 * 2 * US + round(49152 / 10)
    assert alone(options, transfer="pageable") == MS + 2 * 2 * US + round(49152 / 5) + 1
    assert alone(options, transfer="device") == MS


def test_bytes_folded_into_the_graph_are_a_quarter_of_the_input() -> None:
    """A uint8 image in place of float32: a quarter of the time of its copy; the staging is uint8."""
    clock = VirtualClock()
    folded = load(ONE_MS, clock, transfer="pinned", prepare=Prepare(place="graph"))
    whole = load(ONE_MS, clock, transfer="pinned")
    copies = []
    for session in (folded, whole):
        worker = primed(session)
        infer(worker, clock)
        times = worker.times(0)
        assert times is not None
        copies.append(times.h2d)
    assert copies == [round(12288 / 10), round(49152 / 10)]
    assert folded.resolved.image is not None
    assert folded.resolved.image.dtype == folded.worker().staging(0)["x"].dtype.name == "uint8"


def test_slots_overlap_copies_with_kernels_and_pageable_memory_does_not() -> None:
    """Two requests in flight: the second's copy runs beside the first's kernels; a pageable copy holds up the host."""

    def pair(transfer: str) -> tuple[int, int]:
        clock = VirtualClock()
        worker = primed(load({**ONE_MS, "pinned_gb_s": 0.04915, "pageable_gb_s": 0.04915}, clock, transfer=transfer))
        for slot in (0, 1):
            worker.enqueue(slot, 1)
        for slot in (0, 1):
            worker.wait(slot)
        first, second = worker.times(0), worker.times(1)
        assert first is not None
        assert second is not None
        return clock.now(), second.h2d_at - first.compute_at

    pinned, pageable = pair("pinned"), pair("pageable")
    assert pinned[0] == pytest.approx(3 * MS, rel=0.01)
    assert pageable[0] == pytest.approx(4 * MS, rel=0.01)
    assert pinned[1] <= 0 < pageable[1]


def test_each_copy_engine_serves_one_copy_at_a_time() -> None:
    """Two workers' uploads of 1 ms each come one after the other, whatever room the SMs have."""
    clock = VirtualClock()
    options = {**ONE_MS, "gflops": 0.0001, "pinned_gb_s": 0.049152}
    session = load(options, clock, transfer="pinned")
    latencies = together([session, session], clock, requests=1)
    assert latencies[0] == pytest.approx(MS, rel=0.01)
    assert latencies[1] == pytest.approx(2 * MS, rel=0.01)


# --- several workers --------------------------------------------------------------------------------------------------


def test_workers_that_leave_sms_free_overlap_and_full_ones_share() -> None:
    """Two of half a wave run as if alone; two of a full wave take twice as long."""
    for blocks, factor in ((50, 1), (100, 2)):
        clock = VirtualClock()
        options = {**ONE_MS, "blocks": blocks, "gflops": blocks / 20}
        session = load(options, clock)
        assert together([session, session], clock) == [factor * MS] * 20


def test_a_shared_stream_makes_workers_wait_however_much_room_there_is() -> None:
    """Half-wave work on one stream: two workers take turns, by the plan's setting or the device's parameter."""
    half = {**ONE_MS, "blocks": 50, "gflops": 2.5}
    for options, fields in (({**half, "serialise": True}, {}), (half, {"stream": "shared"})):
        clock = VirtualClock()
        session = load(options, clock, **fields)
        latencies = together([session, session], clock)
        assert latencies[0] == MS
        assert set(latencies[1:10]) == {2 * MS}


@pytest.mark.parametrize(("stream", "kernels"), [("own", [MS, MS]), ("slot", [0, MS])])
def test_with_a_stream_per_slot_kernels_of_half_a_wave_run_at_once(stream: str, kernels: list[int]) -> None:
    """Those of two requests of a worker: the second ones begin with the first, else when the first have ended."""
    clock = VirtualClock()
    worker = primed(load({**ONE_MS, "blocks": 50, "gflops": 2.5}, clock, stream=stream, transfer="device"))
    for slot in (0, 1):
        worker.enqueue(slot, 1)
    for slot in (0, 1):
        worker.wait(slot)
    first, second = worker.times(0), worker.times(1)
    assert first is not None
    assert second is not None
    launch = second.compute_at - first.compute_at
    assert [launch - launch % MS, second.compute] == kernels


def test_memory_bandwidth_is_shared_by_those_that_need_it() -> None:
    """Two memory-bound requests take twice as long each; one beside a compute-bound one is not slowed."""
    clock = VirtualClock()
    bytes_bound = load({**ONE_MS, "gflops": 0.0001, "mbytes": 800}, clock)
    assert together([bytes_bound, bytes_bound], clock, requests=3) == [2 * MS] * 6
    clock = VirtualClock()
    mixed = [load({**ONE_MS, "gflops": 0.0001, "mbytes": 800}, clock), load(ONE_MS, clock)]
    assert max(together(mixed, clock, requests=3)) == pytest.approx(MS, rel=0.001)


def test_partitions_of_the_sms_keep_workers_apart() -> None:
    """A full wave on 50 of 100 SMs takes twice as long, and two workers on a half each do not disturb each other."""
    clock = VirtualClock()
    session = load(ONE_MS, clock, sms=50)
    assert infer(primed(session), clock) == 2 * MS
    assert together([session, session], clock) == [2 * MS] * 20
    with pytest.raises(UsageError, match="fewer SMs"):
        load(ONE_MS, sms=101)


PRODUCTS = {"product_share": 1.0, "fp16_multiple": 8, "int8_multiple": 16}


def one_wave(count: int, precision: str, **options: float) -> int:
    """The time of a batch whose blocks fill the device once."""
    return alone({**ONE_MS, "blocks": 100 / count, **options}, count, precision=precision)


def test_products_are_padded_to_the_rows_that_tensor_cores_take() -> None:
    """9 frames take as long as 16, twice that where other sizes run at half the rate; 8 and 16 take what they took."""
    assert one_wave(9, "fp16", **PRODUCTS) == pytest.approx(one_wave(16, "fp16"), rel=1e-6)
    assert one_wave(9, "fp16", **PRODUCTS, uneven_share=0.5) == pytest.approx(2 * one_wave(16, "fp16"), rel=1e-6)
    for count, precision in ((8, "fp16"), (16, "int8"), (1, "fp16"), (9, "fp32")):
        assert one_wave(count, precision, **PRODUCTS) == one_wave(count, precision)


def test_half_of_the_sms_is_said_as_a_share() -> None:
    """'50%' is 50 of 100; on a device with an odd number the share is rounded down, to one at least."""
    clock = VirtualClock()
    assert infer(primed(load(ONE_MS, clock, sms="50%")), clock) == 2 * MS
    assert [sm_count(share, 7) for share in ("100%", "50%", "1%", 3, None)] == [7, 3, 1, 3, None]
    assert [sm_count(share, 132, 8) for share in ("50%", "1%", "100%")] == [64, 8, 128]


def test_workers_that_share_a_partition_share_its_sms() -> None:
    """Three workers on two partitions: the first and the third have one between them."""
    clock = VirtualClock()
    session = load(ONE_MS, clock, sms=50)
    latencies = together([session] * 3, clock)
    assert latencies[10:20] == [2 * MS] * 10
    assert latencies[:10] == latencies[20:] == [4 * MS] * 10


def test_a_late_comer_slows_what_is_left_of_a_request() -> None:
    """A second full request 0.5 ms after the first: half of the first is done, the other half takes twice its time."""
    clock = VirtualClock()
    session = load(ONE_MS, clock)
    workers = [primed(session, index) for index in range(2)]
    ends = [0, 0]

    def body(index: int) -> None:
        with clock.joined(index, 2):
            clock.sleep_until(index * MS // 2)
            infer(workers[index], clock)
            ends[index] = clock.now()

    threads = [threading.Thread(target=body, args=(index,), daemon=True) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert ends == [1_500_000, 2_000_000]
