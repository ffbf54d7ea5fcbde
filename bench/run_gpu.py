"""Two models a frame on 1080p30 files in real time: what `capacity` says, and what `run` carries on a GPU.

    python bench/run_gpu.py                on a machine with a GPU: two to three minutes
    python bench/run_gpu.py --processes 2  and as many runs side by side, each in a process, with a share of the cameras
    python bench/run_gpu.py --dry-run      anywhere: small, on the CPU

Frames are decoded and prepared on the device (`decode=gpu`, `prepare-place=device`); the models are torchvision's
ssdlite320 up to the best class of every anchor, and a small classifier, both by PyTorch in FP16 with graphs. The goal
is 50 cameras with a p99 of 100 ms at one per cent of late or lost pictures at most. `capacity` is asked first, which
measures; one `run` then gets cameras up to the goal, to what `capacity` said, and to a tenth more.

Each row is printed on standard error as it comes. Loading the plan, once for `capacity` and once for `run`, takes most
of the time where PyTorch searches algorithms for every batch size and worker.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import parser_of, show
from gpu_video import LIMIT_MS, NORMALISED, ON_DEVICE, detector
from gpu_video_streams import encoded
from run_capacity import LATE, Ages, watched

from framepace import api
from framepace.clock.system import SystemClock
from framepace.facts.capacity import Capacity
from framepace.facts.plan import Plan
from framepace.facts.running import SourceSpec
from framepace.running.options import Options
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
    """Ask, run, print: each row on standard error as it comes, all of them at the end."""
    parser = parser_of(str(__doc__), seconds=8, capacity_s=45, most=64, processes=1)
    parser.add_argument("--dry-run", action="store_true", help="no GPU: everything small")
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.share:
        _be_a_share(args)
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in _rows(args, Path(folder)):
            print(json.dumps(row), file=sys.stderr, flush=True)
            rows.append(row)
    show("run_gpu", args, rows)


def _rows(args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    video = str(encoded(folder, args.dry_run))
    models, options = _case(args, folder)
    goal = 2 if args.dry_run else GOAL
    limits: Row = {"max_cameras": args.most, "time_limit": args.capacity_s}
    began = time.monotonic()
    said = api.capacity(models, videos=[video], **options, **limits)
    yield _said(said, time.monotonic() - began)
    plan = api.make_case(models, **options).plan
    more = min(args.most, round(1.1 * said.cameras)) if said.missed else said.cameras
    yield from _runs(plan, video, sorted({goal, max(1, said.cameras), max(1, more)}), args.seconds)
    if args.processes > 1:
        yield _side_by_side(args, goal)


def _case(args: argparse.Namespace, folder: Path) -> tuple[list[str], Row]:
    """The models, and the options that make a plan of them."""
    models = ["builtin:detector", "builtin:classifier"]
    if not args.dry_run:
        models[0] = detector(folder, "torch")
    settings = {**NORMALISED, **(ON_CPU if args.dry_run else ON_GPU)}
    return models, {"fps": FPS, "p99_ms": LIMIT_MS, "settings": settings}


def _side_by_side(args: argparse.Namespace, count: int) -> Row:
    """So many cameras, in equal shares, by runs in processes of their own that measure at the same time."""
    shares = [count // args.processes + (place < count % args.processes) for place in range(args.processes)]
    words = ["--seconds", str(args.seconds), *(["--dry-run"] if args.dry_run else [])]
    pipe = subprocess.PIPE
    runs = [
        subprocess.Popen([sys.executable, __file__, "--share", str(share), *words], stdin=pipe, stdout=pipe, text=True)
        for share in shares
    ]
    for run in runs:
        _line(run)  # all its cameras have results
    for run in runs:
        assert run.stdin is not None
        run.stdin.close()
    told = [_line(run) for run in runs]
    failed = sum(run.wait() != 0 for run in runs)
    if failed:
        got = f"{failed} of {len(runs)} runs failed, as they say on standard error"
        return {"what": f"run, {count} cameras, {args.processes} processes", "got": got, "met": False}
    seen = [json.loads(line) for line in told]
    ages = np.concatenate([np.array(each["ages"]) for each in seen])
    lost = sum(each["lost"] for each in seen)
    cpu = sum(each["cpu"] for each in seen)
    row = _told(count, ages, lost, cpu, seen[0]["took"])
    return {**row, "what": f"{row['what']}, {args.processes} processes"}


def _line(run: subprocess.Popen[str]) -> str:
    """The next line that it prints."""
    assert run.stdout is not None
    return run.stdout.readline()


def _be_a_share(args: argparse.Namespace) -> None:
    """Run some of the cameras: print a line when they have results, measure when standard input ends, print."""
    with tempfile.TemporaryDirectory() as folder:
        video = str(encoded(Path(folder), args.dry_run))
        models, options = _case(args, Path(folder))
        ages = Ages()
        run = _started(api.make_case(models, **options).plan, ages)
        _fill(run, video, args.share)
        print(flush=True)
        sys.stdin.read()
        lost, cpu, took = _measured(run, ages, args.seconds)
        print(json.dumps({"ages": [*ages.ages], "lost": lost, "cpu": cpu, "took": took}), flush=True)
        run.stop()
        run.wait()


def _said(said: Capacity, seconds: float) -> Row:
    """What `capacity` says; of a search that met no count that fails, the largest that it tried is no capacity."""
    least = "" if said.missed else "at least "
    words = f"{least}{said.cameras} cameras, in {seconds:.0f} s"
    return {"what": "capacity says", "got": "; ".join([words, *said.notes])}


def _runs(plan: Plan, video: str, counts: Sequence[int], seconds: float) -> Iterator[Row]:
    """One run, to which cameras are added until it has so many: the plan is loaded once."""
    ages = Ages()
    began = time.monotonic()
    run = _started(plan, ages)
    for count in counts:
        _fill(run, video, count)
        if count == counts[0]:
            yield {"what": "run: from loading to results of all cameras", "got": f"{time.monotonic() - began:.0f} s"}
        lost, cpu, took = _measured(run, ages, seconds)
        yield _told(count, np.array(ages.ages), lost, cpu, took)
    run.stop()
    run.wait()


def _started(plan: Plan, ages: Ages) -> Run:
    """A run without cameras."""
    sink = QueuedSink(Function(ages), SystemClock(), capacity=100_000)
    return Run(plan, [], [sink], Options(stays=True)).start()


def _fill(run: Run, video: str, count: int) -> None:
    """Add cameras until there are so many, and wait for results of all."""
    for place in range(len(run.sources), count):
        run.add(SourceSpec(name=f"camera-{place}", address=video, loop=True))
    _await_all(run)


def _measured(run: Run, ages: Ages, seconds: float) -> tuple[int, float, float]:
    """Pictures that were lost, CPU time of this process and time, s, while `ages` were gathered anew."""
    ages.ages.clear()
    before, began = time.process_time(), time.monotonic()
    lost = watched(run, ages, seconds)
    return lost, time.process_time() - before, time.monotonic() - began


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
