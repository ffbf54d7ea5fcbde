"""A file that begins in the middle: with the picture that is asked for, whatever its codec and its index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.video.file import VideoFile
from framepace.video.paced import PictureFolder
from tests.running.videos import video

_PICTURES = 200


def _prints(file: Any, limit: int = _PICTURES) -> list[int]:
    """A number of each of the next pictures that tells it from the others."""
    prints: list[int] = []
    while len(prints) < limit and (picture := file.read()) is not None:
        prints.append(hash(picture.to_ndarray(format="gray8").tobytes()))
    file.close()
    return prints


@pytest.mark.parametrize("first", [1, 60, 61, 199])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
def test_the_first_picture_is_the_one_that_was_asked_for(tmp_path: Path, suffix: str, first: int) -> None:
    """And all after it follow, whether there is an index or not, B-frames included."""
    path = video(tmp_path / f"v.{suffix}", pictures=_PICTURES, size=(64, 220), bf="2")
    wanted = _prints(VideoFile(path, loop=False))
    assert len(set(wanted)) == _PICTURES
    file = VideoFile(path, loop=False)
    file.pass_over(first)
    assert _prints(file) == wanted[first:]
    assert not [note for note in file.notes if "truncated" in note]


def test_a_looped_file_begins_where_it_would_be(tmp_path: Path) -> None:
    """After two rounds and five pictures."""
    path = video(tmp_path / "v.mp4", pictures=70)
    wanted = _prints(VideoFile(path, loop=False))
    file = VideoFile(path)
    file.pass_over(2 * 70 + 5)
    assert _prints(file, 70) == wanted[5:] + wanted[:5]


def test_a_file_that_is_over_gives_nothing(tmp_path: Path) -> None:
    """What was read to its end elsewhere has ended."""
    file = VideoFile(video(tmp_path / "v.mp4", pictures=70), loop=False)
    file.pass_over(70)
    assert file.read() is None
    file.close()


def test_a_folder_goes_on_with_its_next_picture(tmp_path: Path) -> None:
    """Folders are read over."""
    for number in range(4):
        image = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 60 * number, np.uint8), format="rgb24")
        image.save(str(tmp_path / f"{number}.png"))
    whole = _prints(PictureFolder(tmp_path, loop=False))
    folder = PictureFolder(tmp_path, loop=False)
    folder.pass_over(3)
    assert _prints(folder) == whole[3:]
