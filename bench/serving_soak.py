"""`framepace serve` for an hour at 80 % of what it carries: memory, descriptors, threads, answers right and counted.

wrk keeps the rate, in pieces of half a minute. Beside it five requests per second are compared with what the runtime
alone answers (JSON, binary, shared memory, gRPC), clients go away in mid-request, connections open and say nothing,
statistics and metrics are read, and shared memory comes and goes.

    python bench/serving_soak.py                 an hour
    python bench/serving_soak.py --seconds 60    a minute; too short to judge memory
    python bench/serving_soak.py --p99-ms 500    carried means within 50 ms, else: where others use the machine, too
    python bench/serving_soak.py --rate 100      100 requests per second, whatever is carried

Ctrl-C ends it early, with its rows. tools/peers.sh fetches wrk.
"""

from __future__ import annotations

import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from common import options, show
from serving import MODEL, P99_MS, PICTURE, best, framepace, peers, running
from serving_checks import PATH, Array, Leavers, Way, is_right, region, right_answers, ways
from serving_wrk import Done, Load, Wrk
from soak import LOAD, Row, Samples, ask, memory_row, resident, zero

from framepace.models.builtin import model_bytes

PORT = 18720
GRPC_PORT = 18721
ADDRESS = f"http://127.0.0.1:{PORT}"
CONNECTIONS = 16
DEADLINE_MS = 1000.0  # far beyond what is usual: refusals are there, and few
PIECE_S = 30
FINDING_S = 10
CHECK_S = 0.2
IDLE = 12  # connections that say nothing, each for a minute
POOL = 4  # threads and descriptors that gRPC adds when calls happen to meet
END_S = 30.0
_SHOWN = 20  # errors


@dataclass
class Checked:
    """What the clients that know the right answers saw: counts, and (time since the start in s, ms) of each answer."""

    counts: Counter[str] = field(default_factory=Counter)
    took: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Census:
    """What a server holds and has counted."""

    descriptors: int
    threads: int
    counted: int

    @classmethod
    def of(cls, process: psutil.Process) -> Census:
        """Now."""
        return cls(process.num_fds(), process.num_threads(), counted())


def counted() -> int:
    """Requests in the server's statistics, answered or not."""
    (model,) = ask(f"{ADDRESS}/v2/models/m/stats")["model_stats"]
    stats = model["inference_stats"]
    return int(stats["success"]["count"] + stats["fail"]["count"])


class Traffic:
    """wrk in pieces, whose pauses follow what came of the piece before, so that the rate is kept."""

    def __init__(self, wrk: Wrk, load: Load, rate: float) -> None:
        self._wrk = wrk
        self._load = load
        self._cycle_ms = CONNECTIONS / rate * 1000
        self.pieces: list[Done] = []

    def run(self, seconds: float, ended: threading.Event) -> None:
        """Until the time is over, or it is ended."""
        until = time.monotonic() + seconds
        pause_ms = self._cycle_ms / 2
        while (left := round(until - time.monotonic())) > 0 and not ended.is_set():
            piece = self._wrk.run(replace(self._load, pause_ms=pause_ms), CONNECTIONS, min(left, PIECE_S))
            self.pieces.append(piece)
            pause_ms = max(1.0, pause_ms + self._cycle_ms - CONNECTIONS / max(piece.asked_per_second, 1.0) * 1000)

    def stop(self) -> None:
        """End the piece that runs; it counts."""
        self._wrk.stop()

    def total(self, name: str) -> Any:
        """Of all pieces."""
        return sum(getattr(piece, name) for piece in self.pieces)


def check(
    checked: Checked, by: Mapping[str, Way], right: Sequence[Array], seconds: float, ended: threading.Event
) -> None:
    """Ask in a steady rhythm, by each way in turn, and compare."""
    began = time.monotonic()
    for number in range(round(seconds / CHECK_S)):
        due = began + number * CHECK_S
        if ended.wait(max(0.0, due - time.monotonic())):
            return
        _check_one(checked, by, right, number, due - began)


def _check_one(checked: Checked, by: Mapping[str, Way], right: Sequence[Array], number: int, at: float) -> None:
    name = list(by)[number % len(by)]
    place = number // len(by) % len(right)
    began = time.monotonic()
    checked.counts["asked"] += 1
    try:
        is_wrong = not is_right(by[name](place), right[place])
    except Exception as error:  # whatever a client raises, no answer came
        checked.errors.append(f"{at:.0f} s, {name}: {error!r}")
        return
    checked.took.append((at, (time.monotonic() - began) * 1000))
    checked.counts.update({"answered": 1, "wrong": int(is_wrong), name: 1})


class Passers:
    """Whoever else comes to a server: each second some of them."""

    def __init__(self, picture: Array, stack: ExitStack) -> None:
        self._leavers = Leavers(PORT, GRPC_PORT, picture)
        self._idle: deque[socket.socket] = deque()
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        stack.callback(self._close)

    def come(self, second: int) -> None:
        """Those that are due."""
        try:
            self._come(second)
        except OSError as error:
            self.errors.append(f"{second} s: {error!r}")

    def _come(self, second: int) -> None:
        if second % 3 == 0:
            self.counts["left"] += 1
            self.counts["left behind the whole request"] += self._leavers.leave()
        if second % 5 == 1:
            self._stay_silent()
        if second % 5 == 2:
            counted()
        if second % 15 == 4:
            urllib.request.urlopen(f"{ADDRESS}/metrics", timeout=30).read()
        if second % 60 == 30:
            self.counts["regions"] += 1
            with region(PORT, f"minute-{second // 60}", 1 << 20):
                pass

    def _stay_silent(self) -> None:
        self.counts["silent"] += 1
        self._idle.append(socket.create_connection(("127.0.0.1", PORT), timeout=30))
        if len(self._idle) > IDLE:
            self._idle.popleft().close()

    def _close(self) -> None:
        for connection in self._idle:
            connection.close()


@dataclass
class Soaked:
    """All that was seen."""

    seconds: float
    samples: Samples
    traffic: Traffic
    checked: Checked
    passers: Passers
    before: Census
    after: Census

    @property
    def rows(self) -> Iterator[Row]:
        """The table."""
        yield from self._request_rows()
        yield from self._account_rows()
        yield memory_row(self.samples, self.seconds)
        yield _compared("file descriptors", self.before.descriptors, self.after.descriptors, POOL)
        yield _compared("threads", self.before.threads, self.after.threads, POOL)
        yield self._age_row()

    def _request_rows(self) -> Iterator[Row]:
        counts = self.checked.counts
        by = ", ".join(f"{name} {n:,}" for name, n in counts.items() if name not in ("asked", "answered", "wrong"))
        yield self._traffic_row()
        yield {"what": "requests whose answer is known", "got": f"{counts['asked']:,} ({by})"}
        yield {"what": "others", "got": ", ".join(f"{n:,} {name}" for name, n in self.passers.counts.items())}
        yield zero("answers that were wrong", counts["wrong"])
        yield zero("known ones without an answer", len(self.checked.errors))
        yield zero("connections of wrk that failed", self.traffic.total("errors"))
        yield zero("other calls that failed", len(self.passers.errors))

    def _traffic_row(self) -> Row:
        asked, answered, refused = map(self.traffic.total, ("asked", "answered", "refused"))
        rate = asked / max(self.traffic.total("seconds"), 1.0)
        got = f"{asked:,}: {answered:,} answered, {refused:,} refused; {rate:.0f}/s"
        return {"what": "requests of wrk", "got": got}

    def _account_rows(self) -> Iterator[Row]:
        """Who went away may be counted by the server, or not: it depends on how far the request had come."""
        had = self.traffic.total("answered") + self.traffic.total("refused") + self.checked.counts["answered"]
        asked = self.traffic.total("asked") + self.checked.counts["asked"]
        most = asked + self.passers.counts["left behind the whole request"]
        counted = self.after.counted - self.before.counted
        yield {"what": "requests in the server's statistics", "got": f"{counted:,} of {had:,} to {most:,}"}
        yield zero("answers without an account", max(0, had - counted))
        yield zero("accounts that nobody asked for", max(0, counted - most))

    def _age_row(self) -> Row:
        part = self.seconds / 10
        first = _p99([ms for at, ms in self.checked.took if at < part])
        last = _p99([ms for at, ms in self.checked.took if at >= self.seconds - part])
        return {"what": "p99 of the known ones, first and last tenth", "got": f"{first:.0f} and {last:.0f} ms"}


def _p99(times: Sequence[float]) -> float:
    return float(np.percentile(times, 99)) if times else float("nan")


def _compared(what: str, before: int, after: int, more: int) -> Row:
    got = f"{before} and {after}"
    return {"what": f"{what}, before and after", "got": got, "goal": f"<= {more} more", "met": after <= before + more}


def soak(process: psutil.Process, traffic: Traffic, model: bytes, args: Any) -> Soaked:
    """Everything at once, for so long or until Ctrl-C."""
    pictures, right = right_answers(model, args.seed)
    warm_up(pictures, right)
    before = settled(process)
    samples = Samples()
    checked = Checked()
    with ExitStack() as stack:
        ended = stack.enter_context(ended_by_interrupt())
        passers = Passers(pictures[0], stack)
        by = stack.enter_context(ways(PORT, GRPC_PORT, pictures))
        with beside(lambda: check(checked, by, right, args.seconds, ended), lambda: traffic.run(args.seconds, ended)):
            watch(process, passers, samples, args.seconds, ended)
            if ended.is_set():
                traffic.stop()
    return Soaked(samples.times[-1], samples, traffic, checked, passers, before, settled(process, before))


def warm_up(pictures: Sequence[Array], right: Sequence[Array]) -> None:
    """What is set up with the first calls is there then."""
    with ways(PORT, GRPC_PORT, pictures) as by:
        check(Checked(), by, right, CHECK_S * len(by), threading.Event())
    leavers = Leavers(PORT, GRPC_PORT, pictures[0])
    for _ in range(24):
        leavers.leave()


@contextmanager
def beside(*calls: Callable[[], None]) -> Iterator[None]:
    """Each call runs in a thread; the end waits for them."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def watch(process: psutil.Process, passers: Passers, samples: Samples, seconds: float, ended: threading.Event) -> None:
    """Look every second, while others pass."""
    began = time.monotonic()
    until = began + seconds
    for second in count():
        if ended.wait(max(0.0, began + second - time.monotonic())) or time.monotonic() >= until:
            return
        samples.times.append(time.monotonic() - began)
        samples.memory.append(resident(process.pid))
        passers.come(second)


def settled(process: psutil.Process, before: Census | None = None) -> Census:
    """What it holds when all who asked have gone."""
    until = time.monotonic() + END_S
    while True:
        old = Census.of(process)
        time.sleep(1.0)
        new = Census.of(process)
        rests = new == old and (before is None or new.descriptors <= before.descriptors)
        if rests or time.monotonic() > until:
            return new


@contextmanager
def ended_by_interrupt() -> Iterator[threading.Event]:
    """Inside, the first Ctrl-C sets the event."""
    ended = threading.Event()

    def end(*_: object) -> None:
        signal.signal(signal.SIGINT, usual)
        ended.set()

    usual = signal.signal(signal.SIGINT, end)
    try:
        yield ended
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def server(model: bytes, load: Load) -> Iterator[psutil.Process]:
    """`framepace serve` of the model, in batches of up to 4."""
    settings = ("--set", "workers=2", "--set", "batch=4", "--grpc-port", str(GRPC_PORT))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        path.write_bytes(model)
        with running(framepace(*settings)(str(path), PORT), load) as process:
            yield process


def carried(wrk: Wrk, load: Load, args: Any) -> float:
    """Requests/s within the p99 that is asked for; made of `--rate`, where that is given."""
    if args.rate:
        return float(args.rate / LOAD)
    rate, p99_ms = best(wrk, load, FINDING_S, args.p99_ms)
    if not rate:
        sys.exit(f"it carries nothing within {args.p99_ms} ms beside what else runs here; give more --p99-ms")
    print(f"carried: {rate:.0f}/s, p99 {p99_ms:.1f} ms", file=sys.stderr, flush=True)
    return rate


def main() -> int:
    """Print the figures; 1 where one misses its goal."""
    args = options(__doc__ or "", seconds=3600, p99_ms=round(P99_MS), rate=0)
    wrk = Wrk(peers() / "wrk" / "run")
    load = Load(f"{ADDRESS}{PATH}", PICTURE.tobytes(), {"Inference-Header-Content-Length": "0"})
    model = model_bytes(MODEL)
    with server(model, load) as process:
        rate = carried(wrk, load, args)
        traffic = Traffic(wrk, replace(load.within(DEADLINE_MS), counted=True), LOAD * rate)
        soaked = soak(process, traffic, model, args)
    rows = [{"what": "carried; asked of it", "got": f"{rate:.0f}/s; {LOAD:.0%}"}, *soaked.rows]
    errors = [*soaked.checked.errors, *soaked.passers.errors]
    memory = soaked.samples.memory[:: max(len(soaked.samples.memory) // 200, 1)]
    for error in errors[:_SHOWN]:
        print(error, file=sys.stderr)
    show("serving_soak", args, rows, seconds=soaked.seconds, memory=memory, errors=errors)
    return int(any(row.get("met") is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
