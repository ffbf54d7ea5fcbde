"""A file's own times: read, played again and again, and said where they are uneven; pictures that are narrowed too."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import framepace
from framepace.cli.options import parse_load
from framepace.errors import SourceError, UsageError
from framepace.facts.workload import FileTimes, Stop
from framepace.feeds.runstate import RunState
from framepace.measure.load import Repeated
from framepace.testing import FakeClock
from framepace.video.file import VideoFile
from framepace.video.frametimes import frame_times

UNEVEN = [0, 20, 40, 60, 560, 580]  # ms


def video(path: Path, times_ms: list[int], pix_fmt: str = "yuv420p", transfer: int = 0) -> str:
    """A small video whose pictures are shown at these times."""
    import av

    with av.open(str(path), "w") as container:
        codec = "mpeg4" if pix_fmt == "yuv420p" else "ffv1"
        stream: Any = container.add_stream(codec, rate=50)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pix_fmt
        stream.codec_context.time_base = Fraction(1, 1000)
        if transfer:
            stream.codec_context.color_trc = transfer
        for time in times_ms:
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return str(path)


def test_the_times_of_a_file_are_those_it_was_written_with(tmp_path: Path) -> None:
    """In ns after the first; the next round begins a usual gap after the last."""
    times, length = frame_times(video(tmp_path / "v.mp4", UNEVEN))
    assert (times / 1e6).round(1).tolist() == UNEVEN
    assert round(length / 1e6) == 600


def test_times_repeat_with_the_file() -> None:
    """Frame 7 of three is the second of the third round."""
    arrivals = Repeated(np.array([0, 10, 30]), 40, 1000)
    state = RunState(FakeClock())
    assert [arrivals.due(number, state) for number in range(8)] == [1000, 1010, 1030, 1040, 1050, 1070, 1080, 1090]


def test_frames_are_due_when_the_file_shows_them(tmp_path: Path) -> None:
    """The rows of a run are as far apart as the pictures; nobody gives a rate."""
    location = video(tmp_path / "v.mp4", UNEVEN)
    null = {"backend": "null"}
    trace = framepace.bench("null", videos=[location], fps=None, load=FileTimes(), stop=Stop(count=4), settings=null)
    due = np.sort(np.unique(np.asarray(trace.requests["due"])))
    assert ((due - due[0]) / 1e6).round(1).tolist()[: len(UNEVEN)] == UNEVEN[: len(due)]
    assert any("its rate varies" in note for note in trace.meta.notes)


def test_what_has_no_times_is_refused_with_what_works() -> None:
    """A moving pattern and an address have none; 'file:30' is none of the loads."""
    with pytest.raises(SourceError, match="--fps"):
        frame_times("synthetic")
    with pytest.raises(SourceError, match="--video"):
        frame_times("rtsp://camera/1")
    assert parse_load("file") == FileTimes()
    with pytest.raises(UsageError, match="too many numbers"):
        parse_load("file:30")


def test_an_even_file_says_nothing(tmp_path: Path) -> None:
    """Nor does one that starts again."""
    source = VideoFile(video(tmp_path / "v.mp4", [0, 20, 40, 60, 80]))
    for _ in range(12):
        source.read()
    assert source.notes == []
    source.close()


@pytest.mark.parametrize(("transfer", "said"), [(0, "10 bits per channel are narrowed"), (16, "HDR (PQ)")])
def test_pictures_that_preparation_narrows_are_said(tmp_path: Path, transfer: int, said: str) -> None:
    """More than eight bits, and high dynamic range."""
    source = VideoFile(video(tmp_path / "v.mkv", [0, 20], "yuv420p10le", transfer))
    source.read()
    assert any(said in note for note in source.notes)
    source.close()
