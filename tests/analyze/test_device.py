"""The summary of GPUs: medians, reasons, how copies and kernels shared the time, and what the host waited for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from framepace.analyze.device import device_summary, inferences, ordinal, overlap
from framepace.facts.device import DeviceSummary, reason_names
from framepace.facts.plan import ModelPlan
from framepace.facts.trace import Column, Mark, Outcome, Trace
from framepace.testing import make_meta, make_trace
from framepace.units import NS_PER_MS, NS_PER_S

START = NS_PER_S  # when made-up traces begin


def on_device(*rows: tuple[int, int, int, int, int, int]) -> dict[str, Column]:
    """Inferences by h2d_at, h2d, compute_at, compute, d2h_at, d2h."""
    names = ("h2d_at", "h2d", "compute_at", "compute", "d2h_at", "d2h")
    return dict(zip(names, np.array(rows, dtype=np.int64).reshape(-1, 6).T, strict=True))


def only(found: tuple[DeviceSummary, ...]) -> DeviceSummary:
    """The only device."""
    (device,) = found
    return device


def placed(trace: Trace, *devices: str | None) -> Trace:
    """The trace with its models on these devices."""
    plan = trace.meta.plan
    models = tuple(replace(m, device=d) for m, d in zip(plan.models, devices, strict=True))
    return Trace(replace(trace.meta, subject_plan=replace(plan, models=models)), trace.requests, trace.telemetry)


def frames(count: int, compute: int = 2 * NS_PER_MS, telemetry: dict[str, Any] | None = None, **columns: Any) -> Trace:
    """Frames every 10 ms, each copied in for 1 ms, computed and copied out for 1 ms, one after the other."""
    due = START + np.arange(count) * 10 * NS_PER_MS
    device: dict[str, Any] = {
        "batch_id": np.arange(count),
        "started": due,
        "h2d_at": due + NS_PER_MS,
        "h2d": NS_PER_MS,
        "compute_at": due + 2 * NS_PER_MS,
        "compute": compute,
        "d2h_at": due + 2 * NS_PER_MS + compute,
        "d2h": NS_PER_MS,
        "finished": due + 4 * NS_PER_MS + compute,
        "delivered": due + 5 * NS_PER_MS + compute,
    }
    return make_trace(np.full(count, 9 * NS_PER_MS), due=due, columns=device | columns, telemetry=telemetry)


def test_kernels_alone_have_no_company() -> None:
    """One after the other, copies of the same inference beside them: busy, and no overlap."""
    found = overlap(on_device((0, 2, 2, 5, 7, 1), (8, 2, 10, 5, 15, 1)))
    assert found == (10, 10, 0, 0, 0)


def test_copies_of_others_are_company() -> None:
    """The next one's copy in and the last one's copy out under a kernel of ten: five units of it are shared."""
    found = overlap(on_device((0, 1, 1, 10, 11, 2), (2, 3, 11, 4, 15, 1)))
    assert found.beside_copies == 3 + 2
    assert (found.beside_any, found.beside_kernels) == (5, 0)


def test_kernels_that_run_together_count_for_each() -> None:
    """Two kernels of ten, half over each other: ten of twenty units were shared, and the device was busy for 15."""
    assert overlap(on_device((-1, 0, 0, 10, -1, 0), (-1, 0, 5, 10, -1, 0))) == (15, 20, 10, 10, 0)


def test_touching_is_not_overlapping() -> None:
    """An interval ends where the next begins."""
    assert overlap(on_device((-1, 0, 0, 5, 5, 5), (0, 0, 5, 5, 10, 5))).beside_kernels == 0
    assert overlap(on_device((-1, 0, 0, 5, -1, 0), (5, 5, 10, 5, -1, 0))).beside_any == 0


def test_the_error_of_the_clock_makes_no_company() -> None:
    """An inference whose copies seem to reach into its own kernels (by their stamps) is still alone."""
    assert overlap(on_device((0, 12, 10, 10, 18, 5))) == (10, 10, 0, 0, 0)


def test_nothing_ran() -> None:
    """No inference, no time."""
    assert overlap(on_device()) == (0, 0, 0, 0, 0)


def brute(work: dict[str, Column]) -> tuple[int, ...]:
    """The same, tick by tick and inference by inference, as the words say it."""
    rows = [dict(zip(work, values, strict=True)) for values in zip(*(c.tolist() for c in work.values()), strict=True)]

    def kernel(r: dict[str, int], t: int) -> bool:
        return r["compute_at"] <= t < r["compute_at"] + r["compute"]

    def copy(r: dict[str, int], t: int) -> bool:
        up = r["h2d_at"] >= 0 and r["h2d_at"] <= t < r["h2d_at"] + r["h2d"] and t < r["compute_at"]
        after = t >= r["compute_at"] + r["compute"]
        return up or (r["d2h_at"] >= 0 and r["d2h_at"] <= t < r["d2h_at"] + r["d2h"] and after)

    busy = whole = beside = kernels = copies = 0
    for t in range(80):
        busy += any(kernel(r, t) for r in rows)
        for i, r in enumerate(rows):
            if kernel(r, t):
                others = rows[:i] + rows[i + 1 :]
                computed, copied = any(kernel(o, t) for o in others), any(copy(o, t) for o in others)
                whole, beside = whole + 1, beside + (computed or copied)
                kernels, copies = kernels + computed, copies + copied
    return busy, whole, beside, kernels, copies


@st.composite
def inference(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """Copies about where they belong, or none; a stamp may be out by a little."""
    small, error = st.integers(0, 6), st.integers(-2, 2)
    h2d_at, h2d = draw(st.integers(2, 40)), draw(small)
    compute_at, compute = h2d_at + h2d + draw(small), draw(st.integers(0, 9))
    d2h_at, d2h = compute_at + compute + draw(small), draw(small)
    if draw(st.booleans()):
        return -1, 0, compute_at, compute, -1, 0
    return max(0, h2d_at + draw(error)), h2d, compute_at, compute, d2h_at + draw(error), d2h


@given(st.lists(inference(), max_size=7))
def test_the_sweep_is_what_counting_every_tick_gives(rows: list[tuple[int, int, int, int, int, int]]) -> None:
    """On small integers, against the definition."""
    work = on_device(*rows)
    assert tuple(overlap(work)) == brute(work)


def test_rows_of_a_batch_are_one_inference() -> None:
    """Their time on the device is one and the same; what has no time on the device is none."""
    trace = frames(6, batch_id=[0, 0, 1, 1, 2, 3], compute_at=[5, 5, 9, 9, -1, 20], compute=3)
    assert inferences(trace)["compute_at"].tolist() == [5, 9, 20]


def test_workers_that_number_alike_are_told_apart() -> None:
    """Worker processes count their batches on their own."""
    trace = frames(4, batch_id=[0, 0, 1, 1], worker=[0, 1, 0, 1], compute_at=[5, 6, 9, 10])
    assert len(inferences(trace)["compute"]) == 4


def test_a_plain_run_is_told_in_full() -> None:
    """Ten frames, 10 ms apart, 2 ms of kernels each, of 97 ms; nothing overlaps; launch and wake-up as they are."""
    found = only(device_summary(frames(10), {"model": (3_000_000, 500_000)}))
    assert found.inferences == 10
    assert found.busy == pytest.approx(20 / 97)
    assert (found.overlap, found.overlap_kernels, found.overlap_copies) == (0, 0, 0)
    assert found.launch_delay is not None
    assert found.wake_up is not None
    assert (found.launch_delay.median, found.launch_delay.p99) == (2 * NS_PER_MS, 2 * NS_PER_MS)
    assert found.wake_up.median == NS_PER_MS
    assert found.h2d_bytes_s == pytest.approx(3e9)
    assert found.d2h_bytes_s == pytest.approx(0.5e9)


def test_a_batch_carries_the_bytes_of_all_its_frames() -> None:
    """Two inferences of four frames: eight times the bytes over twice the time."""
    trace = frames(2, batch_size=4)
    assert only(device_summary(trace, {"model": (1000, 0)})).h2d_bytes_s == pytest.approx(8000 / 2e-3)
    assert only(device_summary(trace.measured())).h2d_bytes_s is None


def test_without_copies_the_wake_up_is_after_the_kernels() -> None:
    """With inputs and outputs that stay on the device."""
    found = only(device_summary(frames(5, h2d=0, d2h=0, h2d_at=-1, d2h_at=-1), {"model": (9, 9)}))
    assert found.wake_up is not None
    assert found.wake_up.median == 2 * NS_PER_MS
    assert (found.h2d_bytes_s, found.d2h_bytes_s) == (None, None)


def test_pipelined_frames_overlap() -> None:
    """Kernels of 9.5 ms every 10 ms: of each, half a millisecond at either end is beside a neighbour's copy."""
    found = only(device_summary(frames(50, compute=9 * NS_PER_MS + NS_PER_MS // 2).measured()))
    assert found.overlap == pytest.approx(1.0 / 9.5, rel=0.03)
    assert found.overlap_kernels == 0
    assert found.overlap_copies == found.overlap


def test_warm_up_and_failures_do_not_count() -> None:
    """Only measured requests, and the time they span."""
    marks = np.where(np.arange(20) < 10, Mark.WARMUP, 0)
    outcome = np.where(np.arange(20) >= 18, Outcome.FAILED, Outcome.OK)
    found = only(device_summary(frames(20, marks=marks, outcome=outcome).measured()))
    assert found.inferences == 8
    assert found.busy == pytest.approx(16 / 77)


def sampled(count: int, device: int = 0, **columns: Any) -> dict[str, Any]:
    """Telemetry of one device, a sample every 10 ms from the start."""
    return {"time": START + np.arange(count) * 10 * NS_PER_MS, "device": np.full(count, device)} | columns


def test_medians_leave_out_what_was_not_measured() -> None:
    """-1 is no value, and a column without values is not told."""
    telemetry = sampled(5, sm_clock_mhz=[1000, 2000, -1, 1800, 345], power_mw=[-1, 100, 300, 200, -1])
    found = only(device_summary(frames(5, telemetry=telemetry).measured()))
    assert found.samples == 5
    assert found.medians == {"sm_clock_mhz": 1400, "power_mw": 200}
    assert found.sm_clock == (345, 2000)


def test_the_host_is_no_device_and_its_columns_are_not_the_gpus() -> None:
    """Rows of device -1 are left out."""
    telemetry = sampled(4, sm_clock_mhz=[1000, 1, 1200, 1], cpu_mhz=[-1, 3000, -1, 3000])
    telemetry["device"] = np.array([0, -1, 0, -1])
    found = only(device_summary(frames(4, telemetry=telemetry).measured()))
    assert (found.samples, found.medians) == (2, {"sm_clock_mhz": 1100})


def test_only_samples_of_the_measured_span_count() -> None:
    """What the device did before the first measured frame was due is not in it."""
    marks = np.where(np.arange(10) < 5, Mark.WARMUP, 0)
    telemetry = sampled(10, sm_clock_mhz=np.where(np.arange(10) < 5, 345, 1980), energy_mj=np.arange(10) * 1000)
    found = only(device_summary(frames(10, marks=marks, telemetry=telemetry).measured()))
    assert found.sm_clock == (1980, 1980)
    assert found.energy_mj == 4000


def test_reasons_are_shares_of_the_samples_in_words() -> None:
    """A sample may have several; 'limited' counts those with any that takes speed away, once."""
    telemetry = sampled(5, event_reasons=[0, 1, 4, 0x44, -1])
    found = only(device_summary(frames(5, telemetry=telemetry).measured()))
    assert found.reasons == {"idle": 0.25, "software power cap": 0.5, "hardware thermal slowdown": 0.25}
    assert found.limited == 0.5


def test_bits_without_a_name_are_not_lost() -> None:
    """A newer driver may know more reasons."""
    assert reason_names(0x1003) == ("idle", "application clocks", "0x1000")
    assert reason_names(0) == ()


def two_models(**columns: Any) -> Trace:
    """Four frames of two models each, on the device at the same times."""
    trace = make_trace(np.full(4, 4 * NS_PER_MS), models=("a", "b"), fps=100.0)
    due = trace.requests["due"]
    at = {"batch_id": np.arange(8), "compute_at": due + 1000, "compute": np.full(8, 500)} | columns
    at |= {name: np.full(8, value) for name, value in (("h2d_at", -1), ("h2d", 0), ("d2h_at", -1), ("d2h", 0))}
    return Trace(trace.meta, {**trace.requests, **at}, trace.telemetry)


def test_models_on_different_gpus_do_not_overlap() -> None:
    """Each GPU has its own time; on one GPU the same two models share all of it."""
    apart = device_summary(placed(two_models(), "cuda:0", "cuda:1"))
    together = device_summary(placed(two_models(), "cuda", None))
    assert [(d.device, d.inferences, d.overlap) for d in apart] == [(0, 4, 0), (1, 4, 0)]
    assert [(d.device, d.inferences, d.overlap) for d in together] == [(0, 8, 1)]


def test_the_only_gpu_that_was_sampled_is_the_only_one_in_use() -> None:
    """A model on cuda:1 alone may be sampled as the first of the GPUs in use."""
    trace = placed(frames(5, telemetry=sampled(5, sm_clock_mhz=1500)), "cuda:1")
    found = only(device_summary(trace.measured()))
    assert (found.device, found.samples, found.inferences) == (0, 5, 5)


def test_a_gpu_that_only_stood_by_is_told_without_times() -> None:
    """Two sampled, one used."""
    telemetry = sampled(4, sm_clock_mhz=[1500, 300, 1500, 300])
    telemetry["device"] = np.array([0, 1, 0, 1])
    used, idle = device_summary(placed(frames(4, telemetry=telemetry), "cuda:0"))
    assert (used.inferences, used.medians) == (4, {"sm_clock_mhz": 1500})
    assert (idle.inferences, idle.busy, idle.overlap, idle.wake_up) == (0, None, None, None)
    assert idle.medians == {"sm_clock_mhz": 300}


def test_a_run_on_the_cpu_has_no_devices() -> None:
    """No telemetry of a GPU, no device times: nothing to tell."""
    assert device_summary(make_trace(np.full(10, 5 * NS_PER_MS))) == ()
    assert device_summary(make_trace(np.empty(0))) == ()


@pytest.mark.parametrize(("device", "number"), [(None, 0), ("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_the_plan_says_which_gpu(device: str | None, number: int) -> None:
    """As CUDA counts them."""
    plan = make_meta().plan.models[0]
    assert isinstance(plan, ModelPlan)
    assert ordinal(replace(plan, device=device)) == number


@pytest.mark.parametrize("model", [-1, 1, -(2**62)])
def test_rows_of_a_model_that_the_trace_does_not_have_count_nowhere(model: int) -> None:
    """A damaged row names no place on any device, and no frame of any model."""
    whole = frames(10)
    damaged = frames(10, model=np.array([model] + [0] * 9))
    assert len(damaged.measured()) == len(whole.measured()) - 1
    (device,) = device_summary(damaged.measured())
    assert device.inferences == 9
