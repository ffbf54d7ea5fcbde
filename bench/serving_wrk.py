"""The load generator wrk (github.com/wg/wrk): closed loops over so many connections, and what came of them."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

_BOUNDARY = "framepace-bench"
_SCRIPT = """
local file = io.open(%(body)s, "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
%(headers)s
local threads = {}
function setup(thread) table.insert(threads, thread) end
%(delay)s
function init() asked = 0; answered = 0; refused = 0; packed = wrk.format() end
%(count)s
function response(status) if status == 200 then answered = answered + 1 else refused = refused + 1 end end
function done(summary, latency)
  local sent, ok, no, in_time, all = 0, 0, 0, 0, 0
  for _, thread in ipairs(threads) do
    sent = sent + thread:get("asked"); ok = ok + thread:get("answered"); no = no + thread:get("refused")
  end
  local e = summary.errors
  for i = 1, #latency do
    local value, count = latency(i)
    all = all + count
    if value <= %(limit)d then in_time = in_time + count end
  end
  io.stderr:write(string.format('{"answered":%%d,"refused":%%d,"us":%%d,"p50":%%d,"p99":%%d,"in_time":%%d,"all":%%d,' ..
    '"asked":%%d,"errors":%%d}', ok, no, summary.duration, latency:percentile(50), latency:percentile(99), in_time, all,
    sent, e.connect + e.read + e.write + e.timeout))
end
"""
_COUNT = "function request() asked = asked + 1; return packed end"  # costs wrk a copy of each request


@dataclass(frozen=True)
class Load:
    """What is sent, again and again, with a pause after each answer; answers within `limit_ms` are in time.

    `counted`: requests are counted as they are begun, too.
    """

    url: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    limit_ms: float = 50.0
    pause_ms: float = 0.0
    counted: bool = False

    def within(self, milliseconds: float) -> Load:
        """The same with a deadline, which servers without deadlines ignore."""
        return replace(
            self, headers={**self.headers, "framepace-deadline-ms": f"{milliseconds:g}"}, limit_ms=milliseconds
        )


@dataclass(frozen=True)
class Done:
    """What came of a run; latencies are those of all answers, refusals among them.

    Attributes:
        asked: requests that were begun, of a load that is `counted`; some of them have no answer at the end.
        errors: connections that failed, and answers that did not come in 10 s.
    """

    answered: int
    refused: int
    seconds: float
    p99_ms: float
    in_time_share: float
    asked: int
    errors: int

    @property
    def per_second(self) -> float:
        """Answers (200) per second."""
        return self.answered / self.seconds

    @property
    def asked_per_second(self) -> float:
        """Requests per second, refused or not."""
        return (self.answered + self.refused) / self.seconds

    @property
    def in_time_per_second(self) -> float:
        """Answers (200) within the limit per second, as the client saw them; at least: refusals count as in time."""
        total = self.answered + self.refused
        return max(0.0, self.in_time_share * total - self.refused) / self.seconds


class Wrk:
    """The program, with one thread."""

    def __init__(self, program: Path) -> None:
        self._program = program
        self._process: subprocess.Popen[str] | None = None

    def run(self, load: Load, connections: int, seconds: int) -> Done:
        """Send the load over so many connections, each in a closed loop."""
        with tempfile.TemporaryDirectory() as folder:
            body = Path(folder) / "body"
            body.write_bytes(load.body)
            script = Path(folder) / "load.lua"
            script.write_text(_script(load, body))
            words = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), load.url]
            return _done(json.loads(self._told([str(self._program), *words])))

    def stop(self) -> None:
        """End a run that another thread waits for; it says what it has."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)

    def _told(self, command: Sequence[str]) -> str:
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=pipe, text=True) as self._process:
            _, told = self._process.communicate()
        return told


def _script(load: Load, body: Path) -> str:
    headers = "\n".join(
        f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in load.headers.items()
    )
    delay = ""
    if load.pause_ms:
        # Drawn anew each time, or all connections would go on together, as they began.
        delay = f"function delay() return math.floor(math.random() * {2 * load.pause_ms:.3f}) end"
    values = {"body": json.dumps(str(body)), "headers": headers, "limit": round(load.limit_ms * 1000)}
    return _SCRIPT % {**values, "delay": delay, "count": _COUNT if load.counted else ""}


def _done(document: Mapping[str, int]) -> Done:
    return Done(
        document["answered"],
        document["refused"],
        document["us"] / 1e6,
        document["p99"] / 1000,
        document["in_time"] / max(1, document["all"]),
        document["asked"],
        document["errors"],
    )


def multipart(name: str, data: bytes) -> tuple[bytes, str]:
    """A form with one file, and its content type."""
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n\r\n'
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={_BOUNDARY}"
