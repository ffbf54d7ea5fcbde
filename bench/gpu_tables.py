"""The tables of bench/gpu.py: each from sweeps of framepace itself, over both libraries where both are installed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from msgspec.structs import replace

from framepace import api
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.errors import FramepaceError
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case, apply
from framepace.facts.summary import Summary
from framepace.facts.sweep import Cell
from framepace.facts.workload import Closed, Input, Stop, Warmup, Workload

Row = dict[str, Any]
SMALL, LARGE = "builtin:classifier@768x448", "builtin:resnet50@1024x576"
# cuBLAS and cuDNN tactics need their libraries beside TensorRT 8.6; convolutional networks do without.
TENSORRT_OPTIONS = {"tactics": "edge_mask_convolutions,jit_convolutions"}


@dataclass
class Bench:
    """What the parts share: the backends that are installed here, and the length of a measurement."""

    backends: list[str]
    seconds: float
    versions: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for backend in self.backends:
            self.versions |= get_backend(backend).versions()

    def plan(self, backend: str, model: str = SMALL, **fields: Any) -> ModelPlan:
        """A model on the GPU with this backend."""
        options = dict(TENSORRT_OPTIONS) if backend == "tensorrt" and self.versions["tensorrt"] < "9" else {}
        given = {**options, **fields.pop("options", {})}
        return ModelPlan(name="m", model=model, backend=backend, device="cuda", options=given, **fields)

    def case(self, backend: str, model: str = SMALL, concurrency: int | None = None, **fields: Any) -> Case:
        """That model in a closed loop, one input again and again."""
        engine = fields.pop("engine", None)
        plan = Plan(models=(self.plan(backend, model, **fields),), **({"engine": engine} if engine else {}))
        workload = Workload(
            load=Closed(concurrency=concurrency),
            scope="model",
            input=Input(frames=1),
            stop=Stop(seconds=self.seconds),
            warmup=Warmup(seconds_max=1.0),
        )
        return Case(plan=plan, workload=workload)


def usable(backends: Sequence[str]) -> list[str]:
    """The backends whose library is installed."""
    modules = {"onnxruntime": "onnxruntime", "torch": "torch", "tensorrt": "tensorrt"}
    return [name for name in backends if find_spec(modules.get(name, name)) is not None]


def row(cell: Cell, **head: Any) -> Row:
    """The numbers of one cell: latency, device times, clocks, power, activity."""
    s = cell.summary
    if s is None:
        return {**head, "error": (cell.error or "").splitlines()[0]}
    return {**head, **numbers(s)}


def numbers(s: Summary) -> Row:
    """Latency and device times in ms, clocks in MHz, power in W, shares in per cent."""
    p50, p99 = (_ms(s, q) for q in (50, 99))
    found: Row = {"p50 ms": p50, "p99 ms": p99, "frames/s": round(s.throughput, 1)}
    found |= {f"{name} ms": round(value / 1e6, 4) for name, value in s.frames.parts.items()}
    if s.devices:
        d = s.devices[0]
        medians = {"SM MHz": ("sm_clock_mhz", 1), "W": ("power_mw", 1e-3), "SM %": ("sm_activity", 0.1)}
        medians |= {"tensor %": ("tensor_activity", 0.1), "DRAM %": ("dram_activity", 0.1)}
        found |= {name: round(d.medians[key] * by, 1) for name, (key, by) in medians.items() if key in d.medians}
        shares = {"busy %": d.busy, "overlap %": d.overlap, "limited %": d.limited}
        found |= {name: round(100 * share, 1) for name, share in shares.items() if share is not None}
        speeds = {"in GB/s": d.h2d_bytes_s, "out GB/s": d.d2h_bytes_s}
        found |= {name: round(speed / 1e9, 1) for name, speed in speeds.items() if speed is not None}
    return found


def _ms(s: Summary, q: float) -> float | None:
    found = s.frames.percentile(q)
    return None if found is None or found.estimate is None else round(found.estimate.value / 1e6, 4)


def _sweep(case: Case, vary: Mapping[str, Sequence[Any]], **head: Any) -> list[Row]:
    cells = api.sweep(case, vary).cells
    return [row(cell, **head, **{k: str(v) for k, v in cell.settings.items()}) for cell in cells]


def delays(bench: Bench) -> list[Row]:
    """Latency against the gap after each inference, one sweep a model: what grows, and what the clock does.

    Cells end by count, not by time: a gap of 200 ms leaves few inferences in a second.
    """
    rows = []
    for backend in bench.backends:
        for model, precision, graph in ((SMALL, "fp16", True), (LARGE, "fp32", False)):
            for wait, gaps in (("sleep", [0, 5, 20, 50, 200]), ("spin", [0, 20, 50])):
                case = bench.case(backend, model, precision=precision, graph=graph)
                case = apply(replace(case, workload=replace(case.workload, stop=Stop(count=40))), {"wait": wait})
                head = {"backend": backend, "model": _short(model), "precision": precision, "wait": wait}
                rows += _sweep(case, {"delay-ms": gaps}, **head)
    return rows


def precision_small(bench: Bench) -> list[Row]:
    """Resolution x precision of the small network, one sweep a backend."""
    return _precision(bench, ["classifier@1024x576", "classifier@768x448"])


def precision_large(bench: Bench) -> list[Row]:
    """The same of the large one, whose engines take minutes to build."""
    return _precision(bench, ["resnet50@1024x576", "resnet50@768x448"])


def _precision(bench: Bench, names: list[str]) -> list[Row]:
    rows = []
    for backend in bench.backends:
        vary = {"model": [f"builtin:{name}" for name in names], "precision": _precisions(backend)}
        rows += _sweep(bench.case(backend, calibration="synthetic"), vary, backend=backend)
    return rows


def _precisions(backend: str) -> list[str]:
    return ["fp32", "fp16", "bf16"] if backend == "torch" else ["fp32", "fp16", "int8"]


def streams(bench: Bench) -> list[Row]:
    """One to eight workers, each with a stream of its own: throughput, overlap and activity."""
    rows = []
    for backend in bench.backends:
        for model in (SMALL, LARGE):
            for workers in (1, 2, 3, 4, 6, 8):
                case = bench.case(backend, model, 2 * workers, precision="fp16", graph=True)
                rows += _sweep(case, {"workers": [workers]}, backend=backend, model=_short(model))
    return rows


def batches(bench: Bench) -> list[Row]:
    """Batch 1 to 32: latency of a batch, frames per second and activity."""
    rows = []
    for backend in bench.backends:
        for model in (SMALL, LARGE):
            case = bench.case(backend, model, precision="fp16", graph=True)
            # TensorRT builds an engine for each: minutes for the large network.
            sizes = [1, 4, 8, 32] if (backend, model) == ("tensorrt", LARGE) else [1, 2, 4, 8, 16, 32]
            rows += _sweep(case, {"batch": sizes}, backend=backend, model=_short(model))
    return rows


def transfers(bench: Bench) -> list[Row]:
    """How inputs travel: pageable, pinned, not at all, and as uint8 with the preparation in the graph."""
    rows = []
    vary = {"prepare-place": ["host", "graph"], "transfer": ["pageable", "pinned", "device"]}
    for backend in bench.backends:
        for model in (SMALL, LARGE):
            rows += _sweep(bench.case(backend, model, slots=1), vary, backend=backend, model=_short(model))
            # Two requests in flight: the copies of one beside the kernels of the other.
            case = bench.case(backend, model, 2)
            rows += _sweep(case, {"transfer": ["pinned"]}, backend=backend, model=_short(model), slots=2)
    return rows


def compiled(bench: Bench) -> list[Row]:
    """PyTorch's small network as it stands, in a CUDA graph, through torch.compile, and both; how long each loads."""
    rows = []
    vary = {"graph": [False, True]}
    for precision in ("fp32", "fp16") if "torch" in bench.backends else ():
        for options in ({}, {"channels_last": True}, {"compile": True}, {"compile": True, "channels_last": True}):
            case = bench.case("torch", precision=precision, options=options)
            head = {"precision": precision, "options": " ".join(options), "load s": _loading(case)}
            rows += _sweep(case, vary, **head)
    return rows


def _loading(case: Case) -> float:
    """Seconds until the model is loaded; PyTorch forgets what it compiled before, and so does not reach its limit."""
    import torch

    torch._dynamo.reset()
    (model,), began = case.plan.models, time.monotonic()
    get_backend(model.backend).load(model, SystemClock()).close()
    return round(time.monotonic() - began, 1)


def partition(bench: Bench) -> list[Row]:
    """Workers bound to their own share of the SMs (green contexts), against workers that share all."""
    rows = []
    for backend in bench.backends:
        for workers, sms in ((1, [None, 8, 16, 32, 64, 128]), (2, [None, 64]), (4, [None, 32])):
            case = bench.case(backend, SMALL, 2 * workers, precision="fp16", graph=True)
            case = apply(case, {"workers": workers})
            rows += _sweep(case, {"sms": sms}, backend=backend, workers=workers)
    return rows


def _short(model: str) -> str:
    return model.removeprefix("builtin:")


def failure(case: Case) -> str | None:
    """What measuring the case raises, on one line; None when it runs."""
    try:
        api.bench(case)
    except FramepaceError as error:
        return " / ".join(str(error).split("\n"))
    return None
