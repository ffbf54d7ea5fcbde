"""Loads: due times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.clock.system import SystemClock
from framepace.facts.workload import Burst, Closed, Delay, OpenLoad, Paced, Poisson, Stop, Warmup
from framepace.feeds.runstate import RunState
from framepace.measure.load import Feedback, Open, Recorded, arrivals, offsets
from framepace.measure.stoprules import Enough, Steady


def state() -> RunState:
    """A run that never stops by itself."""
    return RunState(SystemClock(), Steady(Warmup(seconds_max=0)), Enough(Stop()))


@given(st.integers(0, 5000), st.integers(1, 50), st.floats(1, 1000), st.integers(0, 9))
@settings(max_examples=50)
def test_any_chunk_of_an_open_load_gives_the_same_times(first: int, count: int, fps: float, seed: int) -> None:
    """Due times depend on load, seed and number alone, so chunks can be computed ahead."""
    loads: list[OpenLoad] = [Paced(fps=fps), Paced(fps=fps, jitter=0.3), Poisson(fps=fps), Burst(fps=fps, size=4)]
    for load in loads:
        whole = offsets(load, 0, first + count, seed)
        assert np.array_equal(offsets(load, first, count, seed), whole[first:])


@pytest.mark.parametrize("load", [Paced(fps=50), Paced(fps=50, jitter=0.5), Poisson(fps=50), Burst(fps=50, size=10)])
def test_an_open_load_keeps_its_mean_rate(load: OpenLoad) -> None:
    """20,000 frames at 50 fps take 400 s, within 3 % for the random ones."""
    times = offsets(load, 0, 20_000, seed=1)
    assert times[-1] / 1e9 == pytest.approx(400, rel=0.03)


def test_a_paced_grid_does_not_drift() -> None:
    """Frame n of 30 fps is due at n/30 s to the nanosecond, after a million frames too."""
    assert offsets(Paced(fps=30), 1_000_000, 1)[0] == pytest.approx(1_000_000 * 1e9 / 30, abs=8)


def test_poisson_gaps_are_exponential() -> None:
    """Their standard deviation equals their mean."""
    gaps = np.diff(offsets(Poisson(fps=100), 0, 20_000))
    assert gaps.std() / gaps.mean() == pytest.approx(1, rel=0.05)


def test_a_closed_loop_follows_its_deliveries() -> None:
    """With two in flight, frame n is due when delivery n-2 came; with a delay, that much later."""
    run = state()
    loop = Feedback(start=10, concurrency=2)
    assert [loop.due(n, run) for n in range(2)] == [10, 10]
    run.delivered(5, 100)
    run.delivered(5, 130)
    assert [loop.due(n, run) for n in (2, 3)] == [100, 130]
    assert Feedback(start=10, delay=7).due(1, run) == 107


def test_a_closed_loop_of_batches_waits_for_whole_batches() -> None:
    """With batches of three, frames 3-5 are due when delivery 2, the last of the first batch, came."""
    run = state()
    for now in (100, 101, 102):
        run.delivered(5, now)
    loop = Feedback(start=10, width=3)
    assert [loop.due(n, run) for n in range(6)] == [10, 10, 10, 102, 102, 102]


def test_a_closed_loop_ends_with_its_run() -> None:
    """Waiting for a delivery that never comes ends when the run is stopped."""
    run = state()
    run.stop("interrupted")
    assert Feedback(start=10).due(1, run) is None


def test_ctrl_c_counts_after_the_end_of_a_run_too() -> None:
    """The first reason to stop stays, but whoever presses Ctrl-C while a run ends wants nothing after it."""
    over = RunState(SystemClock(), Steady(Warmup(seconds_max=0)), Enough(Stop(count=1)))
    over.delivered(5, 100)
    over.delivered(5, 200)
    reasons = [over.stopped]
    over.stop("failed")
    reasons.append(over.stopped)
    over.stop("interrupted")
    reasons.append(over.stopped)
    assert reasons == ["finished", "finished", "interrupted"]
    lost = state()
    lost.stop("device lost")
    lost.stop("interrupted")
    assert lost.stopped == "device lost"


def test_sources_of_an_open_load_are_out_of_phase_and_of_a_closed_loop_share_it() -> None:
    """Two cameras at 30 fps give two grids; two sources of a closed loop take its frames in turn."""
    run = state()
    first, second = arrivals(Paced(fps=30), 0, sources=2, seed=3)
    due = [part.due(0, run) for part in (first, second)]
    assert due[0] == 0
    assert due[1] is not None
    assert 0 < due[1] < 1e9 / 30
    for now in (100, 200):
        run.delivered(1, now)
    shared = arrivals(Closed(), 0, sources=2)
    assert [shared[0].due(1, run), shared[1].due(0, run)] == [200, 100]
    assert arrivals(Delay(delay_ms=1), 0)[0].bulk


def test_a_replay_repeats_the_gaps_and_ends() -> None:
    """Recorded due times move to the start and stop after the last."""
    replay = Recorded(np.array([50, 20, 90]), start=1000)
    assert [replay.due(n, state()) for n in range(4)] == [1000, 1030, 1070, None]
    assert Open(Paced(fps=10), 5).due(0, state()) == 5


def test_cameras_out_of_phase_are_due_in_the_order_of_their_numbers() -> None:
    """Of eight cameras the frames of a period are due one after the other, the first of them at once."""
    lanes = arrivals(Paced(fps=10), 1000, sources=8, seed=3)
    dues = [lane.due(0, state()) or 0 for lane in lanes]
    assert dues == sorted(dues)
    assert dues[0] == 1000
    assert dues[-1] < 1000 + 100_000_000
