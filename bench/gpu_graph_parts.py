"""The parts of bench/gpu_graph.py, each run in a process of its own: generators of rows."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import gpu_graph_bare
import numpy as np
from gpu_tables import SMALL, Bench
from msgspec.structs import replace

from framepace import api
from framepace.backends.base import get_backend
from framepace.backends.deviceworker import DeviceWorker
from framepace.clock.system import SystemClock
from framepace.engine.engine import Engine
from framepace.facts.failure import failure_words
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Outcome, Trace
from framepace.facts.workload import Closed, Input, Stop, Warmup, Workload
from framepace.measure.session import measure

Row = dict[str, Any]
_QUICK = Warmup(seconds_max=0.3)
_OWN_US = {"tensorrt": 30.0, "torch": 30.0, "onnxruntime": 60.0}  # goals of the issue
_SHARE = 0.9
_SLOTS = (2, 4)
STREAMS = {"torch": ("own", "slot"), "tensorrt": ("own", "slot")}
"""Values of the setting 'stream' that a library tells apart."""
_NAMES = ("h2d", "compute", "d2h")
TWICE: tuple[Mapping[str, Any], ...] = (
    {},
    {"options": {"algorithms": "exhaustive"}},
    {"batch": Batching(max=32, sizes=(32,))},
)
"""What two runs in one process are tried with: the default, what failed, and a single batch size."""


def graph_plan(backend: str, model: str = SMALL, **fields: Any) -> ModelPlan:
    """A small network with a graph; the null backend's for a dry run."""
    if backend == "null":
        return ModelPlan(name="m", model="null", backend="null", options={"latency_us": 300, "cpu": "sleep"})
    return Bench([backend], 1.0).plan(backend, model, precision="fp16", **{"graph": True, **fields})


def _apart() -> Any:
    """While it is on, workers are made that capture their kernels alone (ONNX Runtime: that has no more graphs)."""

    def narrow(worker: DeviceWorker, capture: Any, own_graph: bool) -> str | None:
        return None if capture is None or own_graph else "kernels"

    return patch.object(DeviceWorker, "_widest", narrow)


@contextmanager
def open_engine(model: ModelPlan, workers: int = 1) -> Iterator[Engine]:
    """Inside, an engine has loaded the model."""
    engine = Engine(Plan(models=(model,), engine=EnginePlan(workers=workers)), SystemClock())
    with closing(engine):
        yield engine


def run_closed(engine: Engine, concurrency: int, stop: Stop) -> Trace:
    """Measure so many requests at a time, after a short warm-up."""
    load = Workload(
        load=Closed(concurrency=concurrency), scope="model", input=Input(frames=1), stop=stop, warmup=_QUICK
    )
    return measure(engine.plan, load, engine=engine)


def head(backend: str, what: str, got: str, **more: Any) -> Row:
    """A row of the table."""
    return {"backend": backend, "what": what, "got": got, **more}


def answers(backend: str, args: argparse.Namespace) -> Iterator[Row]:
    """Outputs of graphs against those without, for whole batches and parts of them; then the same ones again."""
    for stream in STREAMS.get(backend, ("own",)):
        yield from _answers(backend, stream)


def _answers(backend: str, stream: str) -> Iterator[Row]:
    batch = Batching(max=4, sizes=(2, 4))
    exact: Mapping[str, Any] = {} if backend == "null" else {"precision": "fp32", "options": {"tf32": False}}
    fields = {"batch": batch, "slots": 3, "stream": stream, **exact}
    plans = {graph: _model(backend, graph=graph, **fields) for graph in (False, True)}
    sessions = {graph: get_backend(backend).load(plan, SystemClock()) for graph, plan in plans.items()}
    workers = {graph: session.worker() for graph, session in sessions.items()}
    for worker in workers.values():
        worker.prime()
    errors = [_error(workers, slot % workers[True].slots, count) for slot in range(6) for count in (4, 3, 1)]
    worst = max(errors)
    told = sessions[True].notes
    yield head(
        backend, f"answers, stream={stream}, largest relative error", f"{worst:.1e}", goal="1e-3", met=worst <= 1e-3
    )
    yield head(backend, "what a request's graph holds", str(getattr(workers[True], "_scope", None)), notes=told)
    differing = _unsteady(workers[True], 300)
    yield head(
        backend, "answers that differ in 300 repetitions, three in flight", str(differing), goal="0", met=not differing
    )
    for worker in workers.values():
        worker.close()
    yield head(backend, "workers with graphs close", "yes", met=True)


def _model(backend: str, **fields: Any) -> ModelPlan:
    if backend == "null":
        return replace(graph_plan(backend), batch=fields["batch"])
    precision = fields.pop("precision")
    return replace(graph_plan(backend, **fields), precision=precision)


def _error(workers: Mapping[bool, Any], slot: int, count: int) -> float:
    """The largest difference of outputs with and without graphs, of the largest value."""
    outputs = {}
    for graph, worker in workers.items():
        for array in worker.staging(slot).values():
            array[...] = np.random.default_rng([slot, count]).random(array.shape)
        worker.enqueue(slot, count)
        outputs[graph] = {name: out[:count].astype(np.float64) for name, out in worker.wait(slot).items()}
    largest = [float(np.abs(out).max()) or 1.0 for out in outputs[False].values()]
    off = [float(np.abs(out - outputs[True][name]).max()) for name, out in outputs[False].items()]
    return max(a / b for a, b in zip(off, largest, strict=True))


def _unsteady(worker: Any, count: int) -> int:
    """Requests whose outputs are not those of the first one of their slot; all slots are in flight."""
    first: dict[int, bytes] = {}
    differing = 0
    for _ in range(count):
        for slot in range(worker.slots):
            worker.enqueue(slot, 4)
        for slot in range(worker.slots):
            told = b"".join(out.tobytes() for out in worker.wait(slot).values())
            differing += first.setdefault(slot, told) != told
    return differing


def cost(backend: str, args: argparse.Namespace) -> Iterator[Row]:
    """Wall time of requests one after the other: the engine at default settings, and a bare loop of the same graph."""
    model = graph_plan(backend)
    with open_engine(model) as engine:
        bare = gpu_graph_bare.bare(backend, engine.sessions[0], 0, 1)
        ours, theirs, traces = [], [], []
        for turn in range(3 * args.rounds):
            for side in ("ours", "bare") if turn % 2 == 0 else ("bare", "ours"):
                if side == "bare":
                    theirs.append(median(bare.times(400)))
                    continue
                traces.append(run_closed(engine, 1, Stop(count=400)))
                ours.append(period(traces[-1]))
        del bare  # holds the session, which must go before its device
        more = [(a - b) / 1e3 for a, b in zip(ours, theirs, strict=True)]
        goal = _OWN_US.get(backend, 60.0)
        got = (
            f"{median(more):.1f} us more than {median(theirs) / 1e3:.1f} us (pairs {min(more):.1f} to {max(more):.1f})"
        )
        yield head(
            backend, "own cost per request", got, goal=f"{goal:.0f} us", met=median(more) <= goal, us=median(more)
        )
        yield head(backend, "device times, one graph", _times(traces), notes=engine.notes)
        yield head(backend, "host times, one graph", _phases(traces[-1]))
        plain = _apart_traces(model, args.rounds)
        yield head(backend, "device times, copies apart", _times(plain), us=period(plain[-1]) / 1e3)


def _apart_traces(model: ModelPlan, rounds: int) -> list[Trace]:
    with _apart(), open_engine(model) as engine:
        return [run_closed(engine, 1, Stop(count=400)) for _ in range(rounds)]


def period(trace: Trace) -> float:
    """Median time from one delivery to the next, ns."""
    return float(np.median(np.diff(np.unique(trace.measured().requests["delivered"]))))


def _phases(trace: Trace) -> str:
    """Where the host's time of a request goes: medians of its stamps' distances, and from a delivery to the next."""
    rows = trace.measured().requests
    stamps = ("started", "enqueued", "finished", "delivered")
    spans = {f"{a} to {b}": rows[b] - rows[a] for a, b in pairwise(stamps)}
    spans["to the next"] = rows["started"][1:] - rows["delivered"][:-1]
    return ", ".join(f"{name} {float(np.median(span)) / 1e3:.1f} us" for name, span in spans.items())


def _times(traces: list[Trace]) -> str:
    rows = [trace.measured().requests for trace in traces]
    middle = {name: median(float(np.median(r[name])) for r in rows) / 1e3 for name in _NAMES}
    return ", ".join(f"{name} {us:.1f} us" for name, us in middle.items())


def rate(backend: str, args: argparse.Namespace) -> Iterator[Row]:
    """Frames per second with 1, 2 and 4 workers: one graph, copies apart, and as many threads of the bare loop.

    Each at its best number of requests in flight per worker.
    """
    for workers in (1, 2, 4):
        found = {slots: _rates(backend, graph_plan(backend, slots=slots), workers, args) for slots in _SLOTS}
        yield _rate_row(backend, workers, found)


def _rates(backend: str, model: ModelPlan, workers: int, args: argparse.Namespace) -> dict[str, float]:
    """Medians of the rounds, in which the sides take turns."""
    streams = {name: replace(model, stream=name) for name in STREAMS.get(backend, ("own",))[1:]}
    with ExitStack() as stack:
        engine, apart = (stack.enter_context(open_engine(model, workers)) for _ in range(2))
        engines = {f"stream={name}": stack.enter_context(open_engine(m, workers)) for name, m in streams.items()}
        bare = gpu_graph_bare.BareThreads(backend, engine.sessions[0], workers, model.slots)
        engines = {"one graph": engine, **engines, "apart": apart}
        found: dict[str, list[float]] = {name: [] for name in (*engines, "bare")}
        for turn in range(args.rounds):
            for side in list(found) if turn % 2 == 0 else list(found)[::-1]:
                found[side].append(_rate(side, engines, bare, workers * model.slots, args.seconds))
        bare.close()
    return {side: median(values) for side, values in found.items()}


def _rate(side: str, engines: Mapping[str, Engine], bare: Any, concurrency: int, seconds: float) -> float:
    if side == "bare":
        return float(bare.run(seconds))
    with _apart() if side == "apart" else nullcontext():
        return _throughput(run_closed(engines[side], concurrency, Stop(seconds=seconds)))


def _throughput(trace: Trace) -> float:
    """Frames per second; 0 where fewer than two were delivered."""
    rows = trace.measured().requests
    delivered = np.sort(rows["delivered"][rows["outcome"] == Outcome.OK])
    if len(delivered) < 2:
        return 0.0
    return float((len(delivered) - 1) / (delivered[-1] - delivered[0]) * 1e9)


def told(trace: Trace) -> str:
    """What a run delivered; where inferences failed, how many, and what the first one said."""
    outcomes = trace.requests["outcome"]
    failed = int((outcomes == Outcome.FAILED).sum())
    rate = f"{_throughput(trace):,.0f}/s"
    if not failed:
        return rate
    words = failure_words(failed / len(outcomes), trace.meta.failure)
    return f"{rate}, {failed:,} of {len(outcomes):,} failed: {words}"


def _rate_row(backend: str, workers: int, found: Mapping[int, Mapping[str, float]]) -> Row:
    """`found`: rates by the number of slots and side."""
    sides = next(iter(found.values()))
    best = {side: max((rates[side], slots) for slots, rates in found.items()) for side in sides}
    share = max(rate for side, (rate, _) in best.items() if side not in ("apart", "bare")) / best["bare"][0]
    rates = ", ".join(f"{side} {value:,.0f}/s (slots={slots})" for side, (value, slots) in best.items())
    all_of = "; ".join(f"slots={slots}: " + _listed(rates) for slots, rates in found.items())
    what = f"frames/s, {workers} worker{'s' if workers > 1 else ''}"
    got = f"{share:.1%} of bare ({rates})"
    return head(backend, what, got, goal=f"{_SHARE:.0%}", met=share >= _SHARE, share=share, notes=[all_of])


def _listed(rates: Mapping[str, float]) -> str:
    return ", ".join(f"{side} {value:,.0f}/s" for side, value in rates.items())


def poison(backend: str, args: argparse.Namespace) -> Iterator[Row]:
    """A sweep with one cell that poisons its process, again and again: every other cell is measured."""
    hook = "abort" if backend == "null" else "stray"
    for turn in range(args.repetitions):
        hooks = ["ignore", "ignore_too"]
        hooks.insert(turn % 3, hook)
        with _measured_apart(backend):
            cells = api.sweep(_poisonous(backend), {"finish": [f"gpu_graph_hooks:{name}" for name in hooks]}).cells
        wrong = [cell for cell in cells if (cell.summary is None) != cell.settings["finish"].endswith(hook)]
        told = next(((cell.error or "") for cell in cells if cell.summary is None), "")
        got = f"{len(cells) - len(wrong)} of {len(cells)} as expected: {' '.join(told.split())[:150]}"
        yield head(backend, "a sweep with a poisonous cell", got, goal="all", met=not wrong)


def _measured_apart(backend: str) -> AbstractContextManager[Any]:
    """What runs on a device is measured in a process of its own; the null backend is treated so here."""
    if backend == "null":
        return patch("framepace.lab.lab.on_device", lambda model: True)
    return nullcontext()


def _poisonous(backend: str) -> Case:
    model = graph_plan(backend, model="builtin:classifier") if backend != "null" else graph_plan(backend)
    workload = Workload(
        load=Closed(), scope="pipeline", input=Input(size=(192, 320), frames=4), stop=Stop(count=60), warmup=_QUICK
    )
    return Case(plan=Plan(models=(model,)), workload=workload)


def twice(backend: str, args: argparse.Namespace) -> Iterator[Row]:
    """Graphs of several batch sizes of an exported network, three runs in one process."""
    changes = TWICE[args.repetitions]
    found = sorted(Path(args.networks or "").glob("*mobilenet_v3_large*.onnx")) if args.networks else []
    said = " ".join(f"{key}={value}" for key, value in changes.items()) or "defaults"
    what = f"graph=on batch=32 workers=2, three runs, {said}"
    if backend != "onnxruntime" or not found:
        yield head(backend, what, "not run: needs ONNX Runtime and --networks with mobilenet_v3_large")
        return
    fields = {"batch": Batching(max=32), **changes}
    model = replace(graph_plan(backend, str(found[0]), **fields), precision="fp32")
    with open_engine(model, 2) as engine:
        traces = [run_closed(engine, 128, Stop(seconds=args.seconds)) for _ in range(3)]
        notes = engine.notes
    alive = threading.active_count()
    met = not any(trace.meta.failure for trace in traces)
    yield head(backend, what, f"{'; '.join(map(told, traces))}; {alive} threads left", met=met, notes=notes)


PARTS: Mapping[str, Callable[[str, argparse.Namespace], Iterator[Row]]] = {
    "answers": answers,
    "cost": cost,
    "rate": rate,
    "poison": poison,
    "twice": twice,
}
