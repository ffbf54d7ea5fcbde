"""A user's program, for mypy alone: every verb with its options, the important fields of results, and what must fail.

Lines with `# type: ignore[...]` are mistakes; mypy is run with --warn-unused-ignores, so that it complains when it
stops seeing one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import framepace
from framepace import Case, Explanation, FramepaceError, ModelPlan, Paced, Plan, Stop, Summary, Trace, UsageError


def say(text: str, share: float | None) -> None:
    """A progress callback."""
    print(text, share)


def bench() -> Trace:
    """A measurement with every option, and its mistakes."""
    trace = framepace.bench(
        "model.onnx",
        videos=["a.mp4", "b.mp4"],
        fps=30,
        load=Paced(fps=30, jitter=0.1),
        p99_ms=33.3,
        scope="pipeline",
        stop=Stop(seconds=5),
        settings={"threads": 2, "spinning": False, "heartbeat-ms": None},
        shapes={"x": (1, 3, 480, 640)},
        seed=1,
        out=Path("runs/a"),
        progress=print,
        tell=say,
        layers=True,
    )
    framepace.bench("model.onnx", video="a.mp4")  # type: ignore[call-arg]
    framepace.bench("model.onnx", fps="30")  # type: ignore[arg-type]
    framepace.bench("model.onnx", scope="everything")  # type: ignore[arg-type]
    framepace.bench("model.onnx", progress=say)  # type: ignore[arg-type]
    framepace.bench(7)  # type: ignore[arg-type]
    framepace.bench()  # type: ignore[call-arg]
    return trace


def summary(trace: Trace) -> Summary:
    """The numbers of a trace, and of its folder."""
    numbers = framepace.summary(trace)
    p99 = numbers.frames.percentile(99)
    if p99 is not None and p99.estimate is not None:
        latency: float = p99.estimate.value
        print(latency, p99.refused)
    print(p99.estimate)  # type: ignore[union-attr]
    met: bool | None = numbers.met
    stages: Mapping[str, float] = {stage.name: stage.median for stage in numbers.models[0].stages}
    print(met, stages, numbers.frames.mean, numbers.p99)  # type: ignore[attr-defined]
    return framepace.summary("runs/a")


def explain(case: Case) -> Explanation:
    """An explanation and its findings."""
    explanation = framepace.explain(
        case, time_limit=60, out="runs/e", tell=say, expect="5.1ms", expect_from="trtexec-10"
    )
    for finding in explanation.confirmed:
        print(finding.code, finding.title, finding.gain)
    plan: Plan = explanation.plan
    print(plan.names, explanation.verdict, explanation.bottleneck, explanation.shares)
    framepace.explain(case, expected="5.1ms")  # type: ignore[call-arg]
    return explanation


def questions() -> None:
    """Sweep, capacity, prediction and tuning."""
    case: Case = framepace.make_case(["builtin:classifier", "builtin:detector"], fps=30, settings={"batch": 2})
    for cell in framepace.sweep(case, {"batch": [1, 2], "wait": ["spin"]}, out="runs/s").cells:
        print(cell.settings, cell.error, cell.summary and cell.summary.met)
    framepace.sweep(case)  # type: ignore[call-arg]

    capacity = framepace.capacity(case, max_cameras=8, predict=framepace.predictor(case, tell=say))
    cameras: int = capacity.cameras
    print(cameras, capacity.fits, [point.late for point in capacity.points])
    framepace.capacity("model.onnx", fps=None, most=8)  # type: ignore[call-arg]

    tuning = framepace.tune("model.onnx", fps=30, p99_ms=33, cameras=4, objective="p99", precisions=["fp16"], gate=None)
    if tuning.plan is not None:
        framepace.save_plan(tuning.plan, Path("plan.yaml"))
    print(tuning.met, tuning.best, [candidate.state for candidate in tuning.candidates])
    framepace.tune("model.onnx", objective="speed")  # type: ignore[arg-type]


def answers(trace: Trace, explanation: Explanation) -> None:
    """Comparison, report and doctor."""
    comparison = framepace.compare(trace, "runs/b", threshold=0.05)
    if comparison.verdict == "slower":
        print(comparison.threshold)
    side_by_side = framepace.layers("net.onnx", trace, versus={"graph": True}, out="a.html", settings={"batch": 2})
    print([layer.times for engine in side_by_side.engines for layer in engine.layers], side_by_side.matches)
    check = framepace.accuracy("net.onnx", "other.onnx", versus={"precision": "fp16"}, frames=8, videos=["a.mp4"])
    print(check.agreement.passed, [output.worst_frame for output in check.agreement.outputs])
    study = framepace.calibrate("net.onnx", "frames/", methods=["minmax"], metric="top5", videos=["a.mp4"])
    print(study.passed, study.points[study.best].method, study.enough, [worst.picture for worst in check.worst])
    print([fault.node.name for fault in framepace.hunt("net.onnx", "fp16", frames=8).faults])
    print([row.error for row in framepace.rank("net.onnx", tell=say, videos=["a.mp4"]).nodes])
    print(framepace.mend("net.onnx", "mixed.onnx", gate=framepace.Gate(cosine=0.99)).model.fp32_nodes)
    seen = framepace.attach(["python", "app.py"], out="runs/app", fps=30, p99_ms=33.0)
    tried = framepace.explain_program(["app.py"], tries=[{"spinning": "off"}], seconds=5.0, tell=say)
    print([trial.verdict for trial in tried.trials], framepace.launch(["app.py"], {"spinning": "off"}))
    print(seen.exit_code, framepace.summary(seen.trace).frames.percentile(99))
    page: Path = framepace.report([trace, Path("runs/b")], out="report.html", explanation=explanation)
    print(page, [check.fix for check in framepace.doctor() if check.state == "bad"])


def plans() -> Plan:
    """A plan in code."""
    plan = Plan(models=(ModelPlan(name="a", model="a.onnx", threads=2, transfer="pinned"),))
    ModelPlan(name="a", model="a.onnx", transfer="fast")  # type: ignore[arg-type]
    ModelPlan(name="a")  # type: ignore[call-arg]
    plan.models[0].threads = 4  # type: ignore[misc]
    return plan


def errors() -> int:
    """Every error has its four parts."""
    try:
        framepace.bench(plans(), fps=30)
    except UsageError as error:
        print(error.what, error.got, error.expected, error.fix)
    except FramepaceError as error:
        return error.exit_code
    return 0
