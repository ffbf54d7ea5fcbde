"""Traces and recordings of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.facts.plan import SourcePolicy
from framepace.facts.running import SourceSpec
from framepace.facts.trace import Outcome, Trace
from framepace.facts.workload import Warmup
from framepace.measure.session import measure
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.store import load_trace, segments
from tests.doubles.faulty import Faults
from tests.running.rtsp import of, until
from tests.running.runs import CLOCK, free, plan
from tests.running.videos import PICTURES


def test_the_trace_of_a_run_has_a_row_per_frame_and_its_drops(path: str, tmp_path: Path) -> None:
    """Delivered and dropped rows are those that the status counts; no secret is in it."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 60_000_000))
    sources = [SourceSpec(name="a", address=path), SourceSpec(name="b", address="rtsp://anna:geheim@127.0.0.1:9/door")]
    run = Run(plan("faulty", source=SourcePolicy(buffer=1)), sources, options=Options(out=tmp_path)).start()
    until(run, lambda status: of(status, "a").state == "ended" and of(status, "a").waiting == 0)
    run.stop()
    status = of(run.wait(30), "a")
    (segment,) = segments(tmp_path / "trace")
    trace = load_trace(segment)
    assert trace.meta.sources == ("a", "b")
    assert (trace.requests["outcome"] == Outcome.OK).sum() == status.delivered
    assert (trace.requests["outcome"] == Outcome.DROPPED).sum() == sum(status.dropped.values())
    assert b"geheim" not in b"".join(file.read_bytes() for file in segment.iterdir())


def test_a_share_of_the_frames_is_traced_evenly(path: str, tmp_path: Path) -> None:
    """One of two, of each source, although the numbers of their frames may take turns."""
    Run(plan(), [free("a", path), free("b", path)], options=Options(out=tmp_path, share=0.5)).start().wait(30)
    (segment,) = segments(tmp_path / "trace")
    per_source = np.bincount(load_trace(segment).requests["source"])
    assert per_source.sum() == pytest.approx(PICTURES, rel=0.1)
    assert per_source.min() >= 1


def test_a_recording_replays_the_arrivals_of_the_last_minute(path: str, tmp_path: Path) -> None:
    """Its workload names the files and itself; measured, each source's frames come as they came in the run."""
    sources = [SourceSpec(name=name, address=path, loop=True, every=every) for name, every in (("a", 1), ("b", 3))]
    run = Run(plan(), sources, options=Options(out=tmp_path)).start()
    until(run, lambda status: of(status, "b").delivered > 20)
    folder = run.record("of a test")
    run.stop()
    run.wait(30)
    recording = load_trace(folder)
    assert recording.meta.workload.input.videos == (path, path)
    assert recording.meta.notes[0].endswith("recorded because of a test")
    replayed = measure(recording.meta.plan, replace(recording.meta.workload, warmup=Warmup(seconds_max=0.0)))
    for source in (0, 1):
        gaps = [np.diff(dues(trace, source)) for trace in (recording, replayed)]
        count = min(map(len, gaps))
        assert count >= 4
        assert np.array_equal(gaps[0][:count], gaps[1][:count])


def dues(trace: Trace, source: int) -> NDArray[np.int64]:
    """When the frames of a source were due."""
    return np.sort(trace.requests["due"][trace.requests["source"] == source])


def test_a_recording_is_made_by_itself_when_results_are_late(path: str, tmp_path: Path) -> None:
    """A target of 33 ms and a model of 60: one recording, a moment after the first late result."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 60_000_000))
    options = Options(out=tmp_path, record_misses=True)
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path, loop=True)], options=options).start()
    until(run, lambda status: any("recorded in" in note for note in status.notes))
    run.stop()
    run.wait(30)
    (folder,) = tmp_path.glob("recording-*")
    assert len(load_trace(folder)) > 10
