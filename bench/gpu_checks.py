"""The checks of bench/gpu.py: known durations, independent instruments, framepace's own cost, and faults."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import gpu_bare
import numpy as np
from gpu_tables import LARGE, SMALL, Bench, failure

from framepace import api
from framepace.analyze.stats import paired_ratio
from framepace.backends.base import register
from framepace.clock.system import SystemClock
from framepace.devices import cuda
from framepace.engine.engine import Engine
from framepace.errors import FramepaceError
from framepace.explaining.metrics import Samples
from framepace.facts.plan import Plan
from framepace.facts.settings import apply
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.store import load_trace

Row = dict[str, Any]
_QUICK = Warmup(seconds_max=0.5)
_ROOT = Path(__file__).resolve().parent.parent


def contract(bench: Bench) -> list[Row]:
    """The contract suite over every backend that this Python has, on the GPU."""
    options = ["-q", "--no-header", "-k", "cuda", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "tests/contract", *options]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    got = lines[-1] if lines else done.stderr[-200:]
    return [{"what": "contract suite", "got": got, "met": done.returncode == 0}, *({"what": f} for f in failed[:20])]


def calibration(bench: Bench) -> list[Row]:
    """A kernel that spins for a known time, which it also notes itself: what the trace says of it."""
    register(gpu_bare.SpinBackend)
    rows = []
    for us in (200, 500, 1000, 2000, 5000, 10000):
        case = bench.case("spin", "null", options={"us": us})
        trace, known = measure(case.plan, case.workload), gpu_bare.SpinBackend.noted()
        compute = float(np.median(trace.measured().requests["compute"]))
        off = compute / known - 1
        row = {"asked us": us, "kernel's own us": known / 1e3, "measured us": compute / 1e3, "off": off}
        rows.append(row | {"met": abs(off) < 0.01})
    return rows


def instrument(bench: Bench) -> list[Row]:
    """Device time of the trace against CUDA events in a bare loop, and against CUPTI for PyTorch."""
    rows = []
    for backend in bench.backends:
        for model, graph in ((SMALL, False), (SMALL, True), (LARGE, False)):
            plan = bench.plan(backend, model, graph=graph, slots=1)
            with _engine(plan) as engine, gpu_bare.loop(backend, engine, plan) as bare:
                ours, theirs = _pairs(engine, bare.device_times)
            rows.append(_compared(plan, "CUDA events, bare loop", theirs, list(map(_compute, ours)), 0.01))
    for model in (SMALL, LARGE) if "torch" in bench.backends else ():
        with _engine(bench.plan("torch", model, graph=True, slots=1)) as engine:
            median = float(np.median(np.concatenate([_compute(_run(engine, 200)) for _ in range(4)])))
            rows += _against_cupti(model, median, gpu_bare.cupti_sum(partial(_run, engine, 100)))
    return rows


def overhead(bench: Bench) -> list[Row]:
    """Wall time of a request, copies included: framepace's loop against a bare loop of the same library."""
    rows = []
    for backend in bench.backends:
        for model, graph in ((SMALL, True), (SMALL, False), ("builtin:resnet50@448x256", True), (LARGE, True)):
            plan = bench.plan(backend, model, graph=graph, slots=1)
            with _engine(plan) as engine, gpu_bare.loop(backend, engine, plan) as bare:
                ours, theirs = _pairs(engine, bare.wall_times)
            row = _compared(plan, "bare loop, wall time", theirs, list(map(_period, ours)), 0.03)
            more = row["ours us"] - row["theirs us"]
            rows.append(row | {"more us": more, "met": row["off"] <= 0.03 or (row["theirs us"] < 500 and more <= 30)})
    return rows


def faults(bench: Bench) -> list[Row]:
    """Bad input and faults that need a GPU: each with the sentence a user sees."""
    rows: list[Row] = []
    for backend in bench.backends:
        rows.append(_fault(f"{backend}: no such device", failure(apply(bench.case(backend), {"device": "cuda:7"}))))
        huge = apply(bench.case(backend, LARGE), {"batch": 20000})
        rows.append(_fault(f"{backend}: a batch that does not fit", failure(huge)))
        cells = api.sweep(apply(bench.case(backend), {"slots": 1}), {"batch": [1, 1 << 17, 2]}).cells
        went_on = [cell.error is None for cell in cells]
        free, total = cuda.free_memory()
        got = f"cells {went_on}, then {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        what = f"{backend}: a sweep goes on after a cell that does not fit, and frees what it took"
        rows.append({"what": what, "got": got, "met": went_on == [True, False, True]})
        rows += _crowded(bench, backend)
    return [*rows, _lost()]


def _crowded(bench: Bench, backend: str) -> list[Row]:
    """Nearly all memory is held by others: a model that ran before, one that is new, and workers until it is full."""
    case = apply(bench.case(backend), {"batch": 8})
    api.bench(case)  # engines are in the cache from here on
    rows = []
    with _held(all_but=32 << 20):
        for what, changes in (("that ran before", {}), ("that is new", {"batch": 7})):
            rows.append(_fault(f"{backend}: 32 MiB free, a model {what}", failure(apply(case, changes))))
    with _held(all_but=1 << 30):
        cells = api.sweep(case, {"workers": [1, 64, 2]}).cells
    ran = [cell.error is None for cell in cells]
    got = f"cells {ran}: {' / '.join(' / '.join((cell.error or '').splitlines()) for cell in cells[1:2])}"
    return [
        *rows,
        {"what": f"{backend}: 1 GiB free, 1, 64 and 2 workers", "got": got, "met": ran == [True, False, True]},
    ]


@contextmanager
def _held(all_but: int) -> Iterator[None]:
    """So much device memory is left free, the rest is taken."""
    with closing(cuda.open_device(None)) as device:
        device.memory(cuda.free_memory()[0] - all_but)
        yield


def _fault(what: str, got: str | None) -> Row:
    return {"what": what, "got": got, "met": got is not None}


def _lost() -> Row:
    """A kernel writes where it may not, in mid-run: the process loses its device, the trace keeps what was measured."""
    code = "import sys; sys.path.insert(0, 'bench'); import gpu_bare; gpu_bare.lose_device(sys.argv[1])"
    folder, what = f"/tmp/framepace-lost-{time.time_ns()}", "device lost in mid-run"
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=_ROOT, capture_output=True, text=True)
    try:
        trace = load_trace(Path(folder))
    except FramepaceError as error:
        return {"what": what, "got": f"{error} {done.stderr[-300:]}", "met": False}
    kept, stopped = len(trace.measured()), trace.meta.stopped
    got = f"stopped: {stopped}; {kept} requests kept; {' '.join(trace.meta.notes[:1])}"
    return {"what": what, "got": got, "met": stopped == "device lost" and kept > 10}


class _engine:
    """An engine of one model, closed at the end."""

    def __init__(self, plan: Any) -> None:
        self._engine = Engine(Plan(models=(plan,)), SystemClock())

    def __enter__(self) -> Engine:
        return self._engine

    def __exit__(self, *_: object) -> None:
        self._engine.close()


def _run(engine: Engine, count: int) -> Trace:
    load = Workload(load=Closed(concurrency=1), scope="model", stop=Stop(count=count), warmup=_QUICK)
    return measure(engine.plan, load, engine=engine)


def _compute(trace: Trace) -> Samples:
    return trace.measured().requests["compute"].astype(np.float64)


def _period(trace: Trace) -> Samples:
    return np.diff(np.unique(trace.measured().requests["delivered"])).astype(np.float64)


def _pairs(
    engine: Engine, bare: Callable[[int], Samples], pairs: int = 8, count: int = 300
) -> tuple[list[Trace], list[Samples]]:
    """Traces of framepace and what the bare loop says, in turn (A B B A ...)."""
    ours: list[Trace] = []
    theirs: list[Samples] = []
    for pair in range(pairs):
        for side in ("ours", "bare") if pair % 2 == 0 else ("bare", "ours"):
            if side == "ours":
                ours.append(_run(engine, count))
            else:
                theirs.append(bare(count))
    return ours, theirs


def _compared(plan: Any, instrument: str, theirs: list[Samples], ours: list[Samples], goal: float) -> Row:
    ratio = paired_ratio(theirs, ours, "median")
    off = ratio.value - 1
    known = ratio.low is not None and ratio.high is not None
    return {
        "backend": plan.backend,
        "model": plan.model.removeprefix("builtin:"),
        "graph": plan.graph,
        "instrument": instrument,
        "theirs us": float(np.median(np.concatenate(theirs))) / 1e3,
        "ours us": float(np.median(np.concatenate(ours))) / 1e3,
        "off": off,
        "interval": f"[{ratio.low - 1:+.4f}, {ratio.high - 1:+.4f}]" if known else "",  # type: ignore[operator]
        "met": abs(off) <= goal,
    }


def _against_cupti(model: str, ours: float, theirs: dict[str, float]) -> list[Row]:
    head = {"backend": "torch", "model": model.removeprefix("builtin:"), "graph": True}
    named = f"CUPTI, sum of {theirs['kernels']:.0f} kernels (gaps between them left out)"
    off = ours / theirs["sum"] - 1
    row = {**head, "instrument": named, "theirs us": theirs["sum"] / 1e3, "ours us": ours / 1e3, "off": off}
    return [row | {"met": abs(off) <= 0.01}]
