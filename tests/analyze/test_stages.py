"""Stages: they add up to the latency whatever the stamps, and nothing is counted twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from framepace.analyze.stages import frame_trace, frames, parts, per_frame_cpu, stages
from framepace.facts.trace import Outcome, Trace
from framepace.testing import make_trace

MS = 1_000_000
STAMPS = ("available", "captured", "decoded", "queued", "batched", "started", "enqueued", "finished")


@st.composite
def any_trace(draw: st.DrawFn) -> Trace:
    """A trace with stamps in any order, many not measured, several models a frame, rows in any order."""
    count, models, seed = draw(st.integers(0, 12)), draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))
    rng, rows = np.random.default_rng(seed), count * models

    def stamps() -> NDArray[np.int64]:
        values = rng.integers(1, 1000, rows)
        return np.where(rng.random(rows) < 0.2, -1, values)

    columns = {name: stamps() for name in STAMPS} | {"delivered": rng.integers(0, 2000, rows)}
    columns |= {"batch_size": rng.integers(1, 5, rows), "due": np.repeat(rng.integers(0, 500, count), models)}
    trace = make_trace(np.zeros(count), models=[f"m{i}" for i in range(models)], columns=columns)
    order = rng.permutation(rows)
    return Trace(trace.meta, {k: v[order] for k, v in trace.requests.items()}, trace.telemetry)


@given(any_trace())
def test_stages_add_up_to_the_latency(trace: Trace) -> None:
    """The stages of every row add up to its latency exactly, stamps missing or out of order."""
    assert np.array_equal(sum(stages(trace).values(), start=0 * trace.latency), trace.latency)


@given(any_trace())
def test_parts_add_up_to_the_inference(trace: Trace) -> None:
    """The call and the wait after it are the inference."""
    found = parts(trace)
    assert (found["enqueue"] + found["device wait"] == stages(trace)["infer"]).all()


@given(any_trace())
def test_frames_add_up_to_their_last_delivery(trace: Trace) -> None:
    """The stages of a whole frame add up to its latency, which ends at the last delivery of its models."""
    found = frames(trace)
    r = trace.requests
    last = {int(f): int(r["delivered"][r["frame"] == f].max()) for f in np.unique(r["frame"])}
    assert {int(f): int(d) for f, d in zip(found["frame"], found["delivered"], strict=True)} == last
    assert np.array_equal(sum((found[name] for name in stages(trace)), start=0 * found["due"]), found["latency"])
    assert (np.diff(found["due"]) >= 0).all()


def test_each_stage_is_between_its_stamps() -> None:
    """Stages that were put into a trace come out of it under their names."""
    put = {"backlog": 3, "wake-up": 1, "decode": 4, "hand-over": 2, "queue": 5, "prepare": 6, "infer": 9, "finish": 7}
    found = stages(make_trace(stages=put))
    assert {name: int(values[0]) for name, values in found.items() if values.any()} == put


def test_second_model_does_not_queue_behind_the_first() -> None:
    """The time of the models before is 'other models' for a later one, and is counted once in the frame."""
    trace = make_trace(stages={"queue": [MS], "prepare": 2 * MS, "infer": 5 * MS}, models=("a", "b"))
    found, whole = stages(trace), frames(trace)
    assert found["other models"].tolist() == [0, 7 * MS]
    assert found["queue"].tolist() == [MS, MS]
    assert [int(whole[s][0]) for s in ("queue", "prepare", "infer", "latency")] == [MS, 4 * MS, 10 * MS, 15 * MS]


def test_models_that_overlap_count_once() -> None:
    """Two models of a frame that ran at the same time take as long as the longer, not as both."""
    columns: dict[str, ArrayLike] = {
        "queued": 0,
        "batched": [0, 1],
        "started": [0, 1],
        "enqueued": 1,
        "finished": [8, 9],
        "delivered": [8, 9],
    }
    columns |= {"due": 0, "available": 0, "captured": 0, "decoded": 0}
    whole = frames(make_trace([0], models=("a", "b"), columns=columns))
    assert (int(whole["latency"][0]), int(whole["infer"][0])) == (9, 9)


def test_boxes_of_one_inference_waited_as_their_frame_did() -> None:
    """Three crops that began together behind the first model: none of them waited longer in the buffer than it did."""
    columns: dict[str, ArrayLike] = {
        "due": 0,
        "queued": 2,
        "batched": [5, 30, 30, 30],
        "started": [6, 31, 31, 31],
        "enqueued": [6, 31, 31, 31],
        "finished": [30, 50, 50, 50],
        "delivered": [30, 51, 52, 53],
        "model": [0, 1, 1, 1],
        "frame": 7,
    }
    trace = make_trace(np.zeros(2), models=("a", "b"), columns=columns)
    found = stages(trace)
    assert (found["queue"].tolist(), found["other models"].tolist()) == ([3] * 4, [0, 25, 25, 25])
    assert frames(trace)["latency"].tolist() == [53]


def test_frame_is_as_bad_as_its_worst_model() -> None:
    """A frame with a failed model is a failed frame; marks and faults of its models come together."""
    columns = {
        "outcome": [Outcome.OK, Outcome.FAILED],
        "cause": [0, 3],
        "marks": [2, 4],
        "faults": [1, 5],
        "cpu": [6, 8],
    }
    whole = frame_trace(make_trace([MS], models=("a", "b"), columns=columns)).requests
    assert [int(whole[c][0]) for c in ("outcome", "cause", "marks", "faults", "cpu")] == [3, 3, 6, 6, 14]


def test_batch_mates_decoded_before_are_decode_not_wake_up() -> None:
    """A worker that decodes a batch itself woke once: waiting for the pictures before one's own is decoding."""
    columns: dict[str, ArrayLike] = {
        "due": 10,
        "available": 5,
        "captured": [12, 20, 30],
        "decoded": [20, 30, 41],
        "batch_size": 3,
    }
    found = stages(make_trace([100, 100, 100], columns=columns))
    assert found["wake-up"].tolist() == [2, 2, 2]
    assert found["decode"].tolist() == [8, 18, 29]


def test_device_times_leave_the_host_the_rest() -> None:
    """With device times, copy, kernels, copy and the host's remainder are the inference."""
    trace = make_trace(stages={"infer": [10 * MS]}, columns={"h2d": MS, "compute": 6 * MS, "d2h": 2 * MS})
    assert {k: int(v[0]) for k, v in parts(trace).items() if k not in ("enqueue", "device wait")} == {
        "h2d": MS, "compute": 6 * MS, "d2h": 2 * MS, "host": MS
    }  # fmt: skip


def test_cpu_time_of_a_batch_is_shared() -> None:
    """The CPU time of a batch of four is a quarter for each frame; not measured stays -1."""
    cpu = per_frame_cpu(make_trace([MS, MS], columns={"cpu": [8, -1], "batch_size": 4}).requests)
    assert cpu.tolist() == [2, -1]


def test_made_up_trace_has_the_latency_asked_for() -> None:
    """`make_trace` puts what the stages leave into the inference, and frames on the grid of the load."""
    trace = make_trace([5 * MS, 7 * MS], stages={"decode": 2 * MS}, fps=100)
    assert trace.latency.tolist() == [5 * MS, 7 * MS]
    assert stages(trace)["infer"].tolist() == [3 * MS, 5 * MS]
    assert np.diff(trace.requests["due"]).tolist() == [10 * MS]
    closed = make_trace([5 * MS, 7 * MS], fps=None)
    assert closed.requests["due"][1] == closed.requests["delivered"][0]


def test_preparation_on_the_device_is_a_part_of_the_inference() -> None:
    """Its time is none of the host's; without it the parts are as they were."""
    device = {"h2d": 10, "compute": 40, "d2h": 5}
    plain = make_trace(np.full(4, 1_000_000), columns=device)
    painted = make_trace(np.full(4, 1_000_000), columns={**device, "paint": 7})
    assert "paint" not in parts(plain)
    assert parts(painted)["paint"].tolist() == [7] * 4
    assert (parts(plain)["host"] - parts(painted)["host"]).tolist() == [7] * 4
