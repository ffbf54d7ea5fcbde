"""Transports beside RTSP, from real senders: RTMP from nginx, HLS and MPEG-TS over HTTP, MPEG-TS over UDP."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from framepace.facts.running import SourceSpec
from framepace.running.options import Options
from framepace.running.run import Run
from tests.doubles.services import free_port, service
from tests.running.rtsp import of, until
from tests.running.runs import assert_accounted, plan

FPS = 25
NGINX = """
load_module {module};
daemon off; master_process off; pid {folder}/pid; error_log stderr error;
events {{}}
http {{ access_log off; }}
rtmp {{ access_log off; server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}
"""


def send(address: Any, kind: str, over: threading.Event, options: dict[str, str] | None = None) -> None:
    """Encode a moving pattern at its own pace to an address or a file, until it is over."""
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    with av.open(address, "w", format=kind, options=options or {}) as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 120, 160, "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": str(FPS)}
        began = time.monotonic()
        number = 0
        while not over.wait(max(0.0, began + number / FPS - time.monotonic())):
            frame = av.VideoFrame.from_ndarray(np.roll(image, number, 1), format="rgb24")
            container.mux(stream.encode(frame))
            number += 1


def answers(port: int) -> None:
    """Wait until a server listens on a port."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the server never listened")


@contextmanager
def sending(address: str, kind: str, options: dict[str, str] | None = None) -> Iterator[None]:
    """A sender in a thread; what it raises when its listener goes is nobody's concern."""
    over = threading.Event()

    def work() -> None:
        with suppress(av.FFmpegError, OSError):
            send(address, kind, over, options)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(10)


@contextmanager
def hls(folder: Path) -> Iterator[str]:
    """A live playlist of segments of a second, over HTTP."""
    handler = partial(_Quiet, directory=str(folder))
    options = {"hls_time": "1", "hls_list_size": "5"}
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with sending(str(folder / "live.m3u8"), "hls", options):
            while not (folder / "live.m3u8").exists():
                time.sleep(0.05)
            yield f"http://127.0.0.1:{server.server_port}/live.m3u8"
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@contextmanager
def udp(folder: Path) -> Iterator[str]:
    """MPEG-TS in datagrams."""
    port = free_port()
    with sending(f"udp://127.0.0.1:{port}?pkt_size=1316", "mpegts"):
        yield f"udp://127.0.0.1:{port}"


class _Streamer(BaseHTTPRequestHandler):
    """Sends a transport stream to who asks, as cameras do, until the client leaves."""

    def do_GET(self) -> None:
        """Encode into the connection."""
        self.send_response(200)
        self.end_headers()
        with suppress(OSError, av.FFmpegError):
            send(self.wfile, "mpegts", threading.Event())

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@contextmanager
def http(folder: Path) -> Iterator[str]:
    """MPEG-TS by HTTP."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Streamer) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/live.ts"
        server.shutdown()


@contextmanager
def rtmp(folder: Path) -> Iterator[str]:
    """A stream that is published to an RTMP server, which hands it out."""
    root = Path(service("rtmp"))
    port = free_port()
    conf = folder / "nginx.conf"
    conf.write_text(NGINX.format(module=root / "lib/nginx/modules/ngx_rtmp_module.so", folder=folder, port=port))
    command = [str(root / "sbin/nginx"), "-p", str(folder), "-c", str(conf)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as server:
        address = f"rtmp://127.0.0.1:{port}/live/camera"
        try:
            answers(port)
            with sending(address, "flv"):
                yield address
        finally:
            server.kill()


@pytest.mark.long
@pytest.mark.parametrize("serve", [rtmp, hls, udp, http], ids=lambda serve: serve.__name__)
def test_a_stream_is_live_at_its_rate(serve: Callable[[Path], Any], tmp_path: Path) -> None:
    """Pictures of the right size come; every one is accounted for."""
    with serve(tmp_path) as address:
        run = Run(plan(), [SourceSpec(name="a", address=address)], options=Options(stays=True)).start()
        status = until(run, lambda status: of(status, "a").delivered > 2 * FPS, 60)
        run.stop()
        assert_accounted(run.wait(40))
    assert of(status, "a").size == (120, 160)
