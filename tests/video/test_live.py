"""Live streams, from a server on the loopback: what breaks is mended, and nothing hangs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase, BytesIO
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from framepace.clock.system import SystemClock
from framepace.errors import SourceError
from framepace.testing import FakeClock
from framepace.units import NS_PER_S
from framepace.video.choice import Choice, LeavesOut
from framepace.video.live import LiveStream, open_container
from framepace.video.source import decode_all

FRAMES = 30
QUICK = (2.0, 0.3)
Answer = Callable[[int, BufferedIOBase], object]


def broadcast(codec: str = "mpeg4", kind: str = "mpegts", still: bool = False) -> bytes:
    """A second of noise as a transport stream: every frame costs bytes, so half the bytes are about half the frames."""
    rng, file = np.random.default_rng(0), BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream: Any = container.add_stream(codec, rate=FRAMES)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = (
            64,
            48,
            "yuvj420p" if codec == "mjpeg" else "yuv420p",
            5,
        )
        image = rng.integers(0, 256, (48, 64, 3), np.uint8)
        for _ in range(FRAMES):
            if not still:
                image = rng.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


@contextmanager
def camera(answer: Answer) -> Iterator[tuple[str, list[int]]]:
    """A server whose n-th connection is given to `answer(n, file)`; yields its address and the connections so far."""
    calls: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            calls.append(len(calls))
            self.send_response(200)
            self.end_headers()
            answer(calls[-1], self.wfile)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/camera", calls
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silent_server(sent: bytes | None) -> Iterator[int]:
    """A port that takes connections, sends `sent` (None: a byte now and then), and no more; yields its number."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            connections = []
            while not over.is_set():
                with suppress(OSError):
                    connections.append(server.accept()[0])
                    connections[-1].sendall(sent or b"")
                for connection in connections:
                    with suppress(OSError):
                        connection.sendall(b"" if sent is not None else b"G")
            for connection in connections:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def exhaust(stream: LiveStream) -> None:
    """Read until there is no more."""
    while stream.read() is not None:
        pass


def whole(_: int, file: BufferedIOBase) -> None:
    """Every connection brings the whole broadcast, then ends."""
    file.write(broadcast())


def test_a_stream_that_ends_is_opened_again_after_a_second() -> None:
    """After the last picture comes the first of a new connection; a second of the clock has passed; a note says so."""
    clock = FakeClock()
    with camera(whole) as (address, calls):
        stream = LiveStream(address, clock)
        pictures = [stream.read() for _ in range(FRAMES + 1)]
        stream.close()
    assert all(picture is not None for picture in pictures)
    assert len(calls) == 2
    assert clock.now() == NS_PER_S
    assert len(stream.notes) == 1
    assert stream.notes[0].startswith("reconnections: 1, the last because ")


def test_the_waits_double_until_a_picture_comes() -> None:
    """Connections that bring nothing are tried after 1, 2, 4 and 8 s; pictures start the waits from the beginning."""
    clock = FakeClock()
    with camera(lambda n, file: None if n in (1, 2, 3) else whole(n, file)) as (address, calls):
        stream = LiveStream(address, clock)
        for _ in range(FRAMES + 1):
            stream.read()
        assert (clock.now(), len(calls)) == (15 * NS_PER_S, 5)
        for _ in range(FRAMES):
            stream.read()
        assert clock.now() == 16 * NS_PER_S
        stream.close()


def test_the_wait_never_exceeds_half_a_minute() -> None:
    """Nine refusals wait 1 + 2 + 4 + 8 + 16 s and then 30 s each."""
    clock = FakeClock()
    with camera(lambda n, file: None if 1 <= n <= 8 else whole(n, file)) as (address, _):
        stream = LiveStream(address, clock)
        for _ in range(FRAMES + 1):
            stream.read()
        stream.close()
    assert clock.now() == (31 + 4 * 30) * NS_PER_S


def test_a_stream_that_hangs_is_a_stream_that_broke() -> None:
    """A server that stops in the middle and keeps the connection open is left after the timeout."""
    over = threading.Event()

    def stall(n: int, file: BufferedIOBase) -> None:
        data = broadcast()
        file.write(data if n else data[: len(data) // 2])
        file.flush()
        over.wait(10) if n == 0 else None

    with camera(stall) as (address, calls):
        stream = LiveStream(address, FakeClock(), QUICK)
        pictures = [stream.read() for _ in range(FRAMES)]
        stream.close()
        over.set()
    assert all(picture is not None for picture in pictures)
    assert len(calls) == 2
    assert stream.notes[0] == "reconnections: 1, the last because no data came for 0.3 s"


def test_a_read_that_waits_ends_when_another_thread_closes_the_stream() -> None:
    """`close` during a read is safe: the read returns None and the process lives."""
    over, dry = threading.Event(), threading.Event()
    got: list[Any] = []

    def stall(_: int, file: BufferedIOBase) -> None:
        file.write(broadcast())
        file.flush()
        over.wait(10)

    def drain(stream: LiveStream) -> None:
        while (picture := stream.read()) is not None:
            got.append(picture)
            if len(got) == FRAMES // 2:
                dry.set()

    with camera(stall) as (address, _):
        stream = LiveStream(address, FakeClock(), QUICK)
        reader = threading.Thread(target=drain, args=(stream,))
        reader.start()
        assert dry.wait(10)
        stream.close()
        reader.join(timeout=10)
        over.set()
    assert not reader.is_alive()
    assert stream.read() is None


def test_damage_costs_pictures_and_not_the_connection() -> None:
    """Bytes lost on the way are no reason to connect again: reading goes on behind them."""

    def damaged(_: int, file: BufferedIOBase) -> None:
        data = bytearray(broadcast())
        data[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
        file.write(data)

    with camera(damaged) as (address, calls):
        stream = LiveStream(address, FakeClock())
        read = 0
        while len(calls) == 1:
            stream.read()
            read += 1
        stream.close()
    assert FRAMES // 2 <= read < FRAMES


def test_a_packet_that_cannot_be_decoded_is_skipped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The note counts it, and the next packet is read."""

    class Broken:
        stream_index = 0

        def decode(self) -> list[Any]:
            raise av.error.InvalidDataError(1094995529, "Invalid data")

    with camera(whole) as (address, _):
        stream = LiveStream(address, FakeClock())
        packets = stream._packets
        monkeypatch.setattr(stream, "_packets", iter([Broken(), next(packets), next(packets)]))
        assert stream.read() is not None
        stream.close()
    assert stream.notes == stream.remarks == ["damaged packets skipped: 1"]


def test_a_camera_that_never_sends_a_picture_is_a_sentence() -> None:
    """Connected, streams known, then silence: the first read ends with the deadline and says what was missing."""
    over = threading.Event()

    def header(_: int, file: BufferedIOBase) -> None:
        file.write(broadcast()[: 188 * 12])
        file.flush()
        over.wait(10)

    with camera(header) as (address, calls):
        began = time.monotonic()
        with pytest.raises(SourceError, match=r"gives no picture|cannot be opened|no video in it") as error:
            LiveStream(address, FakeClock(), QUICK).read()
        over.set()
    assert address in str(error.value.got)
    assert time.monotonic() - began < 10
    assert len(calls) == 1


def test_patience_ends_a_camera_that_does_not_come_back() -> None:
    """With patience a read ends with an error; without it, it goes on until the stream is closed."""
    with camera(lambda n, file: whole(n, file) if n == 0 else None) as (address, _):
        stream = LiveStream(address, SystemClock(), QUICK, patience_s=1.5)
        for _ in range(FRAMES // 2):
            stream.read()
        with pytest.raises(SourceError, match="gives no more pictures") as error:
            exhaust(stream)
    assert stream.name in str(error.value.got)


def test_a_silent_camera_is_in_the_notes_while_it_is_silent() -> None:
    """Whoever asks learns for how long there was no picture."""
    over = threading.Event()

    def stall(_: int, file: BufferedIOBase) -> None:
        file.write(broadcast())
        file.flush()
        over.wait(10)

    with camera(stall) as (address, _):
        stream = LiveStream(address, SystemClock(), (2.0, 4.0))
        reader = threading.Thread(target=lambda: [stream.read() for _ in range(FRAMES + 1)])
        reader.start()
        deadline = time.monotonic() + 8
        while not stream.notes and time.monotonic() < deadline:
            time.sleep(0.1)
        notes = stream.notes
        stream.close()
        over.set()
        reader.join(10)
    assert not reader.is_alive()
    assert notes[0].startswith("no picture came in the last ")


class _Counted(Choice):
    """Wants every second picture of those that it is asked about."""

    def __init__(self, leaves_out: LeavesOut) -> None:
        self.leaves_out = leaves_out
        self.asked = 0
        self.left_out_keys: list[bool] = []

    def wants(self) -> bool:
        """See Choice."""
        self.asked += 1
        return self.asked % 2 == 0

    def left_out(self, is_key: bool) -> None:
        """See Choice."""
        self.left_out_keys.append(is_key)


def test_key_frames_alone_are_decoded_where_no_more_are_wanted() -> None:
    """A key frame every five pictures: after the first picture, every second key frame."""
    choice = _Counted("NONKEY")
    with camera(lambda _, file: file.write(broadcast(still=True))) as (address, _):
        stream = LiveStream(address, FakeClock(), choice=choice)
        pictures = [stream.read() for _ in range(3)]
        stream.close()
    assert all(picture.key_frame for picture in pictures[1:])
    assert round((pictures[2].time - pictures[1].time) * FRAMES) == 10
    assert choice.left_out_keys.count(True) == 2


def test_pictures_that_refer_to_no_other_are_chosen_before_they_are_decoded() -> None:
    """JPEG: every second picture is decoded, the others are told."""
    choice = _Counted("NONE")
    with camera(lambda _, file: file.write(broadcast("mjpeg", "matroska"))) as (address, _):
        stream = LiveStream(address, FakeClock(), choice=choice)
        pictures = [stream.read() for _ in range(10)]
        stream.close()
    gaps = {round((other.time - one.time) * FRAMES) for one, other in pairwise(pictures)}
    assert gaps == {2}
    assert len(choice.left_out_keys) == 9


@pytest.mark.parametrize(
    "address", ["pipe://0", "concat://a|b", "file+tcp://x", "subfile,,start,0,end,9,,://x", "fd://3"]
)
def test_an_address_of_this_machines_own_files_is_no_stream(address: str) -> None:
    """Refused before FFmpeg opens anything: an address may come from somebody else's plan."""
    with pytest.raises(SourceError, match="of no stream"):
        LiveStream(address, FakeClock(), QUICK)


@pytest.mark.parametrize("scheme", ["http", "rtsp", "rtmp", "tcp", "udp"])
@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Ty", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n", None])
def test_a_server_that_never_finishes_its_answer_is_left_in_time(scheme: str, sent: bytes | None) -> None:
    """Silent, with half a header, or with a byte now and then (None): the deadline to open holds for the whole."""
    with silent_server(sent) as port:
        began = time.monotonic()
        with pytest.raises(SourceError, match="cannot be opened") as error:
            LiveStream(f"{scheme}://127.0.0.1:{port}/x", FakeClock(), (0.5, 0.5))
        assert time.monotonic() - began < 5
    assert "no answer in 0.5 s" in str(error.value.got)


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:9/none", "http://127.0.0.1:9/", "carrier-pigeon://roof"])
def test_a_camera_that_does_not_answer_is_a_sentence(address: str) -> None:
    """A refused connection and an unknown protocol name the address and say what to do."""
    with pytest.raises(SourceError, match="cannot be opened") as error:
        LiveStream(address, FakeClock(), QUICK)
    assert address in str(error.value.got)
    assert error.value.fix


def test_a_name_that_is_not_resolved_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg cannot be interrupted while it asks for one; a connection that comes after all is closed again."""
    answers = threading.Event()
    closed = threading.Event()

    def opened(*_: object, **__: object) -> Any:
        answers.wait(30)
        return SimpleNamespace(close=closed.set)

    monkeypatch.setattr(av, "open", opened)
    with pytest.raises(SourceError, match="cannot be opened") as error:
        open_container("rtsp://anna:geheim@camera.example/x", {}, (0.1, 0.1))
    assert "geheim" not in str(error.value)
    answers.set()
    assert closed.wait(30)


def test_a_page_that_is_no_video_is_a_sentence() -> None:
    """A server that answers with text is told from one that does not answer."""
    page = b"<html>log in</html>" * 50
    with camera(lambda _, file: file.write(page)) as (address, _), pytest.raises(SourceError) as error:
        LiveStream(address, FakeClock(), QUICK)
    assert address in str(error.value.got)


def test_a_password_stays_out_of_messages_and_names() -> None:
    """What is printed, or written into a trace, shows the user's name only."""
    with pytest.raises(SourceError) as error:
        LiveStream("rtsp://me:secret@127.0.0.1:9/x", FakeClock(), QUICK)
    assert "secret" not in str(error.value)
    assert "//***@127.0.0.1" in str(error.value)


@pytest.mark.long
def test_pictures_of_a_stream_that_falls_silent_are_those_that_came() -> None:
    """Some pictures are wanted, not so many that a silent camera holds everything up."""
    over = threading.Event()

    def stall(_: int, file: BufferedIOBase) -> None:
        file.write(broadcast())
        file.flush()
        over.wait(60)

    with camera(stall) as (address, calls):
        pictures = decode_all(address, 100 * FRAMES)
        over.set()
    assert FRAMES // 2 <= len(pictures) <= FRAMES
    assert len(calls) == 1
