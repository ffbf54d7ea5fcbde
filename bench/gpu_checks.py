"""The checks of bench/gpu.py: known durations, independent instruments, framepace's own cost, and faults."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpu_bare
import numpy as np
from gpu_tables import LARGE, SMALL, Bench, failure, numbers

from framepace import api
from framepace.analyze.stats import paired_ratio
from framepace.exec.backend import register
from framepace.exec.clock import SystemClock
from framepace.exec.engine import Engine
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Stop, Warmup, Workload
from framepace.measure.session import measure

Row = dict[str, Any]
_QUICK = Warmup(seconds_max=0.5)
_ROOT = Path(__file__).resolve().parent.parent


def contract(bench: Bench) -> list[Row]:
    """The contract suite over every backend that this Python has, on the GPU."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/contract",
        "-q",
        "--no-header",
        "-k",
        "cuda",
        "-p",
        "no:cacheprovider",
    ]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    failed = [line for line in lines if line.startswith("FAILED")]
    return [
        {"what": "contract suite", "got": lines[-1] if lines else done.stderr[-200:], "met": done.returncode == 0}
    ] + [{"what": line} for line in failed[:20]]


def calibration(bench: Bench) -> list[Row]:
    """A kernel that spins for a known time, which it also notes itself: what the trace says of it."""
    register(gpu_bare.SpinBackend)
    rows = []
    for us in (200, 500, 1000, 2000, 5000, 10000):
        case = _on(bench, "spin", options={"us": us})
        trace, known = measure(case.plan, case.workload), gpu_bare.SpinBackend.noted()
        compute = np.median(trace.measured().requests["compute"])
        off = float(compute) / known - 1
        rows.append(
            {
                "asked us": us,
                "kernel's own us": known / 1e3,
                "measured us": compute / 1e3,
                "off": off,
                "met": abs(off) < 0.01,
            }
        )
    return rows


def _on(bench: Bench, backend: str, model: str = SMALL, **fields: Any) -> Case:
    case = bench.case("onnxruntime", model, **fields) if backend != "spin" else bench.case("spin", "null", **fields)
    return case


def _run(engine: Engine, count: int, concurrency: int = 1) -> Trace:
    load = Workload(load=Closed(concurrency=concurrency), scope="model", stop=Stop(count=count), warmup=_QUICK)
    return measure(engine.plan, load, engine=engine)


def _pairs(engine: Engine, bare: Callable[[int], Any], pairs: int = 8, count: int = 300) -> tuple[list[Any], list[Any]]:
    """Traces of framepace and what the bare loop says, in turn (A B B A ...)."""
    ours: list[Any] = []
    theirs: list[Any] = []
    for pair in range(pairs):
        steps = [lambda: ours.append(_run(engine, count)), lambda: theirs.append(bare(count))]
        for step in steps if pair % 2 == 0 else steps[::-1]:
            step()
    return ours, theirs


def instrument(bench: Bench) -> list[Row]:
    """Device time of the trace against CUDA events in a bare loop, and against CUPTI's kernel sums for PyTorch."""
    rows = []
    for backend in bench.backends:
        for model, graph in ((SMALL, False), (SMALL, True), (LARGE, False)):
            plan = bench.plan(backend, model, graph=graph, slots=1)
            engine = Engine(_plan(plan), SystemClock())
            with gpu_bare.loop(backend, engine, plan) as bare:
                ours, theirs = _pairs(engine, bare.device_times)
            a, b = [t.measured().requests["compute"].astype(float) for t in ours], theirs
            ratio = paired_ratio(b, a, "median")
            rows.append(_compared(backend, model, graph, "CUDA events, bare loop", b, a, ratio, 0.01))
            engine.close()
    if "torch" in bench.backends:
        for model in (SMALL, LARGE):
            plan = bench.plan("torch", model, graph=True, slots=1)
            engine = Engine(_plan(plan), SystemClock())
            ours = [t.measured().requests["compute"].astype(float) for t in (_run(engine, 200) for _ in range(4))]
            kernels = gpu_bare.cupti_span(engine, lambda: _run(engine, 100))
            ratio = float(np.median(np.concatenate(ours))) / kernels["span"]
            rows.append(
                {"backend": "torch", "model": model.removeprefix("builtin:"), "graph": True,
                 "instrument": "CUPTI, first kernel to last", "theirs us": kernels["span"] / 1e3,
                 "ours us": float(np.median(np.concatenate(ours))) / 1e3, "off": ratio - 1, "met": abs(ratio - 1) < 0.01,
                 "sum of kernels us": kernels["sum"] / 1e3}
            )  # fmt: skip
            engine.close()
    return rows


def _plan(model: Any) -> Any:
    from framepace.facts.plan import Plan

    return Plan(models=(model,))


def _compared(
    backend: str, model: str, graph: bool, name: str, theirs: list[Any], ours: list[Any], ratio: Any, goal: float
) -> Row:
    value = ratio.value - 1
    return {
        "backend": backend,
        "model": model.removeprefix("builtin:"),
        "graph": graph,
        "instrument": name,
        "theirs us": float(np.median(np.concatenate(theirs))) / 1e3,
        "ours us": float(np.median(np.concatenate(ours))) / 1e3,
        "off": value,
        "interval": "" if ratio.low is None else f"[{ratio.low - 1:+.4f}, {ratio.high - 1:+.4f}]",
        "met": abs(value) <= goal,
    }


def overhead(bench: Bench) -> list[Row]:
    """Wall time of a request, copies included: framepace's loop against a bare loop of the same library."""
    rows = []
    for backend in bench.backends:
        for model, graph in ((SMALL, True), (SMALL, False), ("builtin:resnet50@448x256", True)):
            plan = bench.plan(backend, model, graph=graph, slots=1)
            engine = Engine(_plan(plan), SystemClock())
            with gpu_bare.loop(backend, engine, plan) as bare:
                ours, theirs = _pairs(engine, bare.wall_times)
            a = [np.diff(np.unique(t.measured().requests["delivered"])).astype(float) for t in ours]
            ratio = paired_ratio(theirs, a, "median")
            row = _compared(backend, model, graph, "bare loop, wall time", theirs, a, ratio, 0.03)
            row["more us"] = row["ours us"] - row["theirs us"]
            row["met"] = row["off"] <= 0.03 or (row["theirs us"] < 500 and row["more us"] <= 30)
            rows.append(row)
            engine.close()
    return rows


def faults(bench: Bench) -> list[Row]:
    """Bad input and faults that need a GPU: each with the sentence a user sees."""
    rows: list[Row] = []
    for backend in bench.backends:
        rows.append(_fault("no such device", failure(_device(bench.case(backend), "cuda:7"))))
        huge = bench.case(backend, LARGE, slots=2)
        huge = api.apply(huge, {"batch": 20000})
        rows.append(_fault(f"{backend}: too little memory", failure(huge)))
        cells = api.sweep(api.apply(bench.case(backend), {"slots": 1}), {"batch": [1, 1 << 17, 2]}).cells
        went_on = [cell.error is None for cell in cells]
        rows.append(
            {
                "what": f"{backend}: a sweep goes on after a cell without memory",
                "got": str(went_on),
                "met": went_on == [True, False, True],
            }
        )
        rows.append({"what": f"{backend}: memory is free again", "got": _free(), "met": None})
    rows.append(_lost())
    return rows


def _device(case: Case, device: str) -> Case:
    return api.apply(case, {"device": device})


def _fault(what: str, got: str | None) -> Row:
    return {"what": what, "got": got, "met": (got is not None and "what to do" in got) or (got or "").count("/") > 0}


def _free() -> str:
    from framepace.exec import cuda

    free, total = cuda.free_memory()
    return f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"


def _lost() -> Row:
    """A kernel that writes where it may not, in mid-run: the process loses its device, the trace keeps what was measured."""
    code = "import sys; sys.path.insert(0, 'bench'); import gpu_bare; gpu_bare.lose_device(sys.argv[1])"
    folder = f"/tmp/framepace-lost-{time.time_ns()}"
    done = subprocess.run([sys.executable, "-c", code, folder], cwd=_ROOT, capture_output=True, text=True)
    try:
        trace = api.load_trace(Path(folder))
        got = f"stopped: {trace.meta.stopped}; {len(trace.measured())} requests kept; {trace.meta.notes[:1]}"
        return {
            "what": "device lost in mid-run",
            "got": got,
            "met": trace.meta.stopped == "device lost" and len(trace.measured()) > 10,
        }
    except Exception as error:
        return {"what": "device lost in mid-run", "got": f"{error} {done.stderr[-300:]}", "met": False}


__all__ = ["calibration", "contract", "faults", "instrument", "numbers", "overhead"]
