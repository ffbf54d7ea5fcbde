"""How many cameras `capacity` says that a plan carries, and how many `run` is seen to carry.

    python bench/run_capacity.py [--fps 15] [--p99-ms 200] [--seconds 6] [--capacity-s 35] [--null-ms 0]

Plain: cameras of 640 x 360 from a file, each at its own pace. Disturbed: one of them jumps to 4K when the run has
begun, and another comes and goes every two seconds; `capacity` is asked about one 4K camera beside the others. `run`
carries a count when at most one picture in a hundred is lost or older than the budget at its result, as `capacity`
judges; it is tried from what `capacity` said, up or down in steps of a twentieth. `capacity` is asked again afterwards:
where it says something else by more than a tenth then, the machine was not quiet, and nothing is judged. Each row is
printed on standard error as it is known.

With --null-ms the network computes nothing and takes so long by sleeping: then decisions and feeds are compared, which
other programs disturb less.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from common import options, show

from framepace import api
from framepace.clock.system import SystemClock
from framepace.facts.capacity import Capacity
from framepace.facts.plan import Plan
from framepace.facts.running import Result, RunStatus, SourceSpec
from framepace.running.run import Run
from framepace.sinks.callback import Function
from framepace.sinks.queued import QueuedSink

MODEL = "builtin:classifier"
SETTINGS: dict[str, Any] = {"threads": 1, "workers": 2, "spinning": "off"}
LATE = 0.01
WITHIN = 0.1
MOST = 128
_SETTLING_S = 3.0
_FLAP_S = 2.0
_STEP = 20  # a step is this part of what capacity said
Row = dict[str, Any]


def video(path: Path, size: tuple[int, int], fps: int) -> str:
    """Four seconds of a moving pattern of (height, width) as H.264, a key frame per second; its path."""
    rows, columns = np.indices(size)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = fps
        for number in range(4 * fps):
            shade = ((columns + 3 * number) // 20 + rows // 20) % 2 * 160 + 40
            picture = np.repeat(shade.astype(np.uint8)[:, :, None], 3, axis=2)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return str(path)


@dataclass
class Ages:
    """How old results were, of all sources but those that are left out."""

    left_out: str = ""
    ages: list[float] = field(default_factory=list)
    notes: bool = False

    def __call__(self, result: Result) -> None:
        """Note one."""
        if self.notes and result.source != self.left_out:
            self.ages.append(result.age_ms)


class Flapping(threading.Thread):
    """A camera that comes and goes."""

    def __init__(self, run: Run, spec: SourceSpec) -> None:
        super().__init__(daemon=True)
        self._run = run
        self._spec = spec
        self.ends = threading.Event()

    def run(self) -> None:
        """Until `ends`; the camera is there at the end."""
        while not self.ends.wait(_FLAP_S / 2):
            self._run.remove(self._spec.name)
            time.sleep(_FLAP_S / 2)
            self._run.add(self._spec)


@dataclass(frozen=True)
class Files:
    """Videos of the cameras."""

    small: str
    large: str


def late_share(plan: Plan, files: Files, count: int, budget_ms: float, seconds: float, *, disturbed: bool) -> float:
    """The share of pictures that are lost, or whose results are late, with so many cameras."""
    specs = [SourceSpec(name=f"camera-{place}", address=files.small, loop=True) for place in range(count)]
    ages = Ages(left_out="camera-1" if disturbed else "")
    run = Run(plan, specs, [QueuedSink(Function(ages), SystemClock(), capacity=100_000)]).start()
    flapping = Flapping(run, specs[1])
    if disturbed:
        run.change(SourceSpec(name="camera-0", address=files.large, loop=True))
        flapping.start()
    time.sleep(_SETTLING_S)
    lost = watched(run, ages, seconds)
    flapping.ends.set()
    run.stop()
    run.wait()
    late = sum(age > budget_ms for age in ages.ages)
    return (lost + late) / max(1, lost + len(ages.ages))


def watched(run: Run, ages: Ages, seconds: float) -> int:
    """Note ages for so long; how many pictures were lost meanwhile."""
    before = run.status()
    ages.notes = True
    time.sleep(seconds)
    after = run.status()
    ages.notes = False
    return _lost(after, ages.left_out) - _lost(before, ages.left_out)


def _lost(status: RunStatus, left_out: str) -> int:
    others = [source for source in status.sources if source.name != left_out]
    return sum(sum(source.dropped.values()) + source.failed for source in others)


def seen(said: int, holds: Any) -> tuple[int, list[str]]:
    """The largest count that holds, from `said` up or down; and what was tried."""
    step = max(1, said // _STEP)
    tried: dict[int, float] = {}
    count = max(2, said)
    while count >= 2 and count not in tried:
        tried[count] = holds(count)
        count += step if tried[count] <= LATE else -step
    carried = max((count for count, late in tried.items() if late <= LATE), default=0)
    return carried, [f"{count}: {late:.1%} late or lost" for count, late in tried.items()]


def settings_of(null_ms: int) -> dict[str, Any]:
    """Of the plan; with a network that sleeps for so long, if any."""
    if not null_ms:
        return SETTINGS
    null = {"backend": "null", "option.latency_us": 1000 * null_ms, "option.cpu": "sleep", "post": "none"}
    return {**SETTINGS, **null}


def said(videos: Sequence[str], args: Any) -> Capacity:
    """How many cameras capacity says."""
    return api.capacity(
        MODEL,
        videos=videos,
        fps=args.fps,
        p99_ms=args.p99_ms,
        settings=settings_of(args.null_ms),
        max_cameras=MOST,
        time_limit=args.capacity_s,
    )


def compare(name: str, files: Files, videos: Sequence[str], args: Any, *, disturbed: bool) -> Iterator[Row]:
    """What capacity says, and what run does; each as it is known."""
    plan = api.make_case(MODEL, fps=args.fps, p99_ms=args.p99_ms, settings=settings_of(args.null_ms)).plan

    def holds(count: int) -> float:
        return late_share(plan, files, count, args.p99_ms, args.seconds, disturbed=disturbed)

    before = said(videos, args)
    yield {"what": f"{name}: capacity says, before", "got": f"{in_words(before)} cameras"}
    carried, tried = seen(before.cameras, holds)
    yield {"what": "  run carries", "got": f"{carried} cameras"}
    yield from ({"what": f"    {each}", "got": ""} for each in tried)
    after = said(videos, args)
    yield {"what": "  capacity says, after", "got": f"{in_words(after)} cameras"}
    yield ratio_row(before, carried, after)


def in_words(found: Capacity) -> str:
    """The number, or 'at least' that where the search met no count that fails."""
    return f"{found.cameras}" if found.missed else f"at least {found.cameras}"


def ratio_row(one: Capacity, carried: int, other: Capacity) -> Row:
    """What run carries over what capacity says; judged where that is a capacity, and stayed as it was."""
    before, after = one.cameras, other.cameras
    middle = (before + after) / 2
    is_known = one.missed is not None and other.missed is not None
    is_steady = is_known and min(before, after) > 0 and abs(after - before) <= max(1, WITHIN * before)
    met = abs(carried - middle) <= max(0.5, WITHIN * middle)
    ratio = carried / max(1, middle)
    return {"what": "  ratio", "got": f"{ratio:.2f}", "goal": f"within {WITHIN:.0%}", "met": met if is_steady else None}


def main() -> None:
    """Plain, then disturbed."""
    args = options(str(__doc__), fps=15, p99_ms=200, seconds=6, capacity_s=35, null_ms=0)
    began = time.monotonic()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        files = Files(
            video(Path(folder) / "small.mp4", (360, 640), args.fps),
            video(Path(folder) / "large.mp4", (2160, 3840), args.fps),
        )
        mixed = [files.large, *[files.small] * (MOST - 1)]
        parts = (
            compare("plain", files, [files.small], args, disturbed=False),
            compare("one jumps to 4K, one flaps", files, mixed, args, disturbed=True),
        )
        for row in chain.from_iterable(parts):
            print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
    rows.append({"what": "time", "got": f"{time.monotonic() - began:.0f} s"})
    show("run_capacity", args, rows)


if __name__ == "__main__":
    main()
