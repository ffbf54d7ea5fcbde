"""Annotated video to files, as HLS and to an RTSP server."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from framepace.clock.system import SystemClock
from framepace.errors import SinkError, SinkUnavailable
from framepace.facts.answers import Detections
from framepace.sinks.base import ResultSink
from framepace.sinks.named import queued_sink
from framepace.sinks.sinktext import parse
from framepace.sinks.video import Hls, RtspOut, VideoFile, file_name
from tests.doubles.services import free_port, rtsp_recorder
from tests.doubles.sinks import result

BOX = Detections(np.array([[40.0, 30, 120, 90]]), np.array([0.9]), np.array([0]), ("cat",))


def grey(height: int = 120, width: int = 160, level: int = 90) -> Any:
    """A grey picture."""
    return np.full((height, width, 3), level, np.uint8)


def write(sink: ResultSink, times: list[float], **fields: Any) -> None:
    """Write a grey picture with a box at each of the times."""
    for number, time in enumerate(times):
        sink.write([result(number, **{"time": time, "answers": {"d": BOX}, "picture": grey(), **fields})])


def pictures(path: Path) -> list[Any]:
    """The decoded pictures of a file."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def video_file(path: Path, options: str = "draw=own") -> VideoFile:
    """An open sink."""
    sink = VideoFile(parse(f"video:{path}#{options}", {}))
    sink.open()
    return sink


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_video_has_the_pictures_at_their_times(tmp_path: Path, suffix: str) -> None:
    """Dropped frames leave gaps as long as they were."""
    sink = video_file(tmp_path / f"out.{suffix}")
    times = [0.0, 0.04, 0.08, 0.48, 0.52, 3.0]
    write(sink, [1e9 + time for time in times])
    sink.close()
    decoded = pictures(tmp_path / f"out.{suffix}")
    got = [float(one.time - decoded[0].time) for one in decoded]
    assert got == pytest.approx(times, abs=0.002)


def test_answers_are_drawn(tmp_path: Path) -> None:
    """The outline of a box has its colour, what is inside stays as it was; 'draw=none' leaves the picture alone."""
    for draw in ("own", "none"):
        sink = video_file(tmp_path / f"{draw}.mp4", f"draw={draw},crf=0")
        write(sink, [1e9])
        sink.close()
    drawn, plain = (pictures(tmp_path / f"{draw}.mp4")[0].to_ndarray(format="rgb24") for draw in ("own", "none"))
    assert np.abs(plain.astype(int) - 90).max() <= 3
    assert drawn[60, 40].max() - drawn[60, 40].min() > 80
    assert np.abs(drawn[60, 80].astype(int) - 90).max() <= 3


def test_sinks_that_read_the_same_pictures_at_once_write_all_of_them(tmp_path: Path) -> None:
    """Decoded frames have one converter, which no two threads may use: each sink brings its own."""
    frames = [
        av.VideoFrame.from_ndarray(grey(360, 640, number), "rgb24").reformat(format="yuv420p") for number in range(60)
    ]
    texts = [f"video:{tmp_path}/{name}.mp4#draw=own,queue=100" for name in "ab"]
    sinks = [queued_sink(text, SystemClock(), {}) for text in texts]
    for sink in sinks:
        sink.start()
    for number, frame in enumerate(frames):
        for sink in sinks:
            sink.put(result(number, picture=frame, answers={"d": BOX}))
    assert [sink.close(limit_s=60).written for sink in sinks] == [60, 60]


def test_a_clock_that_jumps_leaves_no_hole_and_no_picture_out(tmp_path: Path) -> None:
    """Back by an hour, ahead by a day, twice the same: times rise, and no step is longer than 10 s."""
    sink = video_file(tmp_path / "out.mp4")
    write(sink, [1e9, 1e9 + 0.04, 1e9 - 3600, 1e9 - 3600, 1e9 + 86_400, 1e9 + 86_400.04])
    sink.close()
    times = [float(one.time) for one in pictures(tmp_path / "out.mp4")]
    assert len(times) == 6
    assert all(0 < after - before < 10 for before, after in pairwise(times))


def test_every_source_has_a_file_of_its_own(tmp_path: Path) -> None:
    """The first that comes has the name that was given; '{source}' in it stands for every source's."""
    sink = video_file(tmp_path / "out.mp4")
    for source in ("gate", "a/b", "gate", "yard"):
        write(sink, [1e9], source=source)
    sink.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["out.mp4", f"out-{file_name('a/b')}.mp4", "out-yard.mp4"]
    )
    sink = video_file(tmp_path / "{source}.mkv")
    write(sink, [1e9], source="gate")
    sink.close()
    assert len(pictures(tmp_path / "gate.mkv")) == 1
    assert len({file_name(name) for name in ("a/b", "a_b", "a?b", "../a", ".a")}) == 5
    assert not any("/" in file_name(name) or file_name(name).startswith(".") for name in ("../a", ".a"))


def test_pictures_of_another_size_are_scaled_and_odd_sides_cut(tmp_path: Path) -> None:
    """The first picture decides; a result without a picture is left out."""
    sink = video_file(tmp_path / "out.mp4")
    write(sink, [1e9], picture=grey(121, 161))
    write(sink, [1e9 + 1], picture=grey(480, 640))
    write(sink, [1e9 + 2], picture=None)
    sink.close()
    assert [(one.height, one.width) for one in pictures(tmp_path / "out.mp4")] == [(120, 160)] * 2


def test_a_killed_run_leaves_a_file_that_plays(tmp_path: Path) -> None:
    """What lies on the disk before the end is written holds all pictures but the last seconds'."""
    sink = video_file(tmp_path / "out.mp4")
    write(sink, [1e9 + number / 10 for number in range(100)])
    left = tmp_path / "killed.mp4"
    left.write_bytes((tmp_path / "out.mp4").read_bytes())
    sink.close()
    assert len(pictures(left)) >= 60
    assert len(pictures(tmp_path / "out.mp4")) == 100


def test_a_video_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A missing folder at the start; a disk that is full later, after which it goes on in another file."""
    with pytest.raises(SinkError, match="folder does not exist"):
        queued_sink(f"video:{tmp_path}/no/out.mp4", SystemClock(), {}).start()
    (tmp_path / "out.ts").symlink_to("/dev/full")
    sink = video_file(tmp_path / "out.ts")
    with pytest.raises(SinkUnavailable, match="No space left"):
        write(sink, [1e9 + number / 10 for number in range(1000)], picture=np.random.default_rng(0).integers(
            0, 255, (120, 160, 3), dtype=np.uint8))  # fmt: skip
    write(sink, [2e9])
    sink.close()
    assert len(pictures(tmp_path / "out-2.ts")) == 1


def test_attempts_on_a_full_disk_leave_no_empty_files(tmp_path: Path) -> None:
    """A process that may write no byte, as there, tries three times: nothing is there, and no name is spent."""
    program = f"""
import os, resource, signal
import numpy as np
from framepace.errors import SinkError
from tests.sinks.test_video import video_file, write
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
sink = video_file(Path("{tmp_path}/out.mkv"))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for attempt in range(3):
    try:
        write(sink, [1e9 + number / 10 for number in range(200)])
    except SinkError:
        print("refused", os.listdir("{tmp_path}"), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
write(sink, [2e9])
sink.close()
print(os.listdir("{tmp_path}"))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["refused []"] * 3 + ["['out.mkv']"], told.stderr


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".ts"])
def test_a_disk_that_is_full_from_the_start_ends_no_process(tmp_path: Path, suffix: str) -> None:
    """Not even the header fits: it is told as what may pass, again and again, and nothing reads freed memory."""
    path = tmp_path / f"video{suffix}"
    for number in range(3):
        path.unlink(missing_ok=True)
        path.symlink_to("/dev/full")
        sink = VideoFile(parse(f"video:{path}", {}))
        with pytest.raises(SinkUnavailable, match="now"):
            _written(sink, number)


def _written(sink: VideoFile, first: int) -> None:
    """Pictures, until one does not fit, and the end."""
    for number in range(first, first + 200):
        sink.write([result(number, picture=np.full((48, 64, 3), number % 256, np.uint8))])
    sink.close()


def test_hls_tells_of_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg does not; and of a folder that is gone."""
    sink = Hls(parse(f"hls:{tmp_path / 'live'}", {}))
    sink.open()
    picture = np.zeros((48, 64, 3), np.uint8)
    sink.write([result(picture=picture)])
    monkeypatch.setattr("framepace.sinks.video.os.statvfs", lambda _: SimpleNamespace(f_bavail=10, f_frsize=4096))
    with pytest.raises(SinkUnavailable, match="now"):
        sink.write([result(1, picture=picture)])
    monkeypatch.undo()
    sink.write([result(1, picture=picture)])
    sink.close()


def test_hls_is_a_play_list_of_short_segments(tmp_path: Path) -> None:
    """At 2 frames/s segments still begin every 2 s; old ones are removed, and the end is marked."""
    sink = Hls(parse(f"hls:{tmp_path}/live#draw=own", {}))
    sink.open()
    write(sink, [1e9 + number / 2 for number in range(60)])
    live = (tmp_path / "live" / "door.m3u8").read_text()
    assert "#EXT-X-ENDLIST" not in live
    assert live.count(".ts") == 6
    assert "#EXT-X-TARGETDURATION:2" in live
    assert len(list((tmp_path / "live").glob("*.ts"))) < 12
    sink.close()
    assert "#EXT-X-ENDLIST" in (tmp_path / "live" / "door.m3u8").read_text()
    assert len(pictures(tmp_path / "live" / "door.m3u8")) >= 20


def test_a_stream_is_published_to_an_rtsp_server() -> None:
    """GStreamer's server takes it and decodes pictures of the right size."""
    with rtsp_recorder() as (port, lines):
        sink = RtspOut(parse(f"rtsp://127.0.0.1:{port}/live#draw=own", {}))
        sink.open()
        write(sink, [1e9 + number / 1000 for number in range(60)])
        assert list(islice(lines, 20)) == ["160 120\n"] * 20
        sink.close()


def test_an_rtsp_server_that_does_not_take_a_stream_is_told_from_one_that_is_gone() -> None:
    """It answers 404; the sentence names the source, since those of others may be taken."""
    with rtsp_recorder() as (port, _):
        sink = RtspOut(parse(f"rtsp://127.0.0.1:{port}/nowhere#draw=own", {}))
        sink.open()
        with pytest.raises(SinkUnavailable, match="does not take the stream") as error:
            write(sink, [1e9])
        assert "door: Server returned 404" in str(error.value.got)
        sink.close()


def test_an_rtsp_server_that_is_gone_is_tried_again_and_its_password_not_shown() -> None:
    """The picture is offered again."""
    sink = RtspOut(parse(f"rtsp://anna:hunter2@127.0.0.1:{free_port()}/live#draw=own", {}))
    sink.open()
    with pytest.raises(SinkUnavailable, match="Connection refused") as error:
        write(sink, [1e9])
    assert "hunter2" not in str(error.value)
    sink.close()
