"""Headless Chromium over the DevTools protocol's pipe: just enough to open a page and ask it questions."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
PATIENCE = 180.0  # seconds; only a hang gets here, also on a machine where forty programs want two cores


class Page:
    """One page: `call` sends a command and returns its result; `events` holds everything the page reported."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._rest, self._id = read, write, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        self._target: str | None = None
        self.renew()

    def renew(self) -> None:
        """Close the page and begin a new one, of which nothing is set and nothing was reported."""
        self._session = None
        if self._target is not None:
            self.call("Target.closeTarget", targetId=self._target)
        self._target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        self.events.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command. Raises RuntimeError when the browser refuses it."""
        self._id += 1
        message = {"id": self._id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            reply = self._next()
            if reply.get("id") == self._id:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']}")
                result: dict[str, Any] = reply["result"]
                return result
            self.events.append(reply)

    def open(self, where: Path | str) -> None:
        """Open a file or an address and wait until the page says that its figures are drawn."""
        before = len(self.named("Page.loadEventFired"))
        self.call("Page.navigate", url=where if isinstance(where, str) else where.as_uri())
        while len(self.named("Page.loadEventFired")) == before:
            self.events.append(self._next())
        self.wait("document.documentElement.dataset.drawn !== undefined")

    def wait(self, expression: str) -> None:
        """Return when `expression` is true in the page."""
        poll = f"new Promise(done => {{const f = () => ({expression}) ? done(true) : setTimeout(f, 20); f()}})"
        assert self.evaluate(poll) is True

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def screen(self, width: int, height: int, *, dark: bool = False) -> None:
        """Set the size of the screen and its colour scheme."""
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write the whole page as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def named(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all events of one kind so far."""
        ours = [event for event in self.events if event.get("sessionId") == self._session]
        return [event["params"] for event in ours if event.get("method") == method]

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._read, 1 << 20) if ready else b""
            if not more:
                raise RuntimeError("the browser ended or fell silent")
            self._rest += more
        first, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message


@contextmanager
def browse(chromium: str, profile: Path) -> Iterator[Page]:
    """A page in a new browser that ends with the block. The browser reads commands on fd 3 and answers on fd 4."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs_in, theirs_out)]

    def connect() -> None:
        os.dup2(ends[0], 3)
        os.dup2(ends[1], 4)

    command = [chromium, *FLAGS, f"--user-data-dir={profile}"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, preexec_fn=connect, pass_fds=(3, 4), stdin=quiet, stdout=quiet, stderr=quiet)
    for fd in (theirs_in, theirs_out, *ends):
        os.close(fd)
    try:
        yield Page(ours_in, ours_out)
    finally:
        os.close(ours_out)  # the browser ends when its pipe does
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(ours_in)
