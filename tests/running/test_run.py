"""A plan on sources: results in order, every picture accounted for, and what goes wrong ends nothing but itself."""

from __future__ import annotations

import threading
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.clock.system import SystemClock
from framepace.errors import BackendError, DeviceLost, SinkError, SourceError, StoreError, UsageError
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, SourcePolicy, Target
from framepace.facts.running import Result, RunStatus, SourceSpec
from framepace.facts.trace import Outcome, Trace
from framepace.facts.workload import Warmup
from framepace.measure.session import measure
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.sinks.base import ResultSink
from framepace.sinks.callback import Function
from framepace.sinks.queued import QueuedSink
from framepace.store import TraceWriter, load_trace, segments
from tests.doubles.faulty import Faults
from tests.running.rtsp import of, until
from tests.running.videos import PICTURES, video

CLOCK = SystemClock()


def plan(backend: str = "null", workers: int = 1, **fields: Any) -> Plan:
    """A classifier that computes nothing."""
    model = ModelPlan(name="m", model="builtin:classifier", backend=backend)
    return Plan(models=(model,), engine=EnginePlan(workers=workers), target=Target(fps=30), **fields)


class Collected:
    """The results of a run, by source."""

    def __init__(self) -> None:
        self.results: dict[str, list[Result]] = defaultdict(list)

    def __call__(self, result: Result) -> None:
        """Keep one."""
        self.results[result.source].append(result)

    def numbers(self, source: str) -> list[int]:
        """Which frames of a source came out, in which order."""
        return [result.number for result in self.results[source]]


def sink(take: Any) -> QueuedSink:
    """A function, or a sink, behind a queue with room for all results."""
    if not isinstance(take, ResultSink):
        take = Function(take)
    return QueuedSink(take, CLOCK, capacity=100_000)


def assert_accounted(status: RunStatus) -> None:
    """Every picture is in exactly one count, and none waits."""
    for source in status.sources:
        ended = source.delivered + source.skipped + source.failed + sum(source.dropped.values())
        assert source.taken == ended
        assert source.waiting == 0


def free(name: str, path: str, **fields: Any) -> SourceSpec:
    """A file that is read as fast as it is inferred."""
    return SourceSpec(name=name, address=path, pace="free", **fields)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A video of PICTURES pictures."""
    return video(tmp_path_factory.mktemp("videos") / "video.mp4")


def test_every_picture_of_a_file_comes_out_once_and_in_order(path: str) -> None:
    """Three files, four workers that overtake each other: all pictures, in order, per source."""
    collected = Collected()
    run = Run(plan(workers=4), [free(name, path) for name in "abc"], [sink(collected)])
    status = run.start().wait(30)
    assert_accounted(status)
    for name in "abc":
        assert collected.numbers(name) == list(range(PICTURES))
        assert of(status, name).state == "ended"
    assert status.sinks[0].written == 3 * PICTURES


def test_one_of_three_pictures(path: str) -> None:
    """The others are skipped, not dropped; numbers have gaps."""
    collected = Collected()
    status = Run(plan(), [free("a", path, every=3)], [sink(collected)]).start().wait(30)
    assert_accounted(status)
    assert collected.numbers("a") == list(range(0, PICTURES, 3))
    assert (of(status, "a").skipped, of(status, "a").dropped) == (PICTURES * 2 // 3, {})


def test_sources_come_and_go_while_another_runs(path: str) -> None:
    """One that was removed is counted to its end; the one that stays sees nothing of it."""
    run = Run(plan(), [SourceSpec(name="stays", address=path, loop=True)], options=Options(stays=True)).start()
    for number in range(5):
        run.add(SourceSpec(name="guest", address=path, loop=True))
        until(run, partial(_has_more_than, "guest", number))
        run.remove("guest")
    with pytest.raises(UsageError, match="no such source"):
        run.remove("guest")
    before = of(run.status(), "stays").delivered
    until(run, lambda status: of(status, "stays").delivered > before + 5)
    run.stop()
    status = run.wait(30)
    assert_accounted(status)
    assert of(status, "guest").state == "removed"


def test_a_change_of_how_a_source_is_thinned_keeps_its_connection(path: str) -> None:
    """From every picture to every fifth; its counts go on. A change of its address reads the other file."""
    spec = SourceSpec(name="a", address=path, loop=True)
    run = Run(plan(), [spec]).start()
    until(run, lambda status: of(status, "a").delivered > 3)
    run.change(replace(spec, every=5))
    status = until(run, lambda status: of(status, "a").skipped > 8)
    assert (of(status, "a").every, of(status, "a").reconnections) == (5, 0)
    run.change(replace(spec, address="synthetic"))
    until(run, lambda status: of(status, "a").size == (720, 1280))
    run.stop()
    assert_accounted(run.wait(30))


def _has_more_than(name: str, count: int, status: RunStatus) -> bool:
    return of(status, name).delivered > count


class Bad(ResultSink):
    """A sink that hangs, or refuses everything."""

    name = "bad"
    capacity = 4

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.over = threading.Event()

    def open(self) -> None:
        """Works."""

    def write(self, results: Any) -> None:
        """Does not."""
        if self._error is not None:
            raise self._error
        self.over.wait(20)

    def close(self) -> None:
        """Works."""


@pytest.mark.parametrize("error", [None, SinkError("full")])
def test_a_sink_that_hangs_or_fails_holds_nobody_up(path: str, error: Exception | None) -> None:
    """The other sink gets every result; the bad one's are counted."""
    collected = Collected()
    bad = Bad(error)
    run = Run(plan(), [free("a", path)], [QueuedSink(bad, CLOCK), sink(collected)]).start()
    until(run, lambda status: of(status, "a").delivered == PICTURES)
    bad.over.set()
    status = run.wait(30)
    assert collected.numbers("a") == list(range(PICTURES))
    counts = status.sinks[0]
    assert counts.written + counts.dropped + counts.failed + counts.waiting == PICTURES


def test_a_full_buffer_of_a_camera_drops_the_oldest_with_its_cause(path: str) -> None:
    """A model of 100 ms on pictures every 33 ms."""
    slow = plan("faulty", source=SourcePolicy(buffer=1))
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 100_000_000))
    status = Run(slow, [SourceSpec(name="a", address=path)]).start().wait(30)
    assert_accounted(status)
    assert of(status, "a").dropped["buffer full"] > PICTURES // 3


def test_what_would_be_too_old_at_the_sinks_is_dropped(path: str) -> None:
    """The same with at most 50 ms of age: nothing comes out, everything has its cause."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 100_000_000))
    collected = Collected()
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path)], [sink(collected)], Options(max_age_ms=50))
    status = run.start().wait(30)
    assert_accounted(status)
    assert collected.numbers("a") == []
    assert set(of(status, "a").dropped) <= {"stale", "too old at the sink", "buffer full"}


@pytest.mark.long
def test_frames_that_would_be_too_old_when_they_are_done_are_not_taken(path: str) -> None:
    """A model of 60 ms, at most 90 ms of age, two frames of buffer: once that is known, nothing is inferred in vain."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 60_000_000))
    options = Options(max_age_ms=90, stays=True)
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path, loop=True)], options=options).start()
    until(run, lambda status: of(status, "a").taken > 90)
    before = of(run.status(), "a")
    after = of(until(run, lambda status: of(status, "a").taken > before.taken + 120), "a")
    run.stop()
    assert_accounted(run.wait(30))
    in_vain = after.dropped.get("too old at the sink", 0) - before.dropped.get("too old at the sink", 0)
    delivered = after.delivered - before.delivered
    assert delivered > 20
    assert in_vain <= 0.25 * delivered


def test_a_model_that_raises_now_and_then_gives_failed_results(path: str) -> None:
    """Every third inference fails: its result says why, the others have answers, all in order."""

    def fail(number: int) -> None:
        if number % 3 == 0:
            raise ValueError("no such number")

    Faults.reset(fail)
    collected = Collected()
    status = Run(plan("faulty"), [free("a", path)], [sink(collected)]).start().wait(30)
    assert_accounted(status)
    assert collected.numbers("a") == list(range(PICTURES))
    failed = [result for result in collected.results["a"] if result.error]
    assert len(failed) == of(status, "a").failed == PICTURES // 3
    assert all("no such number" in str(result.error) and not result.answers for result in failed)


def test_an_engine_that_dies_is_started_again_and_the_sources_go_on(path: str) -> None:
    """A device that is lost at the tenth inference: what was in flight is counted, the rest is delivered."""

    def lose(number: int) -> None:
        if number == 10:
            raise DeviceLost("the device fell off the bus")

    Faults.reset(lose)
    status = Run(plan("faulty"), [free("a", path)]).start().wait(60)
    assert_accounted(status)
    assert of(status, "a").delivered >= PICTURES - 3
    assert any("started again" in note for note in status.notes)


def test_a_worker_that_hangs_is_replaced(path: str) -> None:
    """The fifth inference never returns: its frame is dropped as such, and another engine goes on."""
    over = threading.Event()
    Faults.reset(lambda number: over.wait(60) if number == 5 else None)
    run = Run(plan("faulty"), [free("a", path)], options=Options(patience_s=0.5)).start()
    status = run.wait(60)
    over.set()
    assert_accounted(status)
    assert of(status, "a").dropped == {"worker hung": 1}
    assert of(status, "a").delivered == PICTURES - 1
    assert run.hanging == 1


def test_a_plan_that_never_works_ends_the_run_with_its_error(path: str) -> None:
    """Every inference fails from the first on."""

    def fail(number: int) -> None:
        raise BackendError("no kernel")

    Faults.reset(fail)
    run = Run(plan("faulty"), [SourceSpec(name="a", address=path, loop=True)]).start()
    with pytest.raises(BackendError, match="no kernel"):
        run.wait(30)
    assert_accounted(run.status())


def test_a_camera_that_does_not_answer_is_lost_and_ends_nothing(path: str) -> None:
    """The other source is read to its end; the status says what is wrong, without the password."""
    camera = SourceSpec(name="door", address="rtsp://anna:geheim@127.0.0.1:9/door")
    run = Run(plan(), [camera, free("a", path)]).start()
    status = until(run, lambda status: of(status, "door").state == "lost" and of(status, "a").state == "ended")
    assert of(status, "a").delivered == PICTURES
    assert "127.0.0.1:9" in of(status, "door").note
    run.stop()
    assert "geheim" not in repr(run.wait(30))


def test_a_file_that_is_not_there_or_two_of_one_name_are_refused_at_once(path: str) -> None:
    """Before anything is loaded."""
    with pytest.raises(SourceError, match="no file"):
        Run(plan(), [SourceSpec(name="a", address="nowhere.mp4")])
    with pytest.raises(UsageError, match="same name"):
        Run(plan(), [free("a", path), free("a", path)])
    processes = replace(plan(), engine=EnginePlan(strategy="worker-processes"))
    with pytest.raises(UsageError, match="one engine"):
        Run(processes, [free("a", path)])


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


@pytest.mark.long
def test_adaptive_sources_share_what_the_model_can_do(path: str) -> None:
    """Two cameras of 30 fps, and a model of 50 ms: about ten per second of each, evenly, and none is lost any more."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 50_000_000))
    sources = [SourceSpec(name=name, address=path, loop=True, every="adaptive") for name in "ab"]
    run = Run(plan("faulty"), sources, options=Options(stays=True)).start()
    until(run, lambda status: of(status, "a").taken > 240)
    before = run.status()
    after = until(run, lambda status: of(status, "a").taken > 480)
    run.stop()
    assert_accounted(run.wait(30))
    delivered = [of(after, name).delivered - of(before, name).delivered for name in "ab"]
    lost = [sum(of(after, name).dropped.values()) - sum(of(before, name).dropped.values()) for name in "ab"]
    assert sum(delivered) >= 0.6 * 20 * 8
    assert delivered[0] == pytest.approx(delivered[1], rel=0.1, abs=3)
    assert sum(lost) <= 0.05 * sum(delivered)
    assert after.degraded == ()


@pytest.mark.long
def test_a_smaller_plan_takes_over_and_gives_way_again(path: str) -> None:
    """A slow model: the other plan runs, which is said; results go on in order, and every picture is accounted for."""
    slow = threading.Event()
    slow.set()
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 100_000_000) if slow.is_set() else None)
    collected = Collected()
    run = Run(
        plan("faulty"),
        [SourceSpec(name="a", address=path, loop=True)],
        [sink(collected)],
        Options(stays=True, smaller=plan("null")),
    ).start()
    status = until(run, lambda status: bool(status.degraded))
    assert "smaller plan" in status.degraded[0]
    until(run, lambda now: of(now, "a").delivered > of(status, "a").delivered + 60)
    slow.clear()
    until(run, lambda now: not now.degraded, 60)
    run.stop()
    assert_accounted(run.wait(30))
    assert collected.numbers("a") == sorted(set(collected.numbers("a")))


def test_under_overload_the_sources_of_the_lowest_priority_are_paused(path: str) -> None:
    """Three cameras, a model of 40 ms: the most important one goes on, and it is said which are paused."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 40_000_000))
    sources = [SourceSpec(name=name, address=path, loop=True, priority=priority) for priority, name in enumerate("abc")]
    run = Run(plan("faulty"), sources, options=Options(stays=True, fewer=True)).start()
    status = until(run, lambda status: any("paused" in text for text in status.degraded))
    assert "paused, by priority: a" in status.degraded[0]
    before = of(status, "c").delivered
    until(run, lambda status: of(status, "c").delivered > before + 5)
    run.stop()
    assert_accounted(run.wait(30))


def test_a_disk_that_fills_ends_the_trace_and_not_the_run(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every picture is delivered; a note says that the trace is not."""

    def full(writer: TraceWriter, name: str, rows: bytes) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(TraceWriter, "append", full)
    source = SourceSpec(name="a", address=path)
    status = Run(plan(), [source], options=Options(out=tmp_path)).start().wait(30)
    assert of(status, "a").delivered + sum(of(status, "a").dropped.values()) == PICTURES
    assert any("the trace cannot be written" in note for note in status.notes)


@pytest.mark.parametrize("strategy", ["workers", "serial", "threads", "processes", "asyncio", "asyncio-threads"])
def test_two_models_by_every_strategy_answer_for_every_frame(path: str, strategy: Any) -> None:
    """Results have an answer of each model, in order."""
    models = tuple(ModelPlan(name=name, model="builtin:classifier", backend="null") for name in ("one", "two"))
    both = Plan(models=models, engine=EnginePlan(workers=2, strategy=strategy), target=Target(fps=30))
    collected = Collected()
    status = Run(both, [free("a", path), free("b", path)], [sink(collected)]).start().wait(30)
    assert_accounted(status)
    for name in "ab":
        assert collected.numbers(name) == list(range(PICTURES))
        assert all(set(result.answers) == {"one", "two"} for result in collected.results[name])


def test_batches_over_cameras_by_deadline(path: str) -> None:
    """Eight sources, batches of four that are formed by deadline: every picture in order."""
    model = ModelPlan(name="m", model="builtin:classifier", backend="null", batch=Batching(max=4, policy="deadline"))
    batched = Plan(models=(model,), target=Target(fps=30, p99_ms=100))
    collected = Collected()
    names = [f"camera-{number}" for number in range(8)]
    status = Run(batched, [free(name, path) for name in names], [sink(collected)]).start().wait(60)
    assert_accounted(status)
    for name in names:
        assert collected.numbers(name) == list(range(PICTURES))


@pytest.mark.long
def test_the_process_of_a_model_that_is_killed_is_started_again(path: str) -> None:
    """With strategy=processes: what was in flight is counted, and the run goes on in a new process."""
    model = ModelPlan(name="m", model="builtin:classifier", backend="null")
    apart = Plan(models=(model,), engine=EnginePlan(strategy="processes"), target=Target(fps=30))
    run = Run(apart, [SourceSpec(name="a", address=path, loop=True)]).start()
    before = until(run, lambda status: of(status, "a").delivered > 5)
    (child,) = (process for process in psutil.Process().children() if "spawn_main" in " ".join(process.cmdline()))
    child.kill()
    until(run, lambda status: any("started again" in note for note in status.notes))
    until(run, lambda status: of(status, "a").delivered > of(before, "a").delivered + 60)
    run.stop()
    assert_accounted(run.wait(40))


@pytest.mark.long
@pytest.mark.parametrize(
    ("used", "tried", "verdict"), [("faulty", "null", "promoted"), ("null", "faulty", "rolled back")]
)
def test_a_canary_is_promoted_or_rolled_back(path: str, used: str, tried: str, verdict: str) -> None:
    """A plan of 20 ms and one of none, a third of the frames: the quicker one runs in the end; all is in order."""
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 20_000_000))
    collected = Collected()
    options = Options(stays=True, canary=plan(tried), canary_share=0.3)
    sources = [SourceSpec(name=name, address=path, loop=True) for name in "ab"]
    run = Run(plan(used), sources, [sink(collected)], options).start()
    status = until(run, lambda status: any("canary" in note for note in status.notes), 120)
    assert any(f"the canary was {verdict}" in note for note in status.notes)
    before = Faults.count
    until(run, lambda now: of(now, "a").delivered > of(status, "a").delivered + 60)
    assert Faults.count - before <= 2
    run.stop()
    assert_accounted(run.wait(30))
    for name in "ab":
        assert collected.numbers(name) == sorted(set(collected.numbers(name)))
