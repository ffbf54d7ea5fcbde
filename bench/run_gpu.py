"""Two models a frame on 1080p30 files in real time: what `capacity` says, and what `run` carries on a GPU.

    python bench/run_gpu.py                on a machine with a GPU: two to three minutes
    python bench/run_gpu.py --dry-run      anywhere: small, on the CPU

Frames are decoded and prepared on the device (`decode=gpu`, `prepare-place=device`); the models are torchvision's
ssdlite320 up to the best class of every anchor, and a small classifier, both by PyTorch in FP16 with graphs. The goal
is 50 cameras with a p99 of 100 ms at one per cent of late or lost pictures at most. `capacity` is asked first, which
measures; `run` is then tried with the goal, with what `capacity` said, and with a tenth more.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import parser_of, show
from gpu_video import LIMIT_MS, NORMALISED, ON_DEVICE, detector
from gpu_video_streams import encoded
from run_capacity import LATE, Ages, watched

from framepace import api
from framepace.clock.system import SystemClock
from framepace.facts.plan import Plan
from framepace.facts.running import SourceSpec
from framepace.running.run import Run
from framepace.sinks.callback import Function
from framepace.sinks.queued import QueuedSink

Row = dict[str, Any]
FPS, GOAL = 30, 50
ON_GPU: Row = {
    "backend": "torch", "device": "cuda", "precision": "fp16", "graph": True, "batch": 16, "batch-policy": "deadline",
    "workers": 2, "slots": 2, "spinning": False, **ON_DEVICE,
}  # fmt: skip
ON_CPU: Row = {"threads": 1}
_SETTLING_S = 3.0
_LOADING_S = 120.0


def main() -> None:
    """Ask, run, print."""
    parser = parser_of(str(__doc__), seconds=8, capacity_s=45, most=64)
    parser.add_argument("--dry-run", action="store_true", help="no GPU: everything small")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        show("run_gpu", args, list(_rows(args, Path(folder))))


def _rows(args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    video = str(encoded(folder, args.dry_run))
    models = ["builtin:detector", "builtin:classifier"]
    if not args.dry_run:
        models[0] = detector(folder, "torch")
    options: Row = {"fps": FPS, "p99_ms": LIMIT_MS, "settings": {**NORMALISED, **(ON_CPU if args.dry_run else ON_GPU)}}
    limits: Row = {"max_cameras": args.most, "time_limit": args.capacity_s}
    said = api.capacity(models, videos=[video], **options, **limits).cameras
    yield {"what": "capacity says", "got": f"{said} cameras"}
    plan = api.make_case(models, **options).plan
    goal = 2 if args.dry_run else GOAL
    for count in sorted({goal, max(1, said), min(args.most, round(1.1 * said))}):
        yield _run(plan, video, count, args.seconds)


def _run(plan: Plan, video: str, count: int, seconds: float) -> Row:
    """One run with so many cameras."""
    specs = [SourceSpec(name=f"camera-{place}", address=video, loop=True) for place in range(count)]
    ages = Ages()
    run = Run(plan, specs, [QueuedSink(Function(ages), SystemClock(), capacity=100_000)]).start()
    _await_all(run)
    before, began = time.process_time(), time.monotonic()
    lost = watched(run, ages, seconds)
    cpu, took = time.process_time() - before, time.monotonic() - began
    run.stop()
    run.wait()
    return _told(count, np.array(ages.ages), lost, cpu, took)


def _await_all(run: Run) -> None:
    """Until every camera has results, and a little longer."""
    until = time.monotonic() + _LOADING_S
    while time.monotonic() < until and not all(source.delivered for source in run.status().sources):
        time.sleep(0.2)
    time.sleep(_SETTLING_S)


def _told(count: int, ages: Any, lost: int, cpu: float, took: float) -> Row:
    if not len(ages):
        return {"what": f"run, {count} cameras", "got": "no result"}
    late = (lost + int((ages > LIMIT_MS).sum())) / (lost + len(ages))
    p99 = float(np.quantile(ages, 0.99))
    figures = f"{len(ages) / took:.0f} frames/s, p99 {p99:.1f} ms, {late:.2%} late or lost"
    per_frame = f"{1000 * cpu / len(ages):.2f} ms CPU per frame"
    goal = {"goal": f"p99 {LIMIT_MS:.0f} ms", "met": late <= LATE} if count == GOAL else {}
    return {"what": f"run, {count} cameras", "got": f"{figures}, {per_frame}", **goal}


if __name__ == "__main__":
    main()
