"""A plan on sources: results in order, every picture accounted for, sources that come and go."""

from __future__ import annotations

import threading
import time
from functools import partial
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from msgspec.structs import replace

from framepace.errors import SinkError, SourceError, UsageError
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, SourcePolicy, Target
from framepace.facts.running import RunStatus, SourceSpec
from framepace.running import results
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.sinks.base import ResultSink
from framepace.sinks.queued import QueuedSink
from tests.doubles.faulty import Faults
from tests.running.rtsp import of, until
from tests.running.runs import CLOCK, Collected, assert_accounted, free, plan, sink
from tests.running.videos import PICTURES, video


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


def test_a_folder_of_pictures_has_no_pace_and_loses_none(tmp_path: Path) -> None:
    """Nobody takes them: however slow the model and small the buffer is, they wait, also without pace=free."""
    for number in range(10):
        av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24").save(
            str(tmp_path / f"{number}.png")
        )
    Faults.reset(lambda number: CLOCK.sleep_until(CLOCK.now() + 20_000_000))
    collected = Collected()
    slow = plan("faulty", source=SourcePolicy(buffer=1))
    status = Run(slow, [SourceSpec(name="a", address=str(tmp_path))], [sink(collected)]).start().wait(30)
    assert collected.numbers("a") == list(range(10))
    assert of(status, "a").dropped == {}


def test_what_is_wrong_with_a_file_is_told_with_its_source(tmp_path: Path) -> None:
    """A recording that broke off: its pictures are results, and its end says what is missing."""
    with (
        av.open(video(tmp_path / "whole.mp4")) as whole,
        av.open(str(tmp_path / "a.mp4"), "w", options={"movflags": "faststart"}) as copy,
    ):
        stream = copy.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            packet.stream = stream
            if packet.size:
                copy.mux(packet)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    status = Run(plan(), [free("a", str(tmp_path / "a.mp4"))]).start().wait(30)
    assert 0 < of(status, "a").delivered < PICTURES
    assert "its end was reached; " in of(status, "a").note
    assert f"of {PICTURES} frames: truncated" in of(status, "a").note


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


def test_a_file_that_is_not_there_or_two_of_one_name_are_refused_at_once(path: str) -> None:
    """Before anything is loaded."""
    with pytest.raises(SourceError, match="no file"):
        Run(plan(), [SourceSpec(name="a", address="nowhere.mp4")])
    with pytest.raises(UsageError, match="same name"):
        Run(plan(), [free("a", path), free("a", path)])
    processes = replace(plan(), engine=EnginePlan(strategy="worker-processes"))
    with pytest.raises(UsageError, match="one engine"):
        Run(processes, [free("a", path)])


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


@pytest.mark.parametrize("jump_s", [-3600, 8 * 3600])
def test_a_wall_clock_that_jumps_changes_no_age_and_loses_nothing(
    path: str, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """In the middle, as when a laptop slept: results say the new time, in their order; ages count on another clock."""
    taken = count()
    before = time.time()

    def wall() -> float:
        return before if next(taken) < PICTURES // 2 else before + jump_s

    monkeypatch.setattr(results, "time", SimpleNamespace(time=wall))
    collected = Collected()
    status = Run(plan(), [free("a", path)], [sink(collected)]).start().wait(60)
    assert_accounted(status)
    assert collected.numbers("a") == list(range(PICTURES))
    times = [result.time for result in collected.results["a"]]
    assert times[-1] - times[0] == pytest.approx(jump_s, abs=60)
    assert all(0 <= result.age_ms < 60_000 for result in collected.results["a"])
