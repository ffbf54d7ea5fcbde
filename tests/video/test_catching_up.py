"""Files that leave pictures out before they are decoded, while their source is behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.video.choice import Choice
from framepace.video.file import VideoFile

FPS, GROUP, COUNT = 25, 10, 60


class Counting(Choice):
    """Counts what was left out."""

    def __init__(self) -> None:
        self.count = 0

    def lost(self) -> None:
        """See Choice."""
        self.count += 1


def video(path: Path, codec: str, **options: str) -> str:
    """Sixty pictures that move, a key frame for each ten."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=FPS, options=options)
        stream.width, stream.height, stream.gop_size = 64, 48, GROUP
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(COUNT):
            picture = np.full((48, 64, 3), 4 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return str(path)


def numbers(file: VideoFile, count: int) -> list[int | None]:
    """The numbers of the next pictures, by their times; None at the end."""
    pictures = [file.read() for _ in range(count)]
    return [None if picture is None else round(picture.time * FPS) for picture in pictures]


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"bf": "0", "sc_threshold": "0"}),
        ("libx264", {"bf": "2", "sc_threshold": "0"}),
        ("mpeg4", {}),
    ],
)
def test_while_it_catches_up_key_frames_alone_are_decoded(tmp_path: Path, codec: str, options: dict[str, str]) -> None:
    """But for those that the decoder had; then all from the next one on. Each one that is left out is counted."""
    choice = Counting()
    file = VideoFile(video(tmp_path / "v.mp4", codec, **options), loop=False, choice=choice)
    assert numbers(file, 3) == [0, 1, 2]
    choice.catches_up = True
    seen = numbers(file, 4)
    assert {number for number in seen if number is not None and number >= GROUP} <= {10, 20, 30, 40}
    choice.catches_up = False
    seen += numbers(file, COUNT)
    decoded = [number for number in seen if number is not None]
    assert decoded[-10:] == list(range(50, 60))
    assert decoded == sorted(decoded)
    assert 3 + len(decoded) + choice.count == COUNT
    assert not [note for note in file.notes if "truncated" in note]
    file.close()


def test_of_a_file_of_key_frames_one_of_eight_is_decoded(tmp_path: Path) -> None:
    """There is nothing else by which to see how far behind it is."""
    choice = Counting()
    file = VideoFile(video(tmp_path / "v.avi", "mjpeg"), loop=False, choice=choice)
    file.read()
    choice.catches_up = True
    assert numbers(file, 3) == [8, 16, 24]
    assert (choice.count, file.left_out) == (21, 7)
    file.close()
