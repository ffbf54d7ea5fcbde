"""Files as cameras: at their own pace or as fast as possible, closed by any thread at any moment."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.clock.system import SystemClock
from framepace.errors import SourceError
from framepace.testing import FakeClock
from framepace.units import NS_PER_MS, NS_PER_S
from framepace.video.paced import PacedFile, PictureFolder


@dataclass
class Picture:
    """A picture with its time, s."""

    time: float


class File:
    """Pictures at these times; reading it after it was closed is an error, as it is in PyAV (a crash)."""

    def __init__(self, *times: float, left_out: int = 0) -> None:
        self._times = list(times)
        self.left_out = left_out
        self.closed = False
        self.notes: list[str] = []

    def read(self) -> Picture | None:
        """The next picture."""
        assert not self.closed
        return Picture(self._times.pop(0)) if self._times else None

    def close(self) -> None:
        """Once."""
        self.closed = True


def test_pictures_come_when_the_file_shows_them() -> None:
    """Uneven times; where it begins again, the gap is the one before; at its end there is None."""
    clock = FakeClock()
    source = PacedFile("x", clock, lambda: File(5.0, 5.1, 5.4, 0.0, 0.1), is_paced=True)
    times = []
    while source.read() is not None:
        times.append(clock.now() // NS_PER_MS)
    assert times == [0, 100, 400, 700, 800]


def test_how_far_behind_it_is_counts_pictures_that_were_left_out() -> None:
    """One is read a second late; then 299 at 25 per second are left out: a gap of 12 s, and no new beginning."""
    clock = FakeClock()
    file = File(0.0, 0.04, 12.04, 0.0)
    source = PacedFile("x", clock, lambda: file, is_paced=True)
    source.read()
    clock.sleep_until(1040 * NS_PER_MS)
    source.read()
    assert source.behind == NS_PER_S
    clock.sleep_until(14_040 * NS_PER_MS)
    file.left_out = 299
    source.read()
    assert source.behind == 2 * NS_PER_S
    file.left_out = 9  # at the end of the file, which begins again
    source.read()
    assert source.behind == 2 * NS_PER_S - 400 * NS_PER_MS


def test_a_file_that_is_read_as_fast_as_possible_waits_for_nothing() -> None:
    """No time passes."""
    clock = FakeClock()
    source = PacedFile("x", clock, lambda: File(5.0, 6.0), is_paced=False)
    assert [source.read() is None for _ in range(3)] == [False, False, True]
    assert clock.now() == 0


def test_a_file_that_cannot_be_opened_is_tried_again() -> None:
    """After 1 and 2 s; meanwhile it is lost, and says why."""
    clock = FakeClock()
    states: list[tuple[str, str]] = []

    def opens() -> File:
        states.append((source.state, source.why))
        if len(states) < 3:
            raise SourceError("no disk")
        return File(0.0)

    source = PacedFile("x", clock, opens, is_paced=True)
    assert source.read() is not None
    assert states == [("connecting", ""), ("lost", "no disk"), ("lost", "no disk")]
    assert (source.state, clock.now()) == ("live", 3 * NS_PER_S)


def test_what_is_wrong_with_a_file_is_told_but_not_that_its_rate_varies() -> None:
    """It has its own times here, whatever they are."""
    file = File(0.0, 1.0)
    source = PacedFile("x", FakeClock(), lambda: file, is_paced=False)
    assert source.remarks == []
    source.read()
    file.notes += ["its rate varies: 33 and 100 ms between pictures", "damaged after 1 frames: Invalid data"]
    source.close()
    assert source.remarks == ["damaged after 1 frames: Invalid data"]


def picture(path: Path, codec: str, pixels: str, level: int = 100) -> None:
    """A file with a picture of one level."""
    encoder: Any = av.CodecContext.create(codec, "w")
    encoder.width = encoder.height = 32
    encoder.pix_fmt = pixels
    encoder.time_base = Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), level, np.uint8), format="rgb24").reformat(format=pixels)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)]))


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        ("bmp", "bmp", "bgr24"),
        ("exr", "exr", "gbrpf32le"),
        ("jp2", "jpeg2000", "rgb24"),
        ("JPG", "mjpeg", "yuvj420p"),
        ("pgm", "pgm", "gray"),
        ("png", "png", "rgb48be"),
        ("ppm", "ppm", "rgb24"),
        ("tiff", "tiff", "rgb24"),
        ("webp", "libwebp", "yuv420p"),
    ],
)
def test_a_folder_reads_pictures_of_every_common_format(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    """Each by what is in it; '%d' in a name is no pattern for others."""
    picture(tmp_path / f"a%d.{suffix}", codec, pixels)
    picture(tmp_path / f"a1.{suffix}", codec, pixels, 200)
    folder = PictureFolder(tmp_path, loop=False)
    levels = [int(one.to_ndarray(format="gray").mean()) for one in iter(folder.read, None)]
    assert levels == pytest.approx([100, 200], abs=4)
    assert folder.notes == []


def test_files_of_a_folder_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    """An empty one and text as a picture, each once although it loops; folders, hidden files and texts are none."""
    picture(tmp_path / "b.png", "png", "rgb24")
    (tmp_path / "a.png").touch()
    (tmp_path / "c.jpg").write_text("no picture" * 100)
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / ".b.png").write_text("of another system")
    (tmp_path / "d.png").mkdir()
    folder = PictureFolder(tmp_path, loop=True)
    assert all(folder.read() is not None for _ in range(5))
    assert len(folder.notes) == 1
    assert folder.notes[0].startswith("files that could not be read: 2, the first a.png: the video is empty")


def test_what_was_closed_between_two_reads_is_not_read() -> None:
    """Another thread closes the file while its reader is elsewhere: the next read is its end."""
    file = File(*range(100))
    source = PacedFile("x", SystemClock(), lambda: file, is_paced=False)
    assert source.read() is not None
    source.close()
    assert file.closed
    assert source.read() is None


def test_closing_it_at_any_moment_ends_its_reader() -> None:
    """Forty readers, each closed while it reads, waits or is between both."""
    for _ in range(40):
        file = File(*(number / 1000 for number in range(2000)))
        source = PacedFile("x", SystemClock(), lambda file=file: file, is_paced=True)  # type: ignore[misc]
        errors: list[BaseException] = []
        reader = threading.Thread(target=_exhaust, args=(source, errors))
        reader.start()
        source.close()
        reader.join(10)
        assert not reader.is_alive()
        assert not errors


def _exhaust(source: PacedFile, errors: list[Any]) -> None:
    try:
        while source.read() is not None:
            pass
    except BaseException as error:
        errors.append(error)
