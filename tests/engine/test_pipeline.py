"""The pipeline and its feeds in virtual time: every stamp is exact."""

from __future__ import annotations

import numpy as np
import pytest

from framepace.engine.pipeline import Pipeline
from framepace.engine.step import Finish
from framepace.facts.plan import EnginePlan
from framepace.facts.trace import Column, DropCause, Mark, Outcome
from framepace.facts.workload import Closed, Delay, Load, Paced
from framepace.feeds.arrivals import Interleaved
from framepace.feeds.batchrules import BatchRule
from framepace.feeds.inline import InlineFeed
from framepace.feeds.pacer import Pacer
from framepace.feeds.runstate import RunState
from framepace.measure.load import arrivals
from framepace.testing import FakeClock
from tests.doubles.engine import MS, Rows, ScriptedWorker, run_of, run_state, step


class Numbers:
    """A source whose pictures are 0, 1, 2, ... and take `read_ns` each; it ends after `last`."""

    live = False

    def __init__(self, clock: FakeClock, read_ns: int = 0, last: int = 10**9) -> None:
        self.clock, self.read_ns, self.count, self.last = clock, read_ns, 0, last

    def read(self) -> int | None:
        """The next number."""
        self.clock.spin_until(self.clock.now() + self.read_ns)
        self.count += 1
        return None if self.count > self.last else self.count - 1


class Run:
    """One worker over an inline feed in virtual time."""

    def __init__(self, load: Load, count: int, *durations: int, batch: int = 1, window: int = 0, read_ns: int = 0):
        self.clock = FakeClock(start=1000)
        self.worker = ScriptedWorker(self.clock, durations)
        self.state: RunState = run_state(count)
        self.rows = Rows()
        self.engine = EnginePlan(wait="hybrid", spin_us=100)
        self.batch, self.window, self.read_ns, self.load = batch, window, read_ns, load
        self.last = 10**9

    def go(self, prepare_ns: int = 0, finish: Finish | None = None, models: int = 1) -> dict[str, Column]:
        """Run to the end and give the columns."""
        pacer = Pacer(self.engine, self.clock, self.state)
        parts = Interleaved(arrivals(self.load, 1000, width=self.batch))
        source = Numbers(self.clock, self.read_ns, self.last)
        feed = InlineFeed([source], parts, BatchRule(self.batch, self.window), pacer)
        steps = [
            step(self.worker, index=i, batch=self.batch, clock=self.clock, prepare_ns=prepare_ns) for i in range(models)
        ]
        pipeline = Pipeline(steps, self.clock, run_of(self.state, self.rows, finish))
        while (frames := feed.take(None)) is not None:
            pipeline.process(frames)
        return self.rows.columns


def test_stamps_follow_the_way_of_a_frame_exactly() -> None:
    """Decode 1 ms, prepare 2 ms, infer 3 ms, finish 4 ms at 50 fps: each stage has exactly its time."""
    run = Run(Paced(fps=50), 5, 3 * MS, read_ns=MS)
    r = run.go(prepare_ns=2 * MS, finish=lambda *_: run.clock.spin_until(run.clock.now() + 4 * MS))
    assert np.all(r["captured"] == r["due"])
    assert np.all(r["decoded"] - r["captured"] == MS)
    assert np.all(r["started"] - r["batched"] == 2 * MS)
    assert np.all(r["finished"] - r["started"] == 3 * MS)
    assert np.all(r["delivered"] - r["finished"] == 4 * MS)
    assert np.all(np.diff(r["due"]) == 20 * MS)


def test_latency_counts_from_due_when_the_loop_is_late() -> None:
    """After an inference of 50 ms at 50 fps the next frames are late: their latency includes the wait."""
    run = Run(Paced(fps=50), 6, 50 * MS, 5 * MS)
    r = run.go()
    latency = r["delivered"] - r["due"]
    assert latency[:5].tolist() == [50 * MS, 35 * MS, 20 * MS, 5 * MS, 5 * MS]
    assert (r["available"] - r["due"])[1:3].tolist() == [30 * MS, 15 * MS]


def test_a_late_timer_shows_as_wake_up_not_as_work() -> None:
    """A system that oversleeps by 1 ms beyond the spin delays capture, and nothing else."""
    run = Run(Paced(fps=50), 4, MS)
    run.clock.oversleep = MS
    r = run.go()
    assert np.all((r["captured"] - r["due"])[1:] == MS - 100_000)
    assert np.all(r["finished"] - r["started"] == MS)


def test_a_failed_inference_is_a_row_and_the_run_goes_on() -> None:
    """The third of six fails: six rows, one failed with its cause."""
    r = Run(Closed(), 5, MS, MS, -1, MS).go()
    assert r["outcome"].tolist() == [Outcome.OK, Outcome.OK, Outcome.FAILED, *[Outcome.OK] * 3]
    assert r["cause"][2] == DropCause.BACKEND


def test_a_failing_hook_is_told_from_a_failing_backend() -> None:
    """An exception in the finish hook fails the row with the cause 'hook'."""

    def hook(*_: object) -> None:
        raise ValueError("user code")

    assert set(Run(Closed(), 3, MS).go(finish=hook)["cause"].tolist()) == {DropCause.HOOK}


def test_the_largest_numbers_are_finite() -> None:
    """Outputs whose squares are too large for their type are no reason to doubt them."""
    run = Run(Closed(), 3, MS)
    run.worker._output = float(np.finfo(np.float32).max)
    assert not (run.go()["marks"] & Mark.NAN).any()


@pytest.mark.parametrize("output", [float("nan"), float("inf"), -float("inf")])
def test_outputs_that_are_not_finite_are_marked(output: float) -> None:
    """NaN and infinity mark the row; it is kept and counts as delivered."""
    run = Run(Closed(), 3, MS)
    run.worker._output = output
    r = run.go()
    assert np.all(r["marks"] & Mark.NAN)
    assert np.all(r["outcome"] == Outcome.OK)


def test_warm_up_rows_are_kept_and_marked() -> None:
    """The frames before the level is steady carry the warm-up mark; the count is of the frames after it."""
    run = Run(Closed(), 20, *[10 * MS - i * 100_000 for i in range(60)], 4 * MS)
    run.state = run_state(20, warmup=100.0)
    warm = (run.go()["marks"] & Mark.WARMUP) > 0
    assert warm[:60].all()
    assert (~warm).sum() == 20


def test_a_fixed_delay_waits_after_each_delivery() -> None:
    """Inference 3 ms and delay 20 ms: due times are 23 ms apart."""
    assert np.all(np.diff(Run(Delay(delay_ms=20), 5, 3 * MS).go()["due"]) == 23 * MS)


def test_batches_of_a_closed_loop_are_full() -> None:
    """Batch 4 back to back: every inference has four frames that were due together."""
    run = Run(Closed(), 11, MS, batch=4)
    r = run.go()
    assert set(r["batch_size"].tolist()) == {4}
    assert run.worker.seen == list(range(len(run.worker.seen)))


def test_a_window_gathers_frames_that_come_within_it() -> None:
    """At 100 fps a window of 25 ms gathers three frames and closes 25 ms after the first was due."""
    run = Run(Paced(fps=100), 8, MS, batch=8, window=25 * MS)
    r = run.go()
    first = r["batch_id"] == 0
    assert first.sum() == 3
    assert (r["batched"][first] - r["due"][0] == 25 * MS).all()


def test_frames_that_are_due_join_without_waiting() -> None:
    """With no window a worker that was busy for 45 ms at 100 fps takes the four frames that are due together."""
    run = Run(Paced(fps=100), 9, 45 * MS, MS, batch=8)
    r = run.go()
    assert r["batch_size"][r["batch_id"] == 1].tolist() == [4] * 4


def test_several_models_share_a_frame_and_give_a_row_each() -> None:
    """Two models of 3 ms: the second starts when the first is done, both rows have the frame's due time."""
    r = Run(Paced(fps=50), 4, 3 * MS).go(models=2)
    assert r["model"].tolist()[:4] == [0, 1, 0, 1]
    assert (r["delivered"] - r["due"]).tolist()[:2] == [3 * MS, 6 * MS]


def test_a_source_that_ends_ends_the_run() -> None:
    """Five pictures give five rows."""
    run = Run(Paced(fps=50), 100, MS)
    run.last = 5
    assert len(run.go()["due"]) == 5
    assert run.state.stopped == "source ended"


def test_the_last_beat_ends_shortly_before_the_frame_and_never_after_it() -> None:
    """Beats of 2 ms, the first of a gap twice as long: the last ends a tenth of a ms before the frame is due."""
    clock = FakeClock()
    pacer = Pacer(EnginePlan(heartbeat_ms=4.0, wait="spin"), clock, run_state(1000))
    ended: list[int] = []

    def beat() -> None:
        clock.spin_until(clock.now() + (4 if not ended else 2) * MS)
        ended.append(clock.now())

    for number in range(1, 20):
        due = number * 50_000_000
        ended.clear()
        assert pacer.until(due, beat)
        assert clock.now() == due
        assert due - ended[-1] == 100_000 or number < 3
        assert len(ended) >= 5


def test_the_heartbeat_runs_the_model_in_the_gap_and_records_nothing() -> None:
    """A beat every 5 ms in a gap of 20 ms adds inferences, not rows, and frames still start on time."""
    run = Run(Paced(fps=50), 4, MS)
    run.engine = EnginePlan(heartbeat_ms=5.0)
    pacer = Pacer(run.engine, run.clock, run.state)
    feed = InlineFeed([Numbers(run.clock)], Interleaved(arrivals(run.load, 1000)), BatchRule(1), pacer)
    pipeline = Pipeline([step(run.worker)], run.clock, run_of(run.state, run.rows))
    while (frames := feed.take(pipeline.beat)) is not None:
        pipeline.process(frames)
    r = run.rows.columns
    assert len(run.worker.counts) > 2 * len(r["due"])
    assert np.all(r["captured"] == r["due"])


@pytest.mark.parametrize("wait", ["sleep", "hybrid", "spin"])
def test_waiting_costs_the_cpu_time_its_policy_says(wait: str) -> None:
    """Spinning burns the whole gap, hybrid its last stretch, sleeping nothing."""
    run = Run(Paced(fps=50), 4, 0)
    run.engine = EnginePlan(wait=wait, spin_us=100)  # type: ignore[arg-type]
    run.go()
    burnt = run.clock.cpu()
    gaps = run.state.measured
    assert burnt == {"sleep": 0, "hybrid": gaps * 100_000, "spin": gaps * 20 * MS}[wait]
