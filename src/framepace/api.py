"""The library: one function per verb. The commands call these and render what they return."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from framepace import values
from framepace.agreeing import accuracy, calibrate
from framepace.answering import serve
from framepace.cases import CaseOptions, Models, RunOptions, case_of, device_setting, make_case
from framepace.clock.system import Clock
from framepace.doctoring import host as checks
from framepace.explaining.expect import parse_tool_number
from framepace.explaining.run import explain as explain_case
from framepace.explaining.run import usual_limit
from framepace.exploring import layers
from framepace.facts.capacity import Capacity
from framepace.facts.check import Check
from framepace.facts.finding import Explanation
from framepace.facts.machine import Machine
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import MOST_CAMERAS
from framepace.lab.answers import held_answers
from framepace.measure.session import measure
from framepace.mending import hunt, mend, rank
from framepace.naming import NamedInputs
from framepace.observing import attach, explain_program, launch
from framepace.predicting.predict import predict as predict_trace
from framepace.predicting.primitives import measure_primitives
from framepace.progress import Tell, silent
from framepace.reading import compare, explain_log, report, summary
from framepace.recording import machine
from framepace.searching import sweep, tune
from framepace.sizing import MAX_CAMERAS, TIME_LIMIT, Predict, find_capacity

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SHORTEST_LIMIT_S = 0.001

__all__ = [
    "CaseOptions",
    "Models",
    "NamedInputs",
    "RunOptions",
    "accuracy",
    "attach",
    "bench",
    "calibrate",
    "capacity",
    "compare",
    "device_setting",
    "doctor",
    "explain",
    "explain_log",
    "explain_program",
    "hunt",
    "launch",
    "layers",
    "make_case",
    "mend",
    "predictor",
    "rank",
    "report",
    "serve",
    "summary",
    "sweep",
    "this_machine",
    "tune",
]


def bench(
    models: Models,
    *,
    out: str | Path | None = None,
    clock: Clock | None = None,
    progress: Callable[[float], None] | None = None,
    tell: Tell | None = None,
    layers: bool = False,
    overwrite: bool = False,
    **options: Unpack[CaseOptions],
) -> Trace:
    """Measure models under a stated load.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        out: folder the trace is written to; None keeps it in memory.
        clock: by default the machine's, or virtual time on a simulated device.
        progress: called a few times per second with the share (0-1) of the run that is done.
        tell: called with slow steps before the run, such as building an engine.
        layers: also time each layer, if the backend can.
        overwrite: replace a trace that is in `out`, or files of the same names.
        options: see `CaseOptions`.

    Returns:
        One row per frame and model, with telemetry and the machine beside them; all rows also where the disk was full
        and `out` has only the first ones (`meta.stopped` is then 'disk full').

    Raises:
        ModelError: a model cannot be read.
        BackendError: the backend cannot load or run it.
        SourceError: a video cannot be opened.
        UsageError: an option or setting is invalid.
        StoreError: `out` cannot be written, another run writes to it, or it holds what must not be replaced.
    """
    case = case_of("bench", models, **options)
    return measure(
        case.plan,
        case.workload,
        folder=_folder(out),
        clock=clock,
        progress=progress,
        overwrite=overwrite,
        tell=tell or silent,
        layers=layers,
        answers=held_answers(case, tell or silent),
    )


def explain(
    models: Models,
    *,
    out: str | Path | None = None,
    time_limit: float | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    expect: str | None = None,
    expect_from: str | None = None,
    what_if: bool = False,
    raise_priority: bool = False,
    overwrite: bool = False,
    **options: Unpack[CaseOptions],
) -> Explanation:
    """Find the causes of latency, each confirmed by an intervention.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        out: folder for the traces of the scopes, replacing those of an earlier explanation; None keeps none.
        time_limit: seconds; by default 60 on a GPU and 90 elsewhere, with `what_if` half as long again.
        tell: called with the current step, and the share (0-1) of the time used.
        clock: by default the machine's, or virtual time on a simulated device.
        expect: another tool's number, such as '5.1ms'; its difference to the stream's latency is accounted for.
        expect_from: the tool that printed it ('trtexec-10'), and its requests in flight ('benchmark_app:4').
        raise_priority: a trial may raise this process's priority, at the expense of others on the machine.
        what_if: also measure what a millisecond in each stage is worth, by making each slower in interleaved runs.
        overwrite: first remove the results of a different case from `out`.
        options: see `CaseOptions`.

    Returns:
        The account of the scopes, the findings with their gains, and what was not tested.

    Raises:
        FramepaceError: nothing can be measured; see `bench` for its kinds.
        KeyboardInterrupt: Ctrl-C before anything could be explained; later it ends with what was found.
    """
    if time_limit is not None:
        _limit(time_limit)
    tool_number = parse_tool_number(expect, expect_from)
    case = case_of("explain", models, **options)
    limit = time_limit or usual_limit(case.plan, what_if)
    return explain_case(
        case,
        time_limit=limit,
        folder=_folder(out),
        overwrite=overwrite,
        tell=tell,
        clock=clock,
        tool_number=tool_number,
        what_if=what_if,
        raise_priority=raise_priority,
    )


def capacity(
    models: Models,
    *,
    max_cameras: int = MAX_CAMERAS,
    seconds: float | None = None,
    time_limit: float = TIME_LIMIT,
    out: str | Path | None = None,
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
    predict: Predict | None = None,
    **options: Unpack[CaseOptions],
) -> Capacity:
    """Measure how many cameras a plan carries at its target.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        max_cameras: the largest number of cameras to try.
        seconds: length of each run after its warm-up; by default as long as a p99 takes.
        time_limit: seconds for all runs together.
        out: folder for one trace per camera count, replacing those of an earlier search; None keeps none.
        overwrite: first remove the results of a different case from `out`.
        tell: called with the current count, and the share (0-1) of the time used.
        clock: by default the machine's, or virtual time on a simulated device.
        predict: predicts the trace of a plan and workload (see `predictor`); the search is repeated with it.
        options: see `CaseOptions`; without `fps` the rate is that of the plan's target.

    Returns:
        The number of cameras, the runs it rests on, and what limits it.

    Raises:
        UsageError: the plan has no target and `fps` is not given.
        StoreError: `out` cannot be written, another run writes to it, or it holds another case.
        FramepaceError: not even one camera can be run; see `bench` for its kinds.
        KeyboardInterrupt: Ctrl-C before anything was measured.
    """
    _limit(time_limit)
    if seconds is not None:
        values.duration_s(seconds, "seconds", least=0.001)
    values.whole_number(max_cameras, "max_cameras", least=1, most=MOST_CAMERAS)
    if not isinstance(models, Case):
        options.setdefault("fps", None)
    return find_capacity(
        case_of("capacity", models, **options),
        max_cameras=max_cameras,
        seconds=seconds,
        time_limit=time_limit,
        folder=_folder(out),
        overwrite=overwrite,
        tell=tell,
        clock=clock,
        predict=predict,
    )


def predictor(case: Case, *, tell: Tell | None = None, clock: Clock | None = None) -> Predict:
    """Measure each model of a case alone, so that runs of all of them can be predicted.

    Args:
        case: the models, and the most workers and frames per batch that will be predicted.
        tell: called with what is measured, and the share (0-1) that is done.
        clock: by default the machine's, or virtual time on a simulated device.

    Returns:
        A function of a plan and a workload that returns the predicted trace, made for `capacity(predict=...)`.

    Raises:
        FramepaceError: a model cannot be measured; see `bench` for its kinds.
    """
    sizes = sorted({1, *(model.batch.max for model in case.plan.models)})
    workers = max(2, case.plan.engine.workers)
    primitives = measure_primitives(case, batches=sizes, workers=workers, clock=clock, tell=tell)
    return lambda plan, workload: predict_trace(plan, workload, primitives)


def doctor() -> list[Check]:
    """Check what this machine can do, and what is set wrong on it.

    Returns:
        One check per fact; a check that is not in order has the command that fixes it, which framepace never runs.
    """
    return checks.checks(this_machine())


def this_machine() -> Machine:
    """The machine that this runs on, as traces and plans name it.

    Returns:
        Processors, memory, GPUs, driver and system, with the fingerprint of what decides how fast it is.
    """
    return machine.probe()


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    return values.path(out, "out")


def _limit(seconds: float) -> float:
    """The time limit, checked before anything is measured."""
    return values.duration_s(seconds, "time_limit", least=_SHORTEST_LIMIT_S)
