"""The recorder: rows from any thread reach the writer, telemetry stands beside them, and a full disk ends the run."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from framepace.clock.system import SystemClock
from framepace.clock.virtual import VirtualClock
from framepace.errors import StoreError
from framepace.facts.trace import REQUEST_COLUMNS, Trace, TraceMeta
from framepace.recording.recorder import Recorder, Rows, sampling_for
from framepace.recording.telemetry import Sink, Telemetry
from framepace.store import MemoryWriter, RotatingWriter, Rotation, load_trace, segments
from framepace.testing import make_meta

RUNNING = make_meta(stopped="running")
DONE = make_meta(stopped="finished")
WIDTH = len(REQUEST_COLUMNS)


def row(number: int) -> bytes:
    """A packed request row that holds `number` in every column."""
    return np.full(WIDTH, number, "<i8").tobytes()


def add_from_threads(sink: Sink, threads: int, rows: int) -> None:
    """Each of `threads` adds `rows` of its own; returns when all are done."""

    def add(first: int) -> None:
        for number in range(first, first + rows):
            sink(row(number))

    workers = [threading.Thread(target=add, args=(index * rows,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


class FullDisk:
    """A writer whose disk is full after `room` appends."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.appended = 0

    def append(self, name: str, rows: bytes) -> None:
        """Raise when the room is used up."""
        if self.appended == self.room:
            raise StoreError("the disk is full", got="no space left")
        self.appended += 1

    def close(self, meta: TraceMeta) -> Trace:
        """An empty trace."""
        return MemoryWriter(meta).close(meta)


class Counting:
    """Telemetry that fails in part."""

    def __init__(self, sink: Sink) -> None:
        self.failures = {"Gpu": "RuntimeError: it is gone"}
        self.overhead = {"sample_us": 3.0}
        self.entered = 0

    def __enter__(self) -> object:
        self.entered += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.entered -= 1


def test_rows_of_many_threads_are_all_recorded() -> None:
    """Eight threads that add at once: every row is in the trace, once and whole."""
    recorder = Recorder(MemoryWriter(RUNNING))
    with recorder:
        add_from_threads(recorder.sink, threads=8, rows=500)
    trace = recorder.close(DONE)
    assert sorted(trace.requests["frame"].tolist()) == list(range(4000))
    assert (trace.requests["frame"] == trace.requests["marks"]).all()


def test_drained_rows_are_gone_and_later_ones_stay() -> None:
    """`drain` takes what is there, in order."""
    rows = Rows()
    rows.add(b"a")
    rows.add(b"b")
    assert rows.drain() == b"ab"
    rows.add(b"c")
    assert rows.drain() == b"c"
    assert rows.drain() == b""


def test_a_full_disk_ends_the_run_and_keeps_what_was_written() -> None:
    """`on_failure` is called once, later rows are dropped, `error` says why, and the trace is closed as any other."""
    failed = threading.Event()
    calls = []

    def on_failure() -> None:
        calls.append("failed")
        failed.set()

    recorder = Recorder(FullDisk(room=1), on_failure=on_failure)
    with recorder:
        while not failed.wait(0.01):
            recorder.sink(row(1))
    assert recorder.close(DONE).meta == DONE
    assert isinstance(recorder.error, StoreError)
    assert "disk is full" in str(recorder.error)
    assert calls == ["failed"]


def test_the_caller_hears_of_every_flush() -> None:
    """Progress is told while the run goes on."""
    flushed = threading.Event()
    with Recorder(MemoryWriter(RUNNING), on_flush=flushed.set):
        assert flushed.wait(20)


def test_what_telemetry_could_not_read_is_a_note() -> None:
    """Failures and cost of the telemetry are in the meta; it is entered and left with the run."""
    samplings: list[Counting] = []

    def sampling(sink: Sink) -> Counting:
        samplings.append(Counting(sink))
        return samplings[0]

    recorder = Recorder(MemoryWriter(RUNNING), sampling)
    with recorder:
        assert samplings[0].entered == 1
    trace = recorder.close(DONE)
    assert samplings[0].entered == 0
    assert trace.meta.notes == ("telemetry without Gpu: RuntimeError: it is gone",)
    assert trace.meta.overhead == {"sample_us": 3.0}


def test_the_clock_says_which_samplers_there_are() -> None:
    """On the system's clock the machine is sampled; on a virtual one the simulated devices and the threads' time."""
    rows: list[bytes] = []
    assert isinstance(sampling_for(SystemClock(), {}, bytes)(rows.append), Telemetry)
    clock = VirtualClock()
    recorder = Recorder(MemoryWriter(RUNNING), sampling_for(clock, {}, bytes))
    with recorder:
        clock.spin_until(500)
    telemetry = recorder.close(DONE).telemetry
    assert telemetry["time"].tolist() == [0, 500]
    assert telemetry["process_cpu"].tolist() == [0, 500]


def test_a_run_that_never_ends_is_recorded_in_segments(tmp_path: Path) -> None:
    """Rows of four threads while segments rotate: each row is in one of the segments, none is lost."""
    writer = RotatingWriter(tmp_path, lambda: RUNNING, Rotation(rows=300, keep=None))
    recorder = Recorder(writer)
    with recorder:
        add_from_threads(recorder.sink, threads=4, rows=1000)
    recorder.close(DONE)
    frames = np.concatenate([load_trace(path).requests["frame"] for path in segments(tmp_path)])
    assert sorted(frames.tolist()) == list(range(4000))
    assert len(segments(tmp_path)) == 14
