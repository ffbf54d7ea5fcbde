"""Turns at decoding: how many threads have one at once, and what is done within."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
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


def test_a_forked_process_has_all_turns() -> None:
    """However many threads of its parent were decoding."""
    turns = DecodingTurns(1)
    turns.__enter__()
    turns.renew()
    with turns:
        pass


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
