"""Turns at decoding: how many threads have one at once, and what is done within."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from framepace.video import file as videofile
from framepace.video.decodingturns import DecodingTurns
from framepace.video.file import VideoFile
from framepace.video.source import synthetic_video


def test_so_many_threads_have_a_turn_and_no_more() -> None:
    """Two of eight meet inside, and never a third; all come through."""
    turns = DecodingTurns(2)
    pair = threading.Barrier(2)
    inside: list[int] = []
    most: list[int] = []

    def decode(number: int) -> None:
        with turns:
            inside.append(number)
            pair.wait(10)
            most.append(len(inside))
            pair.wait(10)
            inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(8)))
    assert most == [2] * 8


@pytest.mark.parametrize("slice_s", [0, 0.0005, 60])
def test_no_turn_is_lost(slice_s: float) -> None:
    """Threads that come and go all have their turns, and nobody is left in the line."""
    turns = DecodingTurns(2, patience_s=100, slice_s=slice_s)
    done: list[int] = []

    def decode(number: int) -> None:
        for _ in range(100):
            with turns:
                done.append(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, range(8)))
    assert (len(done), turns.inside, turns.waiting) == (800, 0, 0)


def test_a_forked_process_has_all_turns() -> None:
    """However many threads of its parent were decoding."""
    turns = DecodingTurns(1)
    turns.__enter__()
    turns.renew()
    with turns:
        pass


def test_whoever_waited_longest_is_next() -> None:
    """A thread that wants another turn at once is behind all that wait, or the others would never have one."""
    turns = DecodingTurns(1, slice_s=0)
    order: list[int] = []

    def decode(number: int) -> None:
        with turns:
            order.append(number)

    with ThreadPoolExecutor(3) as pool:
        with turns:
            for number in range(3):
                pool.submit(decode, number)
                _wait_for(partial(_waits, turns, number + 1))
        decode(3)
    assert order == [0, 1, 2, 3]


def test_a_thread_goes_on_within_its_slice() -> None:
    """And those in the line have their turn when it waits for something else."""
    turns = DecodingTurns(1, slice_s=60)
    ended = threading.Event()
    order: list[int] = []

    def decode(number: int) -> None:
        with turns:
            order.append(number)

    def decode_twice() -> None:
        decode(1)
        decode(2)
        ended.wait(60)

    with ThreadPoolExecutor(2) as pool:
        with turns:
            gained = pool.submit(decode_twice)
            _wait_for(partial(_waits, turns, 1))
            later = pool.submit(decode, 3)
            _wait_for(partial(_waits, turns, 2))
        later.result(60)
        ended.set()
        gained.result(60)
    assert sorted(order) == [1, 2, 3]


def test_a_decoder_that_hangs_stops_no_other() -> None:
    """Whoever waited long enough has its turn, and gives it back; that of a decoder which returns late is no turn."""
    turns = DecodingTurns(1, patience_s=0.01)
    returns = threading.Event()

    def hang() -> None:
        with turns:
            returns.wait(60)

    with ThreadPoolExecutor(1) as pool:
        hung = pool.submit(hang)
        _wait_for(lambda: turns.inside == 1)
        with turns:
            assert turns.inside == 1
        assert turns.inside == 0
        with turns:
            returns.set()
            hung.result(60)
            assert turns.inside == 1


def _waits(turns: DecodingTurns, count: int) -> bool:
    return turns.waiting == count


def _wait_for(is_so: Callable[[], bool]) -> None:
    while not is_so():
        threading.Event().wait(0.001)


class _Noting(DecodingTurns):
    """Counts how often a turn was taken."""

    taken = 0

    def __enter__(self) -> None:
        self.taken += 1
        super().__enter__()


@pytest.mark.parametrize(("gpu", "expected"), [(None, True), (0, False)])
def test_the_host_decodes_in_turn(
    gpu: int | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And waits for no turn where a GPU decodes."""
    path = tmp_path / "v.mp4"
    path.write_bytes(synthetic_video((48, 64)))
    turns = _Noting(1)
    monkeypatch.setattr(videofile, "decoding_turn", turns)
    monkeypatch.setattr(videofile, "decoder_options", lambda gpu: {})
    monkeypatch.setattr(videofile, "fallen_back", lambda stream, frame: None)
    video = VideoFile(str(path), loop=False, gpu=gpu)
    assert video.read() is not None
    video.close()
    assert bool(turns.taken) == expected
