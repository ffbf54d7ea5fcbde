"""Sources: every frame of good files, and sentences for bad ones."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.errors import SourceError
from framepace.facts.plan import Prepare
from framepace.video.prepare import Preparer, as_rgb
from framepace.video.source import MemorySource, decode_all, open_source, synthetic_video


def count(source: Any, most: int = 10_000) -> int:
    """Pictures until the end."""
    n = 0
    while n < most and source.read() is not None:
        n += 1
    source.close()
    return n


def video(path: Path, width: int = 64, height: int = 48, frames: int = 12) -> Path:
    """A small video whose left half is white."""
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        image = np.zeros((height, width, 3), np.uint8)
        image[:, : width // 2] = 255
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.real
def test_every_frame_of_a_real_video_is_read(bigbuckbunny: Path, bikes: Path) -> None:
    """132 and 250 frames, once through."""
    assert count(open_source(str(bigbuckbunny), loop=False)) == 132
    assert count(open_source(str(bikes), loop=False)) == 250


@pytest.mark.real
def test_a_loop_starts_again_with_the_same_first_frame(bikes: Path) -> None:
    """Frame 250 of a looped 250-frame video is frame 0."""
    source = open_source(str(bikes), loop=True)
    frames = [as_rgb(source.read()) if n in (0, 250) else source.read() for n in range(251)]
    source.close()
    assert np.array_equal(frames[0], frames[250])


def test_synthetic_frames_are_decoded_like_a_video() -> None:
    """The same bytes for the same seed, and pictures of the size asked for."""
    assert synthetic_video((48, 64), 1) == synthetic_video((48, 64), 1)
    picture = open_source("synthetic", size=(48, 64)).read()
    assert (picture.height, picture.width) == (48, 64)


def test_pictures_held_in_memory_stop_at_the_limit() -> None:
    """decode_all takes what it is told, from the start."""
    assert len(decode_all("synthetic", 5, size=(48, 64))) == 5
    assert len(decode_all("synthetic", 500, size=(48, 64))) == 30


@pytest.mark.parametrize(("degrees", "white"), [(90, "top"), (180, "right"), (270, "bottom")])
def test_a_rotated_video_is_turned_upright(tmp_path: Path, degrees: int, white: str) -> None:
    """The display matrix of a phone's video is applied: the white left half goes where a player shows it."""
    path = video(tmp_path / "v.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes of other fields
    turns = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    a, b, c, d = (v * 65536 for v in turns)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    rgb = as_rgb(open_source(str(path)).read()).astype(float)
    height, width = rgb.shape[:2]
    halves = {"top": rgb[: height // 2], "bottom": rgb[height // 2 :], "right": rgb[:, width // 2 :]}
    assert (height > width) == (degrees != 180)
    assert halves[white].mean() > 200


def test_an_odd_size_is_read_as_it_is(tmp_path: Path) -> None:
    """A video of 101x57 has pictures of 101x57."""
    with av.open(str(tmp_path / "odd.mkv"), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 101, 57, "yuv444p"
        container.mux(stream.encode(av.VideoFrame(101, 57, "yuv444p")))
        container.mux(stream.encode())
    assert as_rgb(open_source(str(tmp_path / "odd.mkv")).read()).shape == (57, 101, 3)


@pytest.mark.real
def test_a_video_that_breaks_off_keeps_what_was_read(tmp_path: Path, bikes: Path) -> None:
    """Half of a file with its index at the front gives its frames, then ends with a note."""
    with av.open(str(bikes)) as source, av.open(str(tmp_path / "f.mp4"), "w", options={"movflags": "faststart"}) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    data = (tmp_path / "f.mp4").read_bytes()
    (tmp_path / "half.mp4").write_bytes(data[: len(data) // 2])
    half = open_source(str(tmp_path / "half.mp4"), loop=False)
    read = count(half)
    assert 50 < read < 250
    assert half.notes


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "sound"])
def test_what_is_no_video_is_a_sentence(tmp_path: Path, kind: str) -> None:
    """Each says what was got, and none is a traceback of another library."""
    path = tmp_path / "v.mp4"
    if kind == "folder":
        path.mkdir()
    elif kind in ("empty", "text"):
        path.write_text("" if kind == "empty" else "not a video " * 100)
    elif kind == "sound":
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate = 8000
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    with pytest.raises(SourceError) as error:
        open_source(str(path))
    assert error.value.got is not None


def test_pictures_in_memory_come_again_or_end() -> None:
    """A looped memory source starts over, another ends, and none can be empty."""
    pictures = [np.full((2, 2, 3), n, np.uint8) for n in range(3)]
    looped, once = MemorySource(pictures), MemorySource(pictures, loop=False)
    assert [int(looped.read()[0, 0, 0]) for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert count(once) == 3
    with pytest.raises(SourceError, match="no pictures"):
        MemorySource([])


def frames_of(path: Path, loops: int, frames: int) -> list[bytes]:
    """The luma of every picture of `loops` rounds."""
    source = open_source(str(path), loop=True)
    seen = [bytes(source.read().planes[0]) for _ in range(loops * frames)]
    source.close()
    return seen


@pytest.mark.real
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "h264"])
def test_every_round_of_a_loop_is_the_same_whatever_the_container(tmp_path: Path, bikes: Path, suffix: str) -> None:
    """Three rounds of a video with B-frames are alike, picture by picture, even where the container cannot seek."""
    path, formats = tmp_path / f"v.{suffix}", {"ts": "mpegts", "h264": "h264"}
    with av.open(str(bikes)) as source, av.open(str(path), "w", format=formats.get(suffix)) as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None and (packet.pts or 0) < 60 * (packet.duration or 1):
                packet.stream = stream
                out.mux(packet)
    frames = count(open_source(str(path), loop=False))
    assert frames > 50
    seen = frames_of(path, 3, frames)
    assert seen[:frames] == seen[frames : 2 * frames] == seen[2 * frames :]
    assert len(set(seen[:frames])) > 50


def test_a_turned_picture_keeps_the_format_of_the_decoder(tmp_path: Path) -> None:
    """Turning happens on the planes, so that preparation still resizes and converts in one pass."""
    path = video(tmp_path / "v.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    source = open_source(str(path))
    picture = source.read()
    source.close()
    assert (picture.format.name, picture.width, picture.height) == ("yuv420p", 48, 64)


@pytest.mark.parametrize("fmt", ["gray", "yuv420p10le", "yuv422p", "yuv444p"])
def test_other_formats_are_read_and_prepared(tmp_path: Path, fmt: str) -> None:
    """Grey, 10-bit and fuller chroma: a bright picture is bright in the model's input."""
    path = tmp_path / "v.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, fmt
        white = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 200, np.uint8), format="rgb24")
        container.mux(stream.encode(white.reformat(format=fmt)))
        container.mux(stream.encode())
    source, out = open_source(str(path)), np.zeros((3, 24, 32), np.float32)
    Preparer(Prepare(), (24, 32), "nchw", 3, "float32")(source.read(), out)
    source.close()
    assert np.abs(out - 200 / 255).max() < 2.01 / 255


def test_a_file_that_may_not_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permission denied is told from damage, with the command that helps."""

    def refuse(*_: object, **__: object) -> None:
        raise av.error.PermissionError(13, "Permission denied")

    path = video(tmp_path / "v.mp4")
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(SourceError, match="may not be read") as error:
        open_source(str(path))
    assert "chmod" in str(error.value.fix)


def test_an_index_that_is_missing_is_a_sentence(tmp_path: Path) -> None:
    """An mp4 that broke off before its index was written cannot be read, and the error says why."""
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(stream.encode())
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"moov")])
    with pytest.raises(SourceError, match="cannot be read") as error:
        open_source(str(path))
    assert "index" in str(error.value.fix)
