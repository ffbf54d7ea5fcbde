"""How trials in a program share the time: blocks of one run, whole runs."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from framepace.programtrials.schedule import FirstRun, block_run, holds_blocks, in_turn, run_seconds

CAMERA = FirstRun(seconds=30.0, starting=2.0, period=0.04, by_itself=False)
SHORT = FirstRun(seconds=5.0, starting=1.0, period=0.02, by_itself=True)


def test_blocks_are_half_a_second_or_15_frames() -> None:
    """50 fps, 25 fps, and 5 fps; never longer than 8 s."""
    assert FirstRun(30.0, 2.0, 0.02, False).block_s == 0.5
    assert CAMERA.block_s == pytest.approx(0.6)
    assert FirstRun(30.0, 2.0, 0.2, False).block_s == 3.0
    assert FirstRun(300.0, 2.0, 2.0, False).block_s == 8.0


@pytest.mark.parametrize(("settings", "fit"), [(3, True), (4, False)])
def test_a_run_of_four_seconds_holds_two_rounds_of_three_settings(settings: int, fit: bool) -> None:
    """A block takes half a second, and a round one of each and one of the program as it is."""
    assert holds_blocks(SHORT, settings) == fit
    assert holds_blocks(CAMERA, 50)
    assert math.isinf(CAMERA.running)


def test_a_run_in_blocks_has_the_rounds_that_are_wanted_or_fit_and_one_that_is_not_whole() -> None:
    """Two settings: 16 rounds of 1.8 s in 90 s; half the time where runs follow. However long it takes to start."""
    wanted = block_run(CAMERA, 2, 16, 90.0, runs_after=False)
    assert wanted is not None
    assert wanted.seconds == pytest.approx(17 * 1.8)
    less = block_run(CAMERA, 2, 16, 30.0, runs_after=True)
    assert less is not None
    assert less.seconds == pytest.approx(8 * 1.8)
    assert block_run(replace(CAMERA, starting=300.0), 2, 16, 90.0, runs_after=False) == wanted


def test_without_time_for_four_rounds_there_is_no_run_in_blocks() -> None:
    """But for fewer that are still wanted there may be."""
    assert block_run(CAMERA, 2, 16, 8.0, runs_after=False) is None
    assert block_run(CAMERA, 2, 2, 8.0, runs_after=False) is not None


def test_a_program_without_an_end_is_ended_so_that_four_rounds_fit() -> None:
    """Beside its start, and never shorter than four blocks; one that ends by itself is left alone."""
    assert run_seconds(CAMERA, 2, 90.0) == 4.0
    assert run_seconds(CAMERA, 2, 15.0) == pytest.approx(4 * 0.6)
    assert run_seconds(CAMERA, 1, 1000.0) == 28.0
    assert run_seconds(SHORT, 1, 90.0) is None


def test_every_second_round_goes_backwards() -> None:
    """As it is first, then last."""
    assert [in_turn("abc", number) for number in range(2)] == [["a", "b", "c"], ["c", "b", "a"]]
