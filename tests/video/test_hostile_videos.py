"""Videos that are none, or say that they are absurdly large: sentences, soon and without memory."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.errors import SourceError
from framepace.video import file as videofile
from framepace.video.file import VideoFile
from framepace.video.source import open_source, synthetic_video
from tests.doubles.descriptors import exhausted_descriptors


def encoded(container_format: str, codec: str, pixels: str) -> bytes:
    """Ten small pictures."""
    buffer = BytesIO()
    with av.open(buffer, "w", format=container_format) as container:
        stream: Any = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for level in range(10):
            image = np.full((48, 64, 3), 20 * level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def sound() -> bytes:
    """A file without pictures."""
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 48000
            frame.pts = number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def jpeg_of(width: int, height: int) -> bytes:
    """Motion JPEG whose pictures say that they are of another size than their container."""
    data = bytearray(encoded("avi", "mjpeg", "yuvj420p"))
    place = data.find(b"\xff\xc0")
    while place >= 0:
        data[place + 5 : place + 9] = struct.pack(">HH", height, width)
        place = data.find(b"\xff\xc0", place + 2)
    return bytes(data)


def raw_of(width: int, height: int) -> bytes:
    """Raw pictures in an AVI that says they are of this size."""
    data = bytearray(encoded("avi", "rawvideo", "yuv420p"))
    place = data.find(b"strf")
    data[place + 12 : place + 20] = struct.pack("<ii", width, height)
    return bytes(data)


HOSTILE: dict[str, Callable[[], bytes]] = {
    "empty.mp4": bytes,
    "zeros.mp4": lambda: bytes(100_000),
    "truncated.mp4": lambda: synthetic_video((48, 64))[:2000],
    "sound.mp4": sound,
    "text.mp4": lambda: b"no video\n" * 1000,
    "text.txt": lambda: b"no video\n" * 1000,
    "subtitles.srt": lambda: b"1\n00:00:01,000 --> 00:00:02,000\nhi\n",
    "huge.y4m": lambda: b"YUV4MPEG2 W100000 H100000 F30:1 Ip A1:1 C420\nFRAME\n" + bytes(1000),
    "large.y4m": lambda: b"YUV4MPEG2 W16000 H16000 F30:1 Ip A1:1 C420\nFRAME\n" + bytes(1000),
    "none.y4m": lambda: b"YUV4MPEG2 W64 H48 F30:1 Ip A1:1 C420\n",
    "huge.avi": lambda: jpeg_of(65000, 65000),
    "large.avi": lambda: jpeg_of(16000, 16000),
    "raw.avi": lambda: raw_of(15000, 15000),
    "rawer.avi": lambda: raw_of(60000, 60000),
    "pipe.ffconcat": lambda: b"ffconcat version 1.0\nfile pipe\n",
    "zero.ffconcat": lambda: b"ffconcat version 1.0\nfile /dev/zero\n",
    "live.m3u8": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\npipe.ts\n",
    "away.m3u8": lambda: b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    "port.sdp": lambda: b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
}
READ = """
import resource, sys
from framepace.errors import SourceError
from framepace.video.source import open_source
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for name in sys.argv[1:]:
    try:
        open_source(name).read()
        print("read", name)
    except SourceError as error:
        print("refused", error.what)
"""


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a%d.jpg", "a.png"])
def test_a_picture_is_read_by_what_is_in_it(tmp_path: Path, name: str) -> None:
    """By its name FFmpeg takes a JPEG for a pattern of files: its neighbours must not be read in its place."""
    (tmp_path / name).write_bytes(encoded("mjpeg", "mjpeg", "yuvj420p"))
    (tmp_path / "a1.jpg").write_bytes(encoded("mjpeg", "mjpeg", "yuvj420p")[:100])
    picture = VideoFile(str(tmp_path / name), loop=False).read()
    assert (picture.width, picture.height) == (64, 48)


@pytest.mark.parametrize("name", ["live.m3u8", "pipe.ffconcat", "port.sdp"])
def test_a_list_of_files_says_what_to_name_instead(tmp_path: Path, name: str) -> None:
    """What it names is not opened, and no player would find anything wrong with it."""
    (tmp_path / name).write_bytes(HOSTILE[name]())
    with pytest.raises(SourceError) as error:
        VideoFile(str(tmp_path / name))
    assert "name one of them" in str(error.value.fix)


def test_hostile_files_are_sentences_within_a_gigabyte(tmp_path: Path) -> None:
    """Each is refused, by one process whose address space is a gigabyte, in seconds."""
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.ts")
    for name, make in HOSTILE.items():
        (tmp_path / name).write_bytes(make())
    command = [sys.executable, "-c", READ, *HOSTILE]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr[-2000:]
    outcomes = dict(zip(HOSTILE, run.stdout.splitlines(), strict=True))
    assert {name: outcome for name, outcome in outcomes.items() if not outcome.startswith("refused")} == {}


@pytest.mark.parametrize(
    ("location", "says"),
    [
        ("/dev/zero", "must be a file, not a device"),
        ("x" * 5000, "no such video"),
        ("a\0b", "no such video"),
        (".", "must be a file, not a folder"),
        ("concat:a|b", "no such video"),
        ("pipe:0", "no such video"),
    ],
)
def test_what_is_no_file_is_a_sentence(location: str, says: str) -> None:
    """By its kind, before FFmpeg sees it."""
    with pytest.raises(SourceError, match=says) as error:
        open_source(location)
    assert len(str(error.value)) < 1000


def test_a_pipe_without_a_writer_is_refused(tmp_path: Path) -> None:
    """Also as file://."""
    os.mkfifo(tmp_path / "pipe.mp4")
    for prefix in ("", "file://"):
        with pytest.raises(SourceError, match="not a pipe"):
            open_source(f"{prefix}{tmp_path}/pipe.mp4")


def test_a_name_with_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would take what is before the colon for a protocol."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "subfile:1.mp4").write_bytes(synthetic_video((48, 64)))
    source = open_source("subfile:1.mp4")
    assert source.read() is not None
    source.close()


def test_too_many_open_files_are_not_a_damaged_video(tmp_path: Path) -> None:
    """The sentence says what there was too much of."""
    path = tmp_path / "v.mp4"
    path.write_bytes(synthetic_video((48, 64)))
    open_source(str(path)).close()  # what is imported for it is open now
    with exhausted_descriptors(), pytest.raises(SourceError) as error:
        open_source(str(path))
    assert "too many files are open" in error.value.what


def test_memory_that_is_short_is_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocation that fails while decoding is an error, and no note that the file is damaged."""
    path = tmp_path / "v.mp4"
    path.write_bytes(synthetic_video((48, 64)))

    class Container:
        def __init__(self, location: str, **options: Any) -> None:
            self._inner = opened(location, **options)
            self.streams = self._inner.streams

        def demux(self, *streams: Any) -> Any:
            raise av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")

        def close(self) -> None:
            self._inner.close()

    opened = av.open
    monkeypatch.setattr(av, "open", Container)
    with pytest.raises(SourceError, match="does not fit into memory"):
        VideoFile(str(path))


def test_a_file_system_that_does_not_answer_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening is given up after the deadline, with a sentence."""
    release = threading.Event()
    monkeypatch.setattr(videofile, "OPEN_S", 0.2)
    monkeypatch.setattr(av, "open", lambda *given, **options: release.wait(20))
    (tmp_path / "v.mp4").write_bytes(b"1")
    with pytest.raises(SourceError, match="does not open"):
        VideoFile(str(tmp_path / "v.mp4"))
    release.set()


@pytest.mark.parametrize("size", [(99999, 99999), (16, 65536), (10**9, 10**9)])
def test_synthetic_frames_of_absurd_size_are_refused(size: tuple[int, int]) -> None:
    """Before they are made."""
    with pytest.raises(SourceError, match="too large"):
        open_source("synthetic", size=size)
