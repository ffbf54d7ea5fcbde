"""The library: one function a verb. The commands call these and render what they return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.analyze.compare import compare as compare_traces
from framepace.analyze.summary import summarize
from framepace.clock.system import Clock
from framepace.doctoring import host as checks
from framepace.errors import UsageError
from framepace.explaining.expect import said
from framepace.explaining.run import explain as explain_case
from framepace.explaining.run import usual_limit
from framepace.facts.capacity import Capacity
from framepace.facts.check import Check
from framepace.facts.finding import Explanation
from framepace.facts.plan import ModelPlan, Plan, Target
from framepace.facts.settings import Case, apply
from framepace.facts.summary import Comparison, Summary
from framepace.facts.sweep import Sweep
from framepace.facts.trace import Trace
from framepace.facts.tuning import Objective, Tuning
from framepace.facts.workload import Closed, Input, Load, Paced, Scope, Stop, Workload
from framepace.measure.session import measure
from framepace.models.spec import inspect, stem
from framepace.numerics.gate import agreement
from framepace.predicting.predict import predict as predict_trace
from framepace.predicting.primitives import measure_primitives
from framepace.progress import Tell, silent
from framepace.recording import machine
from framepace.reporting.page.report import render
from framepace.sizing import MOST, TIME_LIMIT, Predict, size_up
from framepace.store import load_explanation, load_plan, load_trace, write_atomic
from framepace.sweeping import sweep as sweep_case
from framepace.tuning.results import save_tuned
from framepace.tuning.tune import Gate, make_goal
from framepace.tuning.tune import tune as tune_case

DEFAULT_FPS = 30.0


def make_case(
    models: str | Sequence[str] | Plan,
    *,
    videos: Sequence[str] = (),
    fps: float | None = DEFAULT_FPS,
    load: Load | None = None,
    p99_ms: float | None = None,
    scope: Scope = "stream",
    stop: Stop | None = None,
    settings: Mapping[str, Any] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    seed: int = 0,
) -> Case:
    """Plan and workload from what people name.

    Args:
        models: paths or 'builtin:NAME', or a plan.
        videos: video files or stream addresses; none means synthetic frames.
        fps: paced load, and the target; None with no `load` means back to back.
        load: overrides the paced load.
        p99_ms: frame budget; the frame period by default.
        settings: setting name -> value (facts.settings.SETTINGS).
        shapes: input name -> shape, for models whose inputs are not fully described.

    Raises:
        ModelError: a model cannot be read. UsageError: an unknown setting or a wrong value.
    """
    plan = models if isinstance(models, Plan) else _plan(models, shapes or {})
    target = replace(plan.target, fps=fps or plan.target.fps, p99_ms=p99_ms or plan.target.p99_ms)
    workload = Workload(
        load=load or (Paced(fps=fps) if fps else Closed()),
        scope=scope,
        input=Input(videos=tuple(videos)),
        stop=stop or Stop(seconds=10.0),
        seed=seed,
    )
    return apply(Case(plan=replace(plan, target=target), workload=workload), settings or {})


def _plan(models: str | Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> Plan:
    locations = [models] if isinstance(models, str) else list(models)
    if not locations:
        raise UsageError("no model named", expected="a path to an .onnx file, or builtin:NAME")
    if len(locations) == 1 and locations[0].endswith((".yaml", ".yml")):
        return load_plan(Path(locations[0]))
    names = _names(locations)
    plans = [ModelPlan(name=name, model=where) for name, where in zip(names, locations, strict=True)]
    return Plan(models=tuple(replace(p, shapes=_own(p.model, shapes)) for p in plans), target=Target())


def _names(locations: Sequence[str]) -> list[str]:
    """Short, unique names: the file's stem or the built-in's name, numbered when they clash."""
    stems = [stem(where) for where in locations]
    return [s if stems.count(s) == 1 else f"{s}-{stems[: i + 1].count(s)}" for i, s in enumerate(stems)]


def _own(location: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes that name inputs of this model."""
    if not shapes:
        return {}
    inputs = {tensor.name for tensor in inspect(location).inputs}
    return {name: shape for name, shape in shapes.items() if name in inputs}


def bench(
    models: str | Sequence[str] | Plan | Case,
    *,
    out: str | Path | None = None,
    clock: Clock | None = None,
    progress: Any = None,
    tell: Tell | None = None,
    layers: bool = False,
    **options: Any,
) -> Trace:
    """Measure under a stated load and return the trace; `out` is the folder it is written to.

    `options` are those of `make_case`; `tell` hears of what takes long before the run; `layers` measures each layer
    too.
    """
    case = models if isinstance(models, Case) else make_case(models, **options)
    folder = None if out is None else Path(out)
    return measure(
        case.plan,
        case.workload,
        folder=folder,
        clock=clock,
        progress=progress,
        overwrite=True,
        tell=tell or silent,
        layers=layers,
    )


def explain(
    models: str | Sequence[str] | Plan | Case,
    *,
    out: str | Path | None = None,
    time_limit: float | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    expect: str | None = None,
    expect_from: str | None = None,
    **options: Any,
) -> Explanation:
    """The causes of latency, each proven by an intervention. `out` is a folder for the traces of the scopes.

    `expect` is another tool's number ('5.1ms') and `expect_from` the tool (explaining.expect.TOOLS), which may carry
    its requests in flight ('benchmark_app:4'): the difference to the stream's latency is then accounted for as well.
    """
    number = said(expect, expect_from)
    case = models if isinstance(models, Case) else make_case(models, **options)
    folder = None if out is None else Path(out)
    limit = time_limit or usual_limit(case.plan)
    return explain_case(case, time_limit=limit, folder=folder, tell=tell, clock=clock, said=number)


def sweep(
    models: str | Sequence[str] | Plan | Case,
    vary: Mapping[str, Sequence[Any]],
    *,
    out: str | Path | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> Sweep:
    """Measure every combination of `vary` (setting name -> values). `out` is the folder that makes it resumable."""
    case = models if isinstance(models, Case) else make_case(models, **options)
    return sweep_case(case, vary, folder=None if out is None else Path(out), tell=tell, clock=clock)


def capacity(
    models: str | Sequence[str] | Plan | Case,
    *,
    most: int = MOST,
    seconds: float | None = None,
    time_limit: float = TIME_LIMIT,
    out: str | Path | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    predict: Predict | None = None,
    **options: Any,
) -> Capacity:
    """How many cameras a plan carries at its target: measured, and predicted too with `predict(plan, workload)`.

    `out` is the folder for the traces, one a count of cameras; the rest is that of `sizing.size_up` and `make_case`.
    """
    case = models if isinstance(models, Case) else make_case(models, **{"fps": None, **options})
    folder = None if out is None else Path(out)
    return size_up(
        case, most=most, seconds=seconds, time_limit=time_limit, folder=folder, tell=tell, clock=clock, predict=predict
    )


def predictor(case: Case, *, tell: Tell | None = None, clock: Clock | None = None) -> Predict:
    """A function that predicts runs of the models of `case`, from measuring each alone first."""
    sizes = sorted({1, *(model.batch.max for model in case.plan.models)})
    workers = max(2, case.plan.engine.workers)
    known = measure_primitives(case, batches=sizes, workers=workers, clock=clock, tell=tell)
    return lambda plan, workload: predict_trace(plan, workload, known)


def tune(
    models: str | Sequence[str] | Plan | Case,
    *,
    fps: float | None = None,
    p99_ms: float | None = None,
    cameras: int | None = None,
    objective: Objective | None = None,
    time_limit: float = 180.0,
    precisions: Sequence[str] = (),
    memory_mb: float | None = None,
    vary: Mapping[str, Sequence[Any]] | None = None,
    fixed: Sequence[str] = (),
    gate: Gate | None = agreement,
    out: str | Path | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> Tuning:
    """The best plan for a target that is found within `time_limit` seconds, measured, and what else was tried.

    Args:
        fps: frames a second of each camera; those of the plan's target, or 30.
        p99_ms: what 99 % of the frames must keep; the frame period by default.
        cameras: how many must be carried; None: as many as possible.
        objective: see facts.tuning.Goal; 'cameras', or 'p99' where `cameras` says how many.
        precisions: 'fp16', 'bf16', 'int8', each where `gate` finds the answers to be those of FP32.
        memory_mb: device memory that may be in use, MiB.
        vary: setting name -> values, to try only these.
        fixed: settings to leave as they are.
        out: folder for plan.yaml, report.html and all that was measured; a tuning in it is gone on with.
        options: those of `make_case`.

    Raises FramepaceError when nothing can be measured.
    """
    case = models if isinstance(models, Case) else make_case(models, **{"fps": fps or DEFAULT_FPS, **options})
    target = case.plan.target
    goal = make_goal(objective, fps or target.fps or DEFAULT_FPS, p99_ms or target.p99_ms, cameras, memory_mb)
    folder = None if out is None else Path(out)
    found = tune_case(case, goal, time_limit=time_limit, folder=folder, precisions=precisions, grid=vary, fixed=fixed,
                      gate=gate, tell=tell, clock=clock)  # fmt: skip
    if folder is not None and found.plan is not None:
        save_tuned(found, folder)
    return found


def compare(a: Trace | str | Path, b: Trace | str | Path, *, threshold: float = 0.03) -> Comparison:
    """Is B faster than A, slower, the same within `threshold`, or undecided? Unlike machines raise UsageError."""
    return compare_traces(_trace(a), _trace(b), threshold)


def summary(trace: Trace | str | Path) -> Summary:
    """A trace in numbers."""
    return summarize(_trace(trace))


def doctor() -> list[Check]:
    """What this machine can do, and what is set wrong on it."""
    return checks.checks(machine.probe())


def report(
    traces: Sequence[Trace | str | Path], *, out: str | Path, explanation: Explanation | str | Path | None = None
) -> Path:
    """Write one self-contained HTML file about `traces` to `out` and return its path."""
    loaded = [_trace(t) for t in traces]
    if isinstance(explanation, str | Path):
        explanation = load_explanation(Path(explanation))
    page = render(loaded, [summarize(t) for t in loaded], explanation)
    write_atomic(Path(out), page.encode())
    return Path(out)


def _trace(trace: Trace | str | Path) -> Trace:
    return trace if isinstance(trace, Trace) else load_trace(Path(trace))
