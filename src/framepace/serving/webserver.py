"""uvicorn in a thread of its own: started, stopped, with our connections in place of its own."""

from __future__ import annotations

import asyncio
import logging
import threading

import uvicorn
import uvloop

from framepace.errors import UsageError
from framepace.serving.addresses import bound_socket, not_had
from framepace.serving.connections import close_slow, connection_class
from framepace.serving.http import HttpApp
from framepace.serving.options import ServeOptions

_BACKLOG = 2048
_SHUTDOWN_S = 2  # for connections to end; accepted requests were answered before


class WebServer:
    """Answers calls on the socket of `options`. Raises UsageError for an address or TLS that fails."""

    def __init__(self, app: HttpApp, options: ServeOptions) -> None:
        assert options.port is not None
        self._app = app
        config = _config(app, options)
        self._host = options.host
        self._socket = bound_socket(options.host, options.port)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Listen; connections wait until the thread takes them. Raises UsageError where another listens by now."""
        try:
            self._socket.listen(_BACKLOG)
        except OSError as error:
            raise not_had(self._host, self.port, error) from error
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Take no more connections, and let those that are open end within `seconds`."""
        self._server.should_exit = True
        if self._thread.ident is not None:
            self._thread.join(seconds)
        self._socket.close()

    def _run(self) -> None:
        loop = uvloop.new_event_loop()
        asyncio.set_event_loop(loop)
        self._app.begin(loop)
        try:
            slow = loop.create_task(close_slow(lambda: self._server.server_state.connections))
            loop.run_until_complete(self._server.serve(sockets=[self._socket]))
            slow.cancel()
            loop.run_until_complete(asyncio.gather(slow, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()


def _config(app: HttpApp, options: ServeOptions) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,  # our connections call it, not uvicorn's
        interface="asgi3",
        http=connection_class(options.limits),  # type: ignore[arg-type]  # loops take buffered protocols as well
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.key,
    )
    _load(config)
    return config


def _load(config: uvicorn.Config) -> None:
    """Read the certificate, if there is one. Raises UsageError."""
    try:
        config.load()
    except (OSError, ValueError) as error:
        fix = "give a certificate and its key in PEM: --tls-certificate, --tls-key"
        raise UsageError("TLS cannot be set up", got=error, fix=fix) from error
