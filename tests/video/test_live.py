"""Live streams, from a server on the loopback: what breaks is mended, and nothing hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase, BytesIO
from typing import Any

import av
import numpy as np
import pytest

from framepace.errors import SourceError
from framepace.testing import FakeClock
from framepace.units import NS_PER_S
from framepace.video.live import LiveStream

FRAMES = 30
QUICK = (2.0, 0.3)
Answer = Callable[[int, BufferedIOBase], object]


def broadcast() -> bytes:
    """A second of noise as a transport stream: every frame costs bytes, so half the bytes are about half the frames."""
    rng, file = np.random.default_rng(0), BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        stream: Any = container.add_stream("mpeg4", rate=FRAMES)
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", 5
        for _ in range(FRAMES):
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
        def decode(self) -> list[Any]:
            raise av.error.InvalidDataError(1094995529, "Invalid data")

    with camera(whole) as (address, _):
        stream = LiveStream(address, FakeClock())
        packets = stream._packets
        monkeypatch.setattr(stream, "_packets", iter([Broken(), next(packets), next(packets)]))
        assert stream.read() is not None
        stream.close()
    assert stream.notes == ["damaged packets skipped: 1"]


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:9/none", "http://127.0.0.1:9/", "carrier-pigeon://roof"])
def test_a_camera_that_does_not_answer_is_a_sentence(address: str) -> None:
    """A refused connection and an unknown protocol name the address and say what to do."""
    with pytest.raises(SourceError, match="cannot be opened") as error:
        LiveStream(address, FakeClock(), QUICK)
    assert address in str(error.value.got)
    assert error.value.fix


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
    assert "me:***@127.0.0.1" in str(error.value)
