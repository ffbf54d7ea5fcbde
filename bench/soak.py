"""A run for hours at 80 % of its capacity, with a camera lost every minute: memory, counts, clocks, recovery.

`framepace run` is a program of its own here, watched as people watch it: /status every second, /metrics and a picture
every few, results counted as they come out of standard output. The cameras are a process of their own, too; the clocks
of half of them run 50 millionths too slow, of the others too fast, which is 0.36 s in two hours.

    python bench/soak.py                  two hours
    python bench/soak.py --seconds 60     a minute, with three cameras lost; too short to judge memory
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

from common import options, show
from soak_cameras import FPS, scene

Row = dict[str, Any]
MODEL = "builtin:classifier@112x112"
SETTINGS = ("--set", "threads=1", "--set", "spinning=off")  # as a tuning of small networks ends
P99_MS = 200
LOAD = 0.8
CAPACITY_S = 120
PPM = 50
LONG_S = 1800  # from which on memory is judged: its growth after the first ten minutes
SETTLING_S = 600
GROWTH = 0.01
DRIFT_MS = 5.0
AGES_S = 12.0  # ages are those of the last ten seconds; older ones are of the connection before
BACK_S = 35.0  # of the longest wait between attempts: 30 s, and a picture
ENDING_S = 60.0
HERE = Path(__file__).parent


@dataclass
class Results:
    """What came out on standard output."""

    counts: Counter[str] = field(default_factory=Counter)
    last: dict[str, int] = field(default_factory=dict)
    disordered: int = 0
    end: dict[str, Any] = field(default_factory=dict)

    def read(self, out: IO[str]) -> None:
        """Count the results, to the end, where the status of the run is (in many lines)."""
        end = ""
        for line in out:
            if line.startswith('{"source"'):
                record = json.loads(line)
                self._add(record["source"], record["number"])
            else:
                end += line
        self.end = json.loads(end)

    def _add(self, source: str, number: int) -> None:
        self.disordered += number <= self.last.get(source, -1)
        self.last[source] = number
        self.counts[source] += 1


@dataclass
class Samples:
    """What was seen while it ran, every second: time since the start in s, memory in bytes, ages in ms by source."""

    times: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)
    ages: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    losses: int = 0
    back_s: list[float] = field(default_factory=list)
    steady_from: dict[str, float] = field(default_factory=dict)  # by source, when its ages are those of live pictures

    def add(self, at: float, pid: int, status: dict[str, Any]) -> None:
        """Note one look."""
        self.times.append(at)
        self.memory.append(resident(pid))
        for source in status["sources"]:
            name = source["name"]
            if source["state"] != "live":
                self.steady_from[name] = at + AGES_S
            elif source["age_ms"] is not None and at >= self.steady_from.get(name, AGES_S):
                self.ages.setdefault(name, []).append((at, source["age_ms"]))


class Losses:
    """Loses a camera in intervals, for some seconds, and notes how long it takes to be live after them."""

    def __init__(self, cameras: Cameras, names: Sequence[str], every_s: float, seed: int) -> None:
        self._cameras = cameras
        self._names = names
        self._every_s = every_s
        self._random = random.Random(seed)
        self._due = every_s / 2
        self._back: dict[str, float] = {}  # when each can be reached again

    def look(self, at: float, status: dict[str, Any], samples: Samples) -> None:
        """Lose one when it is time; note which came back."""
        states = {source["name"]: source["state"] for source in status["sources"]}
        for name, reachable in list(self._back.items()):
            if at > reachable and states[name] == "live":
                samples.back_s.append(at - reachable)
                del self._back[name]
        if at >= self._due:
            self._due += self._every_s
            self._lose(at, samples)

    def _lose(self, at: float, samples: Samples) -> None:
        name = self._random.choice([name for name in self._names if name not in self._back] or [*self._names])
        seconds = self._random.uniform(3.0, 8.0)  # longer than a look, so that its loss is seen
        self._cameras.lose(name, seconds)
        self._back[name] = at + seconds
        samples.losses += 1


class Cameras:
    """The process of the cameras."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self._port = int(process.stdout.readline())

    def address(self, number: int) -> str:
        """Of a camera, whose clock is wrong."""
        ppm = PPM if number % 2 else -PPM
        return f"http://127.0.0.1:{self._port}/camera-{number}?ppm={ppm}"

    def lose(self, name: str, seconds: float) -> None:
        """End what a camera sends."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"lose {name} {seconds:.3f}\n")
        self._process.stdin.flush()


@contextmanager
def cameras() -> Iterator[Cameras]:
    """Inside, there are cameras."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, str(HERE / "soak_cameras.py")], stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            yield Cameras(process)
        finally:
            process.kill()


def capacity() -> int:
    """How many such cameras the plan carries on this machine, as `framepace capacity` says."""
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "scene.mp4"
        video.write_bytes(scene())
        command = [*framepace("capacity", MODEL), "--video", str(video), "--fps", str(FPS), "--p99-ms", str(P99_MS)]
        command += [*SETTINGS, "--time-limit", str(CAPACITY_S), "--json", "--out", str(Path(folder) / "out")]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    return int(json.loads(told.stdout)["cameras"])


def framepace(*words: str) -> list[str]:
    """A command line."""
    return [sys.executable, "-m", "framepace", *words]


def soak(count: int, seconds: float, every_s: float, seed: int) -> tuple[Samples, Results]:
    """Run so many cameras for so long."""
    names = [f"camera-{number}" for number in range(count)]
    samples = Samples()
    results = Results()
    with cameras() as park, started([park.address(number) for number in range(count)], names) as (process, url):
        reader = threading.Thread(target=results.read, args=(process.stdout,))
        reader.start()
        losses = Losses(park, names, every_s, seed)
        began = time.monotonic()
        while (at := time.monotonic() - began) < seconds and process.poll() is None:
            status = ask(f"{url}status")
            samples.add(at, process.pid, status)
            losses.look(at, status, samples)
            look_around(url, names, len(samples.times))
            time.sleep(max(0.0, began + len(samples.times) - time.monotonic()))
        process.terminate()
        reader.join(ENDING_S)
    return samples, results


@contextmanager
def started(addresses: Sequence[str], names: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Inside, the plan runs on the cameras; its process and the address of its dashboard."""
    sources = [f"--source={name}={address}" for name, address in zip(names, addresses, strict=True)]
    shown = ["--sink", "stdout", "--json", "--log", "json", "--dashboard", "0"]
    limits = ["--fps", str(FPS), "--p99-ms", str(P99_MS)]
    command = [*framepace("run", MODEL), *sources, *shown, *SETTINGS, *limits]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        told = next((line for line in process.stderr if '"dashboard"' in line), "")
        threading.Thread(target=copy, args=(process.stderr, log), daemon=True).start()
        try:
            yield process, json.loads(told)["text"]
        finally:
            process.kill()


def copy(source: IO[str], target: IO[str]) -> None:
    """Take what is said, so that nobody waits for a pipe that is full."""
    for line in source:
        target.write(line)


def look_around(url: str, names: Sequence[str], second: int) -> None:
    """What people who watch ask for, beside the status."""
    if second % 15 == 0:
        urlopen(f"{url}metrics", timeout=30).read()
    if second % 10 < 5:
        ask(f"{url}picture?source={names[second // 10 % len(names)]}")


def ask(url: str) -> dict[str, Any]:
    """A JSON object."""
    with urlopen(url, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def resident(pid: int) -> int:
    """Resident memory of a process, bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_row(samples: Samples, seconds: float) -> Row:
    """The growth of resident memory after it has settled: medians of a tenth of the run, first and last."""
    settling = SETTLING_S if seconds >= LONG_S else seconds / 3
    after = [memory for at, memory in zip(samples.times, samples.memory, strict=True) if at >= settling]
    part = max(len(after) // 10, 1)
    first = statistics.median(after[:part])
    growth = statistics.median(after[-part:]) / first - 1
    got = f"{growth:+.2%} of {first / 2**20:.0f} MiB"
    judged = growth <= GROWTH if seconds >= LONG_S else None
    return {"what": "memory growth, settled", "got": got, "goal": f"<= {GROWTH:.0%}", "met": judged}


def count_rows(results: Results) -> list[Row]:
    """Whether every picture and every result is accounted for."""
    sources = results.end["sources"]
    (sink,) = results.end["sinks"]
    parts = ("delivered", "skipped", "failed", "waiting")
    lost = sum(abs(s["taken"] - sum(s[part] for part in parts) - sum(s["dropped"].values())) for s in sources)
    emitted = sum(source["delivered"] + source["failed"] for source in sources)
    unwritten = emitted - sum(sink[part] for part in ("written", "dropped", "failed", "waiting"))
    unread = sink["written"] - results.counts.total()
    return [
        {"what": "pictures taken", "got": f"{sum(source['taken'] for source in sources):,}"},
        zero("pictures without an account", lost),
        zero("results that no sink has", unwritten),
        zero("results written, not received", unread),
        zero("results out of order", results.disordered),
    ]


def zero(what: str, got: int) -> Row:
    """A count that has to be nothing."""
    return {"what": what, "got": f"{got:,}", "goal": "0", "met": got == 0}


def clock_row(samples: Samples, seconds: float) -> Row:
    """The largest change of a camera's median age: a clock that is not followed makes results older, or younger."""
    part = seconds / 10
    changes = [_change(ages, part, seconds) for ages in samples.ages.values()]
    largest = max((change for change in changes if change is not None), key=abs, default=0.0)
    got = f"{largest:+.2f} ms (clocks: {PPM * seconds / 1000:.0f} ms)"
    judged = abs(largest) <= DRIFT_MS if seconds >= LONG_S else None
    return {"what": "drift of ages", "got": got, "goal": f"<= {DRIFT_MS:g} ms", "met": judged}


def _change(ages: Sequence[tuple[float, float]], part: float, seconds: float) -> float | None:
    first = [age for at, age in ages if part <= at < 2 * part]
    last = [age for at, age in ages if at >= seconds - part]
    return statistics.median(last) - statistics.median(first) if first and last else None


def recovery_rows(samples: Samples, results: Results) -> list[Row]:
    """How many cameras were lost, and whether each came back."""
    reconnections = sum(source["reconnections"] for source in results.end["sources"])
    longest = max(samples.back_s, default=0.0)
    dropped = Counter[str]()
    for source in results.end["sources"]:
        dropped.update(source["dropped"])
    late = sum(source["late"] for source in results.end["sources"]) / max(results.counts.total(), 1)
    return [
        {"what": "cameras lost", "got": f"{samples.losses}, {reconnections} reconnections"},
        {
            "what": "longest until live again",
            "got": f"{longest:.1f} s",
            "goal": f"<= {BACK_S:g} s",
            "met": longest <= BACK_S,
        },
        {"what": "late; dropped", "got": f"{late:.2%}; {dict(dropped) or 'none'}"},
    ]


def main() -> int:
    """Print the figures; 1 where one misses its goal."""
    args = options(__doc__ or "", seconds=7200, cameras=0)
    fits = 0
    count = args.cameras
    if not count:
        fits = capacity()
        count = max(int(LOAD * fits), 1)
    every_s = 60.0 if args.seconds >= LONG_S else args.seconds / 3
    samples, results = soak(count, args.seconds, every_s, args.seed)
    rows = [
        {"what": "cameras", "got": f"{count} of {fits} that fit" if fits else f"{count}"},
        *count_rows(results),
        memory_row(samples, args.seconds),
        clock_row(samples, args.seconds),
        *recovery_rows(samples, results),
    ]
    show("soak", args, rows, seconds=args.seconds, memory=samples.memory[:: max(len(samples.memory) // 200, 1)])
    return int(any(row.get("met") is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
