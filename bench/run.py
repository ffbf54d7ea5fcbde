"""What a run costs, and whether its sources leave each other alone: the null backend on many sources.

    python bench/run.py [--sources 64] [--seconds 10] [--pairs 4]

Cost: tiny pictures from files, without preparation, inference and reading of outputs. What decoding takes is measured
and taken away in two ways: all files in turn on one thread, without a pause, where code and tables stay in the caches;
and by threads that do nothing but read one file each at the same pace. The second is the least that any program pays
that has a thread per camera: waking up, and decoding from cold caches.
Calls: how many Python functions a frame takes, which other programs do not change.
Many: small pictures, with preparation; every picture has to be accounted for, and none may be dropped.
Overrun: large pictures that the cores cannot decode in time; how many of those that are decoded come out.
Churn: the same with a source more that is added and removed in every second, and without, in turn (A B B A ...): the
p99 of the age of the others' results.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import av
import numpy as np
from common import options, show

from framepace.analyze.stats import paired_ratio
from framepace.facts.plan import ModelPlan, Plan, Post, Prepare, Target
from framepace.facts.running import RunStatus, SourceSpec
from framepace.running.options import Options
from framepace.running.run import Run
from framepace.video.file import VideoFile

FPS = 30
GOAL_US = 100.0
GOAL_RATIO = 1.1
CALLS_OF = 3  # sources, so few that none is lost to the counting
_SETTLING_S = 3.0
Row = dict[str, Any]


def video(path: Path, size: tuple[int, int], fps: int = FPS) -> str:
    """Ten seconds of a moving pattern of (height, width); its path."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=fps)
        stream.height = size[0]
        stream.width = size[1]
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, fps)
        for step in range(10 * fps):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.roll(image, step, 1), format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def plan(constant: bool) -> Plan:
    """A classifier that computes nothing, whose outputs are not read; `constant`: nothing is prepared for it either."""
    prepare = Prepare(constant=constant)
    post = Post(read="none")
    model = ModelPlan(name="null", model="builtin:classifier", backend="null", prepare=prepare, post=post)
    return Plan(models=(model,), target=Target(fps=FPS))


def cameras(path: str, number: int) -> list[SourceSpec]:
    """So many sources of one file at its own pace."""
    return [SourceSpec(name=f"camera-{place}", address=path, loop=True) for place in range(number)]


@dataclass(frozen=True)
class Second:
    """What happened in a span of a run: CPU time (s), pictures taken, delivered and lost, and how it stood then."""

    cpu: float
    seconds: float
    taken: int
    delivered: int
    lost: int
    status: RunStatus


def span(run: Run, seconds: float, churn: str | None = None) -> Second:
    """Watch a run for so long; `churn` is the file of a source that comes and goes meanwhile."""
    before = run.status()
    cpu = time.process_time()
    began = time.monotonic()
    for number in count():
        if time.monotonic() - began >= seconds:
            break
        if churn is not None:
            run.add(SourceSpec(name=f"guest-{number % 2}", address=churn, loop=True))
        time.sleep(0.5)
        if churn is not None:
            run.remove(f"guest-{number % 2}")
        time.sleep(0.5)
    after = run.status()
    return Second(
        cpu=time.process_time() - cpu,
        seconds=time.monotonic() - began,
        taken=_sum(after, "taken") - _sum(before, "taken"),
        delivered=_sum(after, "delivered") - _sum(before, "delivered"),
        lost=_lost(after) - _lost(before),
        status=after,
    )


def _sum(status: RunStatus, name: str) -> int:
    return sum(getattr(source, name) for source in status.sources)


def _lost(status: RunStatus) -> int:
    return sum(sum(source.dropped.values()) + source.failed for source in status.sources)


def decoding_us(path: str, sources: int) -> float:
    """CPU time to decode a picture, in us: of so many files in turn, on one thread, as cold as caches then are."""
    files = [VideoFile(path) for _ in range(sources)]
    for _ in range(FPS):
        for file in files:
            file.read()
    began = time.thread_time()
    for _ in range(3 * FPS):
        for file in files:
            file.read()
    used = time.thread_time() - began
    for file in files:
        file.close()
    return used / (3 * FPS * sources) * 1e6


def bare_us(path: str, sources: int, seconds: float) -> float:
    """CPU time per picture of threads that read so many files, each at its pace, in us."""
    ends = threading.Event()
    counts = [0] * sources

    def read(place: int) -> None:
        file = VideoFile(path)
        due = time.monotonic() + place / sources / FPS
        while not ends.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            file.read()
            counts[place] += 1
            due += 1 / FPS
        file.close()

    threads = [threading.Thread(target=read, args=(place,)) for place in range(sources)]
    for thread in threads:
        thread.start()
    time.sleep(_SETTLING_S)
    used, pictures = -time.process_time(), -sum(counts)
    time.sleep(seconds)
    used, pictures = used + time.process_time(), pictures + sum(counts)
    ends.set()
    for thread in threads:
        thread.join()
    return used / pictures * 1e6


def cost(folder: Path, sources: int, seconds: float) -> list[Row]:
    """CPU per frame beyond decoding."""
    path = video(folder / "tiny.mp4", (32, 32))
    decoding = decoding_us(path, sources)
    bare = bare_us(path, sources, seconds)
    run = Run(plan(constant=True), cameras(path, sources)).start()
    time.sleep(_SETTLING_S)
    seen = span(run, seconds)
    run.stop()
    run.wait()
    used = seen.cpu / seen.taken * 1e6
    what = f"CPU per frame beyond decoding ({decoding:.0f} us), {sources} sources, {seen.taken / seen.seconds:.0f} fps"
    beyond_bare = f"  beyond threads that only read the files at that pace ({bare:.0f} us)"
    return [
        {"what": what, "got": f"{used - decoding:.0f} us", "goal": f"{GOAL_US:.0f} us",
         "met": used - decoding <= GOAL_US},
        {"what": beyond_bare, "got": f"{used - bare:.0f} us"},
    ]  # fmt: skip


def calls(folder: Path, sources: int, seconds: float) -> list[Row]:
    """Python functions called per frame, by kind of thread; unlike times the same beside other programs."""
    counts: Counter[str] = Counter()
    counting = threading.Event()

    def count_call(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and counting.is_set():
            counts[threading.current_thread().name.partition("-")[0]] += 1

    threading.setprofile(count_call)
    run = Run(plan(constant=True), cameras(video(folder / "calls.mp4", (32, 32)), sources)).start()
    threading.setprofile(None)
    time.sleep(_SETTLING_S)
    counting.set()
    seen = span(run, seconds)
    counting.clear()
    run.stop()
    run.wait()
    per_frame = {name: counts[name] / seen.delivered for name in ("engine", "source")}
    what = f"Python calls per frame, {sources} sources: of the worker, of the source's thread"
    return [{"what": what, "got": ", ".join(f"{count:.0f}" for count in per_frame.values())}]


def many(folder: Path, sources: int, seconds: float) -> list[Row]:
    """Whether all sources keep their rate, and every picture is accounted for."""
    run = Run(plan(constant=False), cameras(video(folder / "small.mp4", (64, 96)), sources)).start()
    time.sleep(_SETTLING_S)
    seen = span(run, seconds)
    run.stop()
    status = run.wait()
    unaccounted = sum(
        source.taken - source.delivered - source.skipped - source.failed - sum(source.dropped.values())
        for source in status.sources
    )
    rate = seen.taken / seen.seconds
    return [
        {"what": f"{sources} sources at {FPS} fps: taken per second", "got": f"{rate:.0f}", "goal": f"{FPS * sources}",
         "met": rate >= 0.98 * FPS * sources},
        {"what": "  of them lost", "got": f"{seen.lost} of {seen.taken}"},
        {"what": "  pictures without an account, at the end", "got": str(unaccounted), "goal": "0",
         "met": unaccounted == 0},
        {"what": "  CPU of the process", "got": f"{100 * seen.cpu / seen.seconds:.0f} %"},
    ]  # fmt: skip


def overrun(folder: Path, sources: int, seconds: float) -> list[Row]:
    """What comes out where sources could keep all cores decoding: a worker must have its turn among their threads."""
    run = Run(plan(constant=False), cameras(video(folder / "large.mp4", (720, 1280)), sources)).start()
    time.sleep(_SETTLING_S)
    seen = span(run, seconds)
    run.stop()
    run.wait()
    rate = f"{seen.taken / seen.seconds:.0f} taken per second"
    what = f"{sources} files of 1280x720 at {FPS} fps, {rate}: of them delivered"
    return [{"what": what, "got": f"{seen.delivered / max(1, seen.taken):.0%}"}]


def churn(folder: Path, sources: int, seconds: float, pairs: int) -> list[Row]:
    """What sources that come and go do to the p99 of the others."""
    path = video(folder / "churn.mp4", (64, 96))
    run = Run(plan(constant=False), cameras(path, sources), options=Options(stays=True)).start()
    time.sleep(_SETTLING_S)
    ages: dict[bool, list[float]] = {True: [], False: []}
    for pair in range(pairs):
        for with_churn in (True, False) if pair % 2 else (False, True):
            seen = span(run, seconds, path if with_churn else None)
            ages[with_churn].append(_p99(seen.status))
    run.stop()
    run.wait()
    ratio = paired_ratio([np.array([age]) for age in ages[False]], [np.array([age]) for age in ages[True]])
    return [
        {"what": f"p99 age of {sources} others, ms: alone", "got": _texts(ages[False])},
        {"what": "  with a source added and removed per second", "got": _texts(ages[True])},
        {"what": "  ratio", "got": f"{ratio.value:.2f} [{ratio.interval[0]:.2f}, {ratio.interval[1]:.2f}]",
         "goal": f"{GOAL_RATIO:.2f}", "met": ratio.value <= GOAL_RATIO},
    ]  # fmt: skip


def _p99(status: RunStatus) -> float:
    """The median over the sources of the p99 of their results' ages, ms."""
    own = [source.p99_ms for source in status.sources if source.name.startswith("camera") and source.p99_ms]
    return float(np.median(own))


def _texts(ages: Sequence[float]) -> str:
    return " ".join(f"{age:.2f}" for age in ages)


def main() -> None:
    """All of them."""
    args = options(str(__doc__), sources=64, seconds=10, pairs=4)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = cost(folder, args.sources, args.seconds)
        rows += calls(folder, CALLS_OF, args.seconds)
        rows += many(folder, args.sources, args.seconds)
        rows += overrun(folder, args.sources, args.seconds)
        rows += churn(folder, max(1, args.sources // 4), args.seconds, args.pairs)
    show("run", args, rows)


if __name__ == "__main__":
    main()
