"""A camera that sends prepared bytes once to whoever connects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nConnection: close\r\n\r\n"


@contextmanager
def sending(data: bytes) -> Iterator[str]:
    """The address of a camera that sends `data` and then closes each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_serve, args=(server, data), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/camera"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(server: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # the end of the server
        while True:
            connection = server.accept()[0]
            with connection, suppress(OSError):
                connection.recv(4096)
                connection.sendall(_HEAD + data)
