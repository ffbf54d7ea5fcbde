"""Cameras for `bench/run_peers.py`: one H.264 stream, numbered in its pictures, at many RTSP addresses.

    python3 peers_cameras.py UNITS FPS EPOCH         with the Python of GStreamer

UNITS is a file of access units, each behind its length (4 bytes, little endian), with a key frame per second. Unit n is
sent to everyone at EPOCH + n / FPS on the monotonic clock, again and again from the first on; to a new client from the
next key frame on. Prints the port; ends with standard input.
"""

import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

CAMERAS = 64
LAUNCH = (
    "( appsrc name=units is-live=true format=time do-timestamp=true max-buffers=60 leaky-type=downstream "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au ! h264parse ! rtph264pay name=pay0 pt=96 "
    "config-interval=-1 )"
)


def units_of(path: Path) -> list[bytes]:
    """The access units of a file."""
    data = path.read_bytes()
    units = []
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        units.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    return units


class Sender:
    """Gives every picture to all clients that are connected, when it is due."""

    def __init__(self, units: list[bytes], fps: float, epoch: float) -> None:
        self._units = units
        self._fps = fps
        self._epoch = epoch
        self._sources: dict[Any, bool] = {}  # whether each has had the first unit
        self._lock = threading.Lock()

    def add(self, _: Any, media: Any) -> None:
        """A client's pipeline was made."""
        source = media.get_element().get_by_name("units")
        media.connect("unprepared", lambda _: self._remove(source))
        with self._lock:
            self._sources[source] = False

    def _remove(self, source: Any) -> None:
        with self._lock:
            self._sources.pop(source, None)

    def run(self) -> None:
        """Send for ever."""
        number = max(0, int((time.monotonic() - self._epoch) * self._fps))
        while True:
            time.sleep(max(0.0, self._epoch + number / self._fps - time.monotonic()))
            self._send(number % len(self._units))
            number += 1

    def _send(self, place: int) -> None:
        with self._lock:
            sources = list(self._sources.items())
        for source, has_begun in sources:
            if has_begun or place % round(self._fps) == 0:
                with self._lock:
                    self._sources[source] = True
                source.emit("push-buffer", Gst.Buffer.new_wrapped(self._units[place]))


def main() -> None:
    """Serve."""
    Gst.init(None)
    sender = Sender(units_of(Path(sys.argv[1])), float(sys.argv[2]), float(sys.argv[3]))
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    server.get_thread_pool().set_max_threads(CAMERAS)
    for camera in range(CAMERAS):
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(LAUNCH)
        factory.connect("media-configure", sender.add)
        server.get_mount_points().add_factory(f"/camera-{camera}", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    threading.Thread(target=sender.run, daemon=True).start()
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


main()
