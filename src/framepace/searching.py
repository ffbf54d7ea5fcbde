"""The verbs that try many settings: `sweep` measures all of them, `tune` looks for the best; here or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framepace import values
from framepace.cases import DEFAULT_FPS, CaseOptions, Models, RunOptions, case_of
from framepace.clock.system import Clock
from framepace.cluster import joined
from framepace.facts.settings import Case
from framepace.facts.sweep import Sweep
from framepace.facts.tuning import Goal, Objective, Tuning
from framepace.numerics.gate import agreement
from framepace.progress import Tell
from framepace.sweeping import sweep as sweep_case
from framepace.tuning.results import saved
from framepace.tuning.tune import Gate, make_goal
from framepace.tuning.tune import tune as tune_case

if TYPE_CHECKING:
    from typing_extensions import Unpack

_SHORTEST_LIMIT_S = 0.001


def sweep(
    models: Models,
    vary: Mapping[str, Sequence[Any]],
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
    ray: str | None = None,
    **options: Unpack[CaseOptions],
) -> Sweep:
    """Measure every combination of some settings.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        vary: setting name -> values.
        out: folder of the cells' traces; cells that are there already are not measured again.
        overwrite: measure everything again; first remove what is in `out`, even of a different case.
        tell: called with the current cell, and the share (0-1) of cells done.
        clock: by default the machine's, or virtual time on a simulated device.
        ray: a cluster on whose places the cells are measured, several at once: 'local' (this machine), 'local:N' (in N
            places), 'auto' (the cluster that this machine is a node of), 'HOST:PORT' or 'ray://HOST:PORT'.
        options: see `CaseOptions`.

    Returns:
        One cell per combination: its summary, or the error that kept it from being measured.

    Raises:
        UsageError: an unknown setting or a value it cannot have, before anything is measured.
        StoreError: `out` cannot be written, another run writes to it, or it holds another case.
        ClusterError: Ray is not installed, no cluster answers, or it has no place that is free.
    """
    case = case_of("sweep", models, **options)
    vary = values.grid(vary, "vary")
    with joined(ray) as cluster:
        return sweep_case(case, vary, folder=_folder(out), overwrite=overwrite, tell=tell, clock=clock, cluster=cluster)


def tune(
    models: Models,
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
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
    ray: str | None = None,
    **options: Unpack[RunOptions],
) -> Tuning:
    """Search for the best plan for a target within a time limit.

    Args:
        models: paths or 'builtin:NAME', one plan file (.yaml), a plan or a case.
        fps: frames per second of each camera; those of the plan's target, or 30, by default.
        p99_ms: the latency that 99 % of the frames must keep, ms; the frame period by default.
        cameras: how many must be carried; None: as many as possible.
        objective: see `facts.tuning.Goal`; 'cameras', or 'p99' where `cameras` says how many.
        time_limit, memory_mb: seconds for the whole tuning; limit on device memory in use, MiB.
        precisions: 'fp16', 'bf16', 'int8', each where `gate` says that the answers are those of FP32.
        vary, fixed: setting name -> values, to try only these; settings to leave as they are.
        gate: judges whether a model in lower precision still answers the same; None lets all pass.
        out: folder for plan.yaml, report.html and every measurement; a tuning that is there is continued.
        overwrite: start afresh; first remove what is in `out`, even of a different case.
        tell, clock, ray: see `sweep`; the share is that of the time used, and runs follow each other.
        options: see `RunOptions`.

    Returns:
        The best plan, whether it meets the goal, and every candidate that was tried. After Ctrl-C, the best so far.

    Raises:
        FramepaceError: nothing can be measured; see `bench` for its kinds.
    """
    case = _tuning_case(models, fps, options)
    with joined(ray) as cluster:
        tuning = tune_case(
            case,
            _goal(case, objective, fps, p99_ms, cameras, memory_mb),
            time_limit=values.duration_s(time_limit, "time_limit", least=_SHORTEST_LIMIT_S),
            folder=_folder(out),
            overwrite=overwrite,
            precisions=precisions,
            grid=None if vary is None else values.grid(vary, "vary"),
            fixed=fixed,
            gate=gate,
            tell=tell,
            clock=clock,
            cluster=cluster,
        )
    return tuning if out is None else saved(tuning, Path(out))


def _tuning_case(models: Models, fps: float | None, options: RunOptions) -> Case:
    """The case to tune: models given by name get the target's rate as their load."""
    if isinstance(models, Case):
        return case_of("tune", models, **options)
    return case_of("tune", models, fps=fps or DEFAULT_FPS, **options)


def _goal(
    case: Case,
    objective: Objective | None,
    fps: float | None,
    p99_ms: float | None,
    cameras: int | None,
    memory_mb: float | None,
) -> Goal:
    """The goal; numbers that were not given are those of the plan's target."""
    target = case.plan.target
    return make_goal(objective, fps or target.fps or DEFAULT_FPS, p99_ms or target.p99_ms, cameras, memory_mb)


def _folder(out: str | Path | None) -> Path | None:
    if out is None:
        return None
    return values.path(out, "out")
