"""A live camera for bench/reports.py: an MPEG-TS stream of 30 fps on a port of this machine, from its beginning for
every reader.

    python report_camera.py PORT SECONDS
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from io import RawIOBase
from typing import Any

import av
import numpy as np

_RATE = 30
_HEIGHT = 240
_WIDTH = 320


class _Pieces(RawIOBase):
    """A file that keeps what is written to it, for whoever asks next."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Keep it."""
        self._written.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """What was written since the last call."""
        piece = b"".join(self._written)
        self._written.clear()
        return piece


def pieces(seconds: float) -> list[bytes]:
    """The stream, picture by picture."""
    file = _Pieces()
    made = []
    with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        stream: Any = container.add_stream("mpeg4", rate=_RATE)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for number in range(round(_RATE * seconds)):
            frame = av.VideoFrame.from_ndarray(np.full((_HEIGHT, _WIDTH, 3), number % 255, np.uint8), "rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
            made.append(file.taken())
    return made


def _play(connection: socket.socket, stream: list[bytes]) -> None:
    """Send each picture when it is due; a reader that is late makes the socket fill, as a camera's does."""
    began = time.monotonic()
    with connection:
        for number, piece in enumerate(stream):
            time.sleep(max(0.0, began + number / _RATE - time.monotonic()))
            try:
                connection.sendall(piece)
            except OSError:
                return


def main() -> None:
    """Serve until the process is ended."""
    stream = pieces(float(sys.argv[2]))
    with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as server:
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            threading.Thread(target=_play, args=(connection, stream), daemon=True).start()


if __name__ == "__main__":
    main()
