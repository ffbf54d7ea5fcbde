"""Cameras of the soak, in a process of their own: H.264 in MPEG-TS over HTTP, each at its own pace and clock.

Prints its port; then reads commands: 'lose NAME SECONDS' ends what a camera sends, and refuses it for so long.
A camera is `http://127.0.0.1:PORT/NAME?ppm=N`: its clock runs N millionths too slow, as those of real cameras do, so
its timestamps fall behind this machine's time, or run ahead of it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import numpy as np

FPS = 25
_SIZE = (320, 180)
_SECONDS = 8  # of the scene, which comes again
_TICKS = 90_000  # per second, of MPEG-TS
_RATE = 2_000_000  # bits per second: empty packets fill it up, as encoders of constant rate do
_BUFFER = 1316  # bytes; seven packets of MPEG-TS, so that no frame waits for the next ones


@dataclass
class Cameras:
    """The scene, and which cameras are lost until when (monotonic seconds)."""

    began: float
    scene: bytes
    lost: dict[str, float]

    def is_lost(self, name: str) -> bool:
        """Whether a camera sends nothing now."""
        return time.monotonic() < self.lost.get(name, 0.0)


def scene() -> bytes:
    """A moving pattern as H.264, a key frame per second and no frame that looks ahead."""
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "tune": "zerolatency"})
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = FPS
        for number in range(_SECONDS * FPS):
            container.mux(stream.encode(_picture(number)))
        container.mux(stream.encode(None))
    return file.getvalue()


def _picture(number: int) -> av.VideoFrame:
    width, height = _SIZE
    x = np.arange(width)[None, :] + 3 * number
    y = np.arange(height)[:, None]
    pattern = ((x // 20 + y // 20) % 2 * 160 + 40).astype(np.uint8)
    return av.VideoFrame.from_ndarray(np.repeat(pattern[:, :, None], 3, axis=2), format="rgb24")


class _Handler(BaseHTTPRequestHandler):
    cameras: Cameras

    def do_GET(self) -> None:
        """Send pictures until the camera is lost or nobody reads any more."""
        parts = urlsplit(self.path)
        name = parts.path.strip("/")
        if self.cameras.is_lost(name):
            self.send_error(503)
            return
        self.send_response(200)
        self.send_header("content-type", "video/mp2t")
        self.end_headers()
        pace = 1 + float(parse_qs(parts.query).get("ppm", ["0"])[0]) / 1e6
        try:
            self._send(name, pace)
        except (OSError, av.error.FFmpegError):
            return

    def _send(self, name: str, pace: float) -> None:
        with av.open(BytesIO(self.cameras.scene), "r") as scene:
            template = scene.streams.video[0]
            packets = [packet for packet in scene.demux(template) if packet.size]
            options = {"flush_packets": "1", "muxrate": str(_RATE)}
            with av.open(self.wfile, "w", format="mpegts", buffer_size=_BUFFER, options=options) as out:
                stream = out.add_stream_from_template(template)
                for number in self._numbers(name, pace):
                    out.mux(_stamped(packets[number % len(packets)], number, stream))

    def _numbers(self, name: str, pace: float) -> Iterator[int]:
        """The numbers of the pictures since the camera was switched on, from a key frame on, each when it is due."""
        began = self.cameras.began
        number = (int((time.monotonic() - began) * FPS / pace) // FPS + 1) * FPS
        while not self.cameras.is_lost(name):
            time.sleep(max(0.0, began + number / FPS * pace - time.monotonic()))
            yield number
            number += 1

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _stamped(packet: Any, number: int, stream: Any) -> Any:
    copy = av.Packet(bytes(packet))
    copy.is_keyframe = packet.is_keyframe
    copy.stream = stream
    copy.time_base = Fraction(1, _TICKS)
    copy.pts = copy.dts = number * _TICKS // FPS
    return copy


def main() -> None:
    """Serve until standard input ends."""
    cameras = Cameras(time.monotonic(), scene(), {})
    _Handler.cameras = cameras
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for line in sys.stdin:
        _, name, seconds = line.split()
        cameras.lost[name] = time.monotonic() + float(seconds)


if __name__ == "__main__":
    main()
