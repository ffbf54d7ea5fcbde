"""Made-up facts for the tests of report: every optional part is there, names from outside are hostile."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from framepace.facts.accuracy import AccuracyCheck, Agreement, Emulation, Gate, OutputAgreement
from framepace.facts.calibrating import CalibrationPoint, CalibrationStudy, QuantisedNodes, QuantisedSpeed
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.finding import Account, AccountLine, Explanation, Finding, Gain, Intervention, Remedy
from framepace.facts.machine import Machine
from framepace.facts.mending import (
    Block,
    Hunt,
    Hunted,
    Mended,
    NetworkNode,
    NodeError,
    Price,
    Ranking,
    ValueRange,
)
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan, Plan, Target
from framepace.facts.summary import (
    Comparison,
    Estimate,
    ModelSummary,
    Outlier,
    Percentile,
    StageShare,
    Summary,
    Tier,
)
from framepace.facts.sweep import Cell, Sweep
from framepace.facts.trace import REQUEST_COLUMNS, TELEMETRY_COLUMNS, Trace, TraceMeta
from framepace.facts.workload import Paced, Workload

MS = 1_000_000
HOSTILE = "</script><img src=x onerror=alert(1)><b>net</b> [red]&amp;"
MACHINE = Machine(
    cpu="Example Xeon 6354 @ 3.00GHz",
    cores_physical=2,
    cores_logical=4,
    memory_bytes=8 << 30,
    system="Linux",
    kernel="6.1.0",
    python="3.11.9",
    governor="powersave",
    virtual="kvm",
    container=True,
    cpu_limit=2.0,
    libraries={"onnxruntime": "1.23.0", "numpy": "2.4.6"},
)


def trace(rows: int = 600, models: tuple[str, ...] = ("detector",), seed: int = 0, telemetry: bool = True) -> Trace:
    """`rows` frames at 30 fps through each model: 4.7 ms, a ramp from a tenth to a fifth of the run, then 10.1 ms."""
    rng = np.random.default_rng(seed)
    frame = np.repeat(np.arange(rows), len(models))
    model = np.tile(np.arange(len(models)), rows)
    level = np.interp(frame, [rows / 10, rows / 5], [4.7, 10.1]) * (1 + 0.03 * rng.standard_normal(len(frame)))
    level[rng.random(len(frame)) < 0.005] *= 3
    due = (frame * (1e9 / 30)).astype(np.int64) + 10**12
    shares = {"captured": 0.02, "decoded": 0.25, "queued": 0.26, "batched": 0.3, "started": 0.45, "finished": 0.97}
    columns: dict[str, Any] = {name: np.full(len(frame), -1, np.int64) for name in REQUEST_COLUMNS}
    columns |= {name: due + (level * MS * share).astype(np.int64) for name, share in shares.items()}
    zero = np.zeros(len(frame), np.int64)
    columns |= {name: zero.copy() for name in ("source", "worker", "outcome", "cause", "marks", "gc", "faults")}
    columns |= {"frame": frame, "model": model, "due": due, "available": due - 20 * MS, "batch_size": zero + 1}
    columns |= {"batch_id": np.arange(len(frame)), "delivered": due + (level * MS).astype(np.int64)}
    columns["marks"][frame < rows // 100] = 1
    meta = TraceMeta(
        id=f"20260101-{seed}",
        created="2026-01-01T12:00:00Z",
        machine=MACHINE,
        models=tuple(_spec(name) for name in models),
        subject_plan=Plan(
            models=tuple(ModelPlan(name=n, model=f"/models/{n}.onnx") for n in models), target=Target(fps=30)
        ),
        workload=Workload(load=Paced(fps=30)),
        stopped="finished",
        notes=("the video was cut off at frame 812",),
        framepace="0.1.0",
    )
    return Trace(meta, columns, _telemetry(int(due[-1] - due[0])) if telemetry else _nothing())


def _plan(models: tuple[str, ...]) -> Plan:
    return Plan(models=tuple(ModelPlan(name=n, model=f"/models/{n}.onnx") for n in models), target=Target(fps=30))


def _spec(name: str) -> ModelSpec:
    image = TensorSpec(name="images", dtype="float32", shape=(1, 3, 320, 320))
    return ModelSpec(
        name=name, location=f"/models/{name}.onnx", sha256="ab" * 32, inputs=(image,), outputs=(), nodes=61
    )


def _nothing() -> dict[str, Any]:
    return {name: np.zeros(0, np.int64) for name in TELEMETRY_COLUMNS}


def _telemetry(span: int) -> dict[str, Any]:
    n = max(2, min(200, span // (20 * MS)))
    time = np.linspace(0, span, n).astype(np.int64)
    columns: dict[str, Any] = {name: np.full(n, -1, np.int64) for name in TELEMETRY_COLUMNS}
    columns |= {"time": time + 10**12, "cpu_mhz": np.where(time < span // 5, 3400, 1800)}
    return columns | {"process_cpu": time // 2, "system_busy": time // 2 + time // 8}


def model_summary(name: str = "detector", refused: bool = False) -> ModelSummary:
    """A model with two tiers and a ramp, five stages, and outliers."""
    p99 = Percentile(q=99, estimate=Estimate(value=9.81 * MS, low=9.12 * MS, high=10.6 * MS))
    few = Percentile(q=99, estimate=None, refused="needs 662 effective samples, has 83")
    stages = {"wake-up": 0.09, "decode": 2.91, "prepare": 1.12, "infer": 5.12, "finish": 0.06}
    return ModelSummary(
        model=name,
        requests=594,
        effective=83 if refused else 540,
        warmup=6,
        outcomes={"ok": 590, "late": 3, "dropped": 1, "failed": 0},
        causes={"buffer full": 1},
        mean=9.3 * MS,
        percentiles=(
            Percentile(q=50, estimate=Estimate(value=9.2 * MS, low=9.1 * MS, high=9.3 * MS)),
            Percentile(q=90, estimate=Estimate(value=9.6 * MS, low=9.5 * MS, high=9.75 * MS)),
            few if refused else p99,
            Percentile(q=99.9, estimate=None, refused="needs 6,636 effective samples, has 540"),
        ),
        stages=tuple(
            StageShare(name=n, median=ms * MS, mean=ms * MS, p99=ms * 1.2 * MS, share=ms / 9.3)
            for n, ms in stages.items()
        ),
        tiers=(
            Tier(kind="level", first=0, last=60, level=4.7 * MS, level_end=4.7 * MS, beside={"cpu_mhz": 3400.0}),
            Tier(kind="ramp", first=61, last=174, level=4.7 * MS, level_end=10.1 * MS),
            Tier(kind="level", first=175, last=593, level=10.1 * MS, level_end=10.1 * MS, beside={"gap": 23.0 * MS}),
        ),
        outliers=(
            Outlier(request=211, latency=41.9 * MS, excess=31.8 * MS, coincides="gc"),
            Outlier(request=390, latency=30.2 * MS, excess=20.1 * MS, coincides=""),
        ),
        outlier_share=2 / 594,
        cpu=6.4 * MS,
        marks={"clock under 75 %": 4},
    )


def summary(
    models: tuple[str, ...] = ("detector",), budget: float | None = 33.3 * MS, refused: bool = False
) -> Summary:
    """The summary of `trace()`, made up."""
    return Summary(
        trace="20260101-0",
        scope="stream",
        seconds=19.8,
        throughput=29.98,
        budget=budget,
        missed=None if budget is None else 0.0017,
        process_cpu=41.2 * MS,
        neighbours_cpu=0.03,
        pacer_error={"median": 12_000.0, "max": 900_000.0, "p99": 210_000.0},
        frames=model_summary("frames", refused),
        models=tuple(model_summary(name, refused) for name in models),
        telemetry={"cpu_mhz": 2400.0},
        notes=("the video was cut off at frame 812",),
    )


def finding(code: str = "FP013", title: str = "idle threads spin", verdict: Any = "confirmed") -> Finding:
    """A finding on CPU time, with a remedy that is a setting and a verified gain."""
    ratio = {"confirmed": (0.147, 0.139, 0.158), "undecided": (0.97, 0.91, 1.04), "refuted": (1.0, 0.99, 1.01)}
    value, low, high = ratio[verdict]
    before = 41.2 * MS
    return Finding(
        code=code,
        title=title,
        verdict=verdict,
        severity="high" if verdict == "confirmed" else "info",
        summary="the process burns 41.2 ms of CPU per frame for 6 ms of work",
        evidence={"process_cpu_ns": 41.2 * MS, "work_cpu_ns": 6.0 * MS, "threads": 4, "latency_before_ns": 9.8 * MS},
        intervention=Intervention(
            changed={"spinning": False},
            metric="CPU time",
            unit="ns",
            before=Estimate(value=before, low=before * 0.98, high=before * 1.02),
            after=Estimate(value=before * value, low=before * low, high=before * high),
            ratio=Estimate(value=value, low=low, high=high),
            rounds=4,
        ),
        remedy=Remedy(text="let idle threads of ONNX Runtime sleep", plan={"spinning": False}, cost="+0.2 ms at p99"),
        gain=Gain(unit="ns", predicted=35.1 * MS, verified=34.8 * MS, interval=(34.1 * MS, 35.4 * MS)),
        confidence=0.95,
    )


def command_finding() -> Finding:
    """A finding whose remedy is a command for a person, and whose effect is under 2x."""
    return Finding(
        code="FP002",
        title="the host sleeps between frames and wakes slowly",
        verdict="confirmed",
        severity="medium",
        summary="inference takes 1.6x as long after a gap of 23 ms as back to back",
        intervention=Intervention(
            changed={"wait": "spin"},
            metric="latency",
            unit="ns",
            before=Estimate(value=9.8 * MS, low=9.6 * MS, high=10.0 * MS),
            after=Estimate(value=6.1 * MS, low=5.9 * MS, high=6.3 * MS),
            ratio=Estimate(value=0.622, low=0.6, high=0.65),
            rounds=6,
        ),
        remedy=Remedy(
            text="run the cores at full clock",
            command="sudo cpupower frequency-set -g performance",
            undo="sudo cpupower frequency-set -g powersave",
            cost="power",
        ),
        gain=Gain(unit="ns", predicted=3.7 * MS),
    )


def explanation(healthy: bool = False) -> Explanation:
    """Two confirmed causes, one undecided, one refuted, one not tested; `healthy` has no confirmed one."""
    rest = (finding("FP003", "caches cold after idle", "undecided"), finding("FP014", "interpreter lock", "refuted"))
    lines = {"decode": 2.9, "prepare": 1.1, "wake-up": 0.5}
    return Explanation(
        verdict="budget 33.3 ms at 30 fps; p99 9.8 ms [9.1, 10.6], met; outside the model 4.7 ms",
        bottleneck="healthy" if healthy else "host",
        met=True,
        account=Account(
            model=5.1 * MS,
            pipeline=6.3 * MS,
            stream=9.8 * MS,
            lines=tuple(
                AccountLine(name=n, ns=v * MS, interval=(v * 0.9 * MS, v * 1.1 * MS)) for n, v in lines.items()
            ),
            unexplained=0.2 * MS,
        ),
        findings=rest if healthy else (finding(), command_finding(), *rest),
        summaries={"stream": summary()},
        plan=trace(10).meta.plan,
        traces=("20260101-0",),
        seconds=61.2,
        not_tested={"FP012": "CPU oversubscribed: no time left (--time-limit)"},
        notes=("the outputs of detector were not finite in 2 frames",),
    )


def comparison() -> Comparison:
    """B is slower than A, by its inference."""
    return Comparison(
        a="out/a",
        b="out/b",
        verdict="slower",
        reason="the whole interval is above +3 %; infer alone is +1.2 ms",
        ratio=Estimate(value=1.12, low=1.08, high=1.16),
        p99_ratio=Estimate(value=1.2, low=1.05, high=1.4),
        stages={"decode": -0.1 * MS, "infer": 1.2 * MS, "finish": 0.0},
        threshold=0.03,
    )


def sweep() -> Sweep:
    """Three batches by two waits; one cell failed."""
    grid = {"batch": ("1", "2", "4"), "wait": ("sleep", "spin")}
    cells = [
        Cell(settings={"batch": int(b), "wait": w}, summary=summary()) for b in grid["batch"] for w in grid["wait"]
    ]
    cells[-1] = Cell(settings={"batch": 4, "wait": "spin"}, error="the model has a fixed batch of 2\n  got: 4")
    return Sweep(grid=grid, cells=tuple(cells))


def accuracy() -> AccuracyCheck:
    """A check of two outputs that fails for one of them."""
    scores = OutputAgreement(
        name="scores", compared=3000, relative_l2=0.05, worst_l2=0.2, worst_frame=2, frames_l2=(0.01, None, 0.2),
        cosine=0.9987, max_abs=0.3, top1=2 / 3,
    )  # fmt: skip
    labels = OutputAgreement(name="labels", compared=30, equal=1.0)
    why = ("output 'scores': relative L2 error 0.05 is over 0.03",)
    model = ModelPlan(name="net", model="net.onnx")
    return AccuracyCheck(
        reference=model,
        candidate=replace(model, precision="fp16", device="cpu"),
        agreement=Agreement(frames=3, gate=Gate(), outputs=(scores, labels), why=why),
        emulation=Emulation(largest=65504.0, reach=2.185e6, node="/conv11"),
    )


NODES = (
    NetworkNode(name="square", operator="Pow"),
    NetworkNode(name="mean_token_12", operator="ReduceMean", made_from=("/blocks.3/norm/ReduceMean",)),
    NetworkNode(name="/a/very/long/path/of/modules/attention/softmax/Softmax", operator="LayerNormalization"),
)


def mended() -> Mended:
    """Two nodes that stay in FP32, one of which was fused; the price of both is known."""
    check = accuracy().agreement
    good = replace(check, why=())
    model = replace(accuracy().candidate, fp32_nodes=("square", "mean_token_12"))
    return Mended(
        model=model, kept=NODES[:2], islands=(model.fp32_nodes,), nodes=9, before=check, searched=good, held_out=good,
        prices=(
            Price(name="fp32", precision="fp32", p50_ms=2.0), Price(name="mixed", precision="fp16", p50_ms=1.2),
            Price(name="mixed without square", precision="fp16", island=("square", "mean_token_12"), p50_ms=1.1),
        ),
    )  # fmt: skip


def hunt() -> Hunt:
    """A square that overflows, and a value that vanishes elsewhere."""
    values = ValueRange(tensor="b", lowest=-16886.7, highest=23774.1)
    squares = ValueRange(tensor="p", lowest=28.7, highest=5.7e8, nonfinite=997, zeros=1)
    faults = [
        Hunted(node=NODES[0], shows=NODES[0], fault="overflow", frame=3, read=(values,), made=squares, at_output=True),
        Hunted(
            node=NODES[2], shows=NODES[1], fault="underflow", frame=3, read=(values,), made=squares, sum=1e6,
            at_output=False,
        ),
    ]  # fmt: skip
    return Hunt(model=accuracy().candidate, frames=8, nodes=9, largest=65504.0, faults=tuple(faults), notes=("one",))


def ranking() -> Ranking:
    """One node that makes NaN, one that costs something, and one that was not tried alone."""
    rows = [
        NodeError(node=NODES[2], block=0, finite=False, reach=1e6),
        NodeError(node=NODES[1], block=0, error=0.02, reach=12.0),
        NodeError(node=NODES[0], block=1),
    ]
    blocks = (Block(first="a", last="b", nodes=2, error=None), Block(first="c", last="c", nodes=1, error=0.001))
    return Ranking(
        model=accuracy().candidate, frames=4, limit=0.03, error=None, blocks=blocks, nodes=tuple(rows), complete=False
    )


def calibrations() -> CalibrationStudy:
    """INT8 that passes by one method, is slower, and gets no better with more frames than two."""
    why = ("output 'scores': relative L2 error 0.31 is over 0.15",)
    points = (
        CalibrationPoint(method="percentile", frames=4, error=0.12, cosine=0.992, passed=True),
        CalibrationPoint(method="minmax", frames=4, error=0.31, cosine=0.9, passed=False, why=why),
        CalibrationPoint(method="percentile", frames=2, error=0.125, cosine=0.991, passed=True),
        CalibrationPoint(method="percentile", frames=1, error=0.4, cosine=0.8, passed=False, why=why),
    )
    nodes = QuantisedNodes(integer=2, unfused=("conv1", "conv2", "fc1", "fc2"), converting=12)
    return CalibrationStudy(
        model=replace(accuracy().reference, precision="int8"), calibration="a.mp4", gate=Gate(), available=4,
        held_out=4, points=points, best=0, enough=2,
        speed=QuantisedSpeed(fp32_ns=4 * MS, int8_ns=9 * MS, nodes=nodes),
    )  # fmt: skip


def capacity() -> Capacity:
    """2 cameras hold and 3 do not; one was foreseen, and 4 only foreseen."""
    held = CapacityPoint(
        cameras=2, holds=True, late=0.001, seconds=6.0, p99=Estimate(value=21 * MS, low=20 * MS, high=24 * MS), cpu=1.4,
        throughput=60.0, trace="out/cameras-2",
    )  # fmt: skip
    missed = CapacityPoint(cameras=3, holds=False, late=0.4, seconds=2.0, lost=7, refused="p99 needs more", cpu=1.9)
    foreseen = [CapacityPoint(cameras=n, holds=n < 4, late=0.0, seconds=2.0, measured=False) for n in (2, 4)]
    return Capacity(
        cameras=2, fps=30, budget=33.3 * MS, missed=3, limited_by="the CPU: 1.9 of 2 cores busy",
        points=(held, missed, *foreseen), predicted=2,
    )  # fmt: skip
