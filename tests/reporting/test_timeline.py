"""A run as a time line: every inference once, in lanes in which nothing overlaps."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from framepace.facts.trace import Trace
from framepace.facts.workload import Closed
from framepace.reporting.timeline import DOING, Timeline, timeline, waiting
from tests.doubles.simulation import ONE_MS, run
from tests.reporting import samples


def spans(line: Timeline, doing: str) -> list[tuple[str, int, int]]:
    """Lane, start and end of the spans of one kind."""
    rows = line.spans.tolist()
    return [(line.lanes[lane].name, start, end) for lane, kind, start, end, _, _ in rows if DOING[kind] == doing]


def overlaps(line: Timeline) -> bool:
    """Whether two spans of one lane overlap."""
    lanes = (line.part(line.column("lane") == lane) for lane in range(len(line.lanes)))
    return any((lane.column("start")[1:] < lane.column("end")[:-1]).any() for lane in lanes)


def test_two_workers_on_a_device_have_their_lanes_and_kernels_overlap_between_them() -> None:
    """Host and streams apart; as many spans of kernels as inferences, with the device's times."""
    trace = run(ONE_MS, Closed(), count=60, workers=2)
    line = timeline(trace)
    assert {lane.name for lane in line.lanes} >= {"worker 0, in flight", "worker 0, kernels", "worker 1, kernels"}
    kernels = spans(line, "kernels")
    assert len(kernels) == len(trace)
    assert sum(end - start for _, start, end in kernels) == int(trace.requests["compute"].sum())
    assert not overlaps(line)
    assert not spans(line, "infer")


def test_without_a_device_the_inference_is_the_workers_and_models_have_lanes() -> None:
    """Decoding belongs to the source, once per frame."""
    trace = samples.trace(50, ("a", "b"))
    line = timeline(trace)
    assert {lane.name for lane in line.lanes} == {"decode, source 0", "worker 0, a", "worker 0, b"}
    assert len(spans(line, "infer")) == 100
    assert len(spans(line, "decode")) == 50
    assert (np.diff(line.column("start")) >= 0).all()


def changed(trace: Trace, **columns: list[int]) -> Trace:
    """The trace with other columns."""
    return Trace(trace.meta, {**trace.requests, **{k: np.array(v) for k, v in columns.items()}}, trace.telemetry)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), min_size=1, max_size=30))
def test_whatever_runs_side_by_side_nothing_overlaps_in_a_lane_and_nothing_is_lost(
    times: list[tuple[int, int]],
) -> None:
    """As many lanes of a name as run at once at most."""
    starts = [start for start, _ in times]
    ends = [start + took for start, took in times]
    trace = changed(
        samples.trace(len(times), telemetry=False), batched=starts, started=starts, finished=ends, delivered=ends
    )
    line = timeline(trace)
    assert not overlaps(line)
    assert sorted((start, end) for _, start, end in spans(line, "infer")) == sorted(zip(starts, ends, strict=True))
    at_once = max(sum(start <= now < end for start, end in zip(starts, ends, strict=True)) for now in starts)
    assert sum(lane.place == "worker" for lane in line.lanes) == at_once


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 30)), min_size=1, max_size=20))
def test_frames_in_buffers_are_counted_as_they_come_and_go(times: list[tuple[int, int]]) -> None:
    """At every change the count is of those that are in one; at the end none is."""
    queued = [start for start, _ in times]
    batched = [start + stay for start, stay in times]
    when, count = waiting(changed(samples.trace(len(times), telemetry=False), queued=queued, batched=batched))
    for now, waits in zip(when, count, strict=True):
        assert waits == sum(begin <= now < end for begin, end in zip(queued, batched, strict=True))
    assert count[-1] == 0


def test_preparation_on_the_device_is_shown_before_the_kernels_in_their_lane() -> None:
    """Where the device prepares pictures; elsewhere there is no such span."""
    trace = run(ONE_MS, Closed(), count=10, workers=1)
    assert not spans(timeline(trace), "preparation")
    began = trace.requests["compute_at"] - 20_000
    painted = changed(trace, paint_at=began.tolist(), paint=[15_000] * len(trace))
    shown = spans(timeline(painted), "preparation")
    assert [(start, end - start) for _, start, end in shown] == [(start, 15_000) for start in sorted(began.tolist())]
