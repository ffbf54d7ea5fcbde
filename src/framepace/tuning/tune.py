"""`tune`: measure primitives, predict the space, measure the best few and the neighbours of the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec.structs import replace

from framepace import values
from framepace.backends.base import get_backend
from framepace.clock.system import Clock
from framepace.cluster import Cluster
from framepace.errors import ADVICE, BackendError, DeviceLost, FramepaceError, NothingSucceeded, UsageError
from framepace.facts.cascade import refuse_crops
from framepace.facts.device import SIMULATED
from framepace.facts.settings import Case
from framepace.facts.tuning import Goal, Objective, Tuning, carried
from framepace.facts.workload import MOST_CAMERAS
from framepace.lab.lab import Interrupted, Lab, wall_limit
from framepace.lab.placedlab import lab_on
from framepace.measure.session import clock_for
from framepace.models.spec import check_exists
from framepace.numerics.gate import agreement
from framepace.progress import Tell
from framepace.store import OutputFolder
from framepace.tuning.accuracy import Accuracy, Gate
from framepace.tuning.budget import BUDGET
from framepace.tuning.journal import TuningJournal, key_of
from framepace.tuning.machineoptions import machine_options
from framepace.tuning.objective import level_of, scales
from framepace.tuning.predictions import Predictions
from framepace.tuning.primitives import PrimitivesPhase
from framepace.tuning.search import next_trial, settled, sure_level
from framepace.tuning.space import Axis, MachineOptions, Settings, axes, changed, combinations, grid_axes, neighbours
from framepace.tuning.state import TuningState
from framepace.tuning.trials import Trials
from framepace.tuning.verdict import concluded
from framepace.values import HIGHEST_RATE, LONGEST_MS, LOWEST_RATE, SHORTEST_MS

_MOST_MEMORY_MB = 1e9

__all__ = ["Gate", "make_goal", "tune"]


def make_goal(
    objective: Objective | None, fps: float, p99_ms: float | None, cameras: int | None, memory_mb: float | None
) -> Goal:
    """The goal from the options of the command. Raises UsageError for a number out of range."""
    _check_goal(objective, fps, p99_ms, cameras, memory_mb)
    if objective is None and cameras is None:
        objective = "cameras"
    goal = Goal(objective=objective or "p99", fps=fps, p99_ms=p99_ms or 1000 / fps, cameras=cameras)
    if memory_mb is None:
        return goal
    return replace(goal, memory_bytes=round(memory_mb * 2**20))


def _check_goal(
    objective: object, fps: float, p99_ms: float | None, cameras: int | None, memory_mb: float | None
) -> None:
    """Raise UsageError for a number out of range."""
    if objective is not None and objective not in get_args(Objective):
        expected = ", ".join(get_args(Objective))
        raise UsageError("unknown objective", got=values.shown(objective), expected=expected, fix="correct objective")
    values.number(fps, "fps", least=LOWEST_RATE, most=HIGHEST_RATE)
    if p99_ms is not None:
        values.number(p99_ms, "p99-ms", least=SHORTEST_MS, most=LONGEST_MS)
    if cameras is not None:
        values.number(cameras, "cameras", least=1, most=MOST_CAMERAS, whole=True)
    if memory_mb is not None:
        values.number(memory_mb, "memory-mb", least=1, most=_MOST_MEMORY_MB)


def tune(
    case: Case,
    goal: Goal,
    *,
    time_limit: float = 180.0,
    folder: Path | None = None,
    overwrite: bool = False,
    precisions: Sequence[str] = (),
    grid: Mapping[str, Sequence[Any]] | None = None,
    fixed: Sequence[str] = (),
    gate: Gate | None = agreement,
    tell: Tell | None = None,
    clock: Clock | None = None,
    cluster: Cluster | None = None,
) -> Tuning:
    """The best plan for `goal` that is found within `time_limit` seconds, starting from `case`.

    Args:
        folder: where everything is saved as it arrives; a tuning of the same case in it is continued.
        overwrite: start afresh; first remove what is in `folder`, even of a different case.
        precisions: allowed beside the plan's own, each where `gate` finds that the outputs agree.
        grid: setting name -> values: only these are tried; every sensible setting when None.
        fixed: settings that are left as they are.
        gate: compares the outputs of a model in lower precision with the reference; None lets all pass.
        tell: called with the current step, the best so far, and the share of the time used.
        cluster: where everything is measured, on places of one kind.

    Ctrl-C returns the best so far.

    Raises ModelError for a model that is not there, FramepaceError when nothing could be measured at all, StoreError
    when `folder` is another run's, cannot be written or holds another case.
    """
    fix = "tune each model alone, or compare settings with framepace sweep"
    refuse_crops(case.plan, "tune cannot predict how many boxes a picture will have", fix)
    for model in case.plan.models:
        check_exists(model.model)
    lab_limit_s = max(1.0, time_limit - BUDGET.reserve_s)
    wall_limit_s = wall_limit(lab_limit_s, clock)
    clock = clock or clock_for(case.plan)
    with ExitStack() as stack:
        lab, said = lab_on(cluster, stack, case, clock, lab_limit_s, folder, tell, wall_limit_s=wall_limit_s)
        limit_s = lab.left
        machine = lab.there(case.plan, machine_options, case.plan)
        space = axes(case, machine, precisions, fixed, goal.p99_ms) if grid is None else grid_axes(grid)
        if folder is not None:
            settings = {axis.name: vars(axis) for axis in space}
            identity = {"case": case, "goal": goal, "settings": settings, "machine": lab.kind}
            stack.enter_context(OutputFolder(folder, "tuning", overwrite, identity))
        journal = _journal(case, goal, space, folder, lab)
        notes = [*_simulated(case), *said, *machine.notes]
        state = TuningState(lab=lab, case=case, goal=goal, journal=journal, limit_s=limit_s, notes=notes)
        return _Tuner(state, space, machine, gate).run()


def _simulated(case: Case) -> list[str]:
    if any(get_backend(model.backend).simulated for model in case.plan.models):
        return [SIMULATED]
    return []


def _journal(case: Case, goal: Goal, space: Sequence[Axis], folder: Path | None, lab: Lab) -> TuningJournal:
    key = key_of(case, goal, lab.kind, [msgspec.to_builtins(vars(axis)) for axis in space])
    return TuningJournal(goal, key, lab.machine, folder)


class _Tuner:
    """One tuning: its phases in turn."""

    def __init__(self, state: TuningState, space: Sequence[Axis], machine: MachineOptions, gate: Gate | None) -> None:
        self._state = state
        self._space = space
        self._machine = machine
        self._accuracy = Accuracy(state, gate)
        self._primitives = PrimitivesPhase(state, self._accuracy)
        self._predictions = Predictions(state)
        self._trials = Trials(state)
        self._seconds: dict[str, float] = {}

    def run(self) -> Tuning:
        """See `tune`."""
        interrupted = False
        try:
            for settings in combinations(self._state.case, self._space, self._machine):
                self._state.journal.number_of(settings)
            with self._timed("primitives"):
                self._primitives.run()
            with self._timed("predictions"):
                self._predictions.run()
            with self._timed("measurements"):
                self._measure()
        except (Interrupted, KeyboardInterrupt):
            interrupted = True
        except DeviceLost as error:
            self._state.notes.append(f"stopped, because the device failed: {str(error).splitlines()[0]}")
        return self._result(interrupted)

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        """Count the seconds of a phase."""
        began = self._state.lab.spent
        try:
            yield
        finally:
            self._seconds[phase] = self._seconds.get(phase, 0.0) + self._state.lab.spent - began

    def _measure(self) -> None:
        """Measure the best by prediction, then around the best measured, then the best again and for longer."""
        state = self._state
        if self._primitives.nothing_runs():
            return
        while state.lab.left > self._trials.reserved() and self._measure_next():
            pass
        if not state.candidates[0].measured and self._accuracy.admit(0):
            self._trials.measure(0, self._due_level())
        while state.lab.left >= state.budget.confirming.shortest_s and self._trials.confirm():
            pass  # one that was missed leaves another as the best
        self._secure()

    def _secure(self) -> None:
        """Find a load that the best carries, however late: an answer of nothing helps nobody."""
        state = self._state
        while not self._carries() and (best := state.best()) is not None:
            level = sure_level(state.goal, state.candidates, best)
            if level is None:
                return
            self._trials.measure(best, level)

    def _carries(self) -> bool:
        """Whether any candidate carries a load."""
        return any(carried(candidate.measured) for candidate in self._state.candidates if candidate.error is None)

    def _due_level(self) -> int:
        """The level to measure the original plan at, however late: the best's, which must be better, or its own."""
        state = self._state
        best = state.best()
        if best is None:
            return max(1, level_of(state.goal, state.goal.fps))
        return max(1, carried(state.candidates[best].measured))

    def _measure_next(self) -> bool:
        """Make the measurement that is worth most now; False when there is none."""
        state = self._state
        self._expand_around_best()
        if settled(state.goal, state.candidates) and self._trials.confirm():
            return True  # the reference of all others must not be a lucky run
        step = next_trial(state.goal, state.candidates, self._neighbours, repeats=self._trials.repeats)
        if step is None:
            return self._trials.confirm()
        number, level = step
        if self._accuracy.admit(number) and self._begin_surely(number, level):
            self._trials.measure(number, level)
        return True

    def _begin_surely(self, number: int, level: int) -> bool:
        """While nothing is carried, measure a candidate where it surely is; whether the level may be tried then.

        In virtual time runs do what is predicted, and need no such beginning.
        """
        state = self._state
        lower = sure_level(state.goal, state.candidates, number)
        if self._carries() or not self._trials.repeats or lower is None or lower >= level:
            return True
        self._trials.measure(number, lower)
        return self._carries() and state.lab.left > self._trials.reserved()

    def _expand_around_best(self) -> None:
        """Add the candidates around the best, predicted where possible; not before the best carries anything."""
        best = self._state.best()
        if best is None:
            return
        candidate = self._state.candidates[best]
        if scales(self._state.goal) and not carried(candidate.measured):
            return
        for settings in self._neighbours(candidate.settings):
            self._primitives.ensure_bound(self._state.journal.number_of(changed(self._state.case, settings)))
        self._predictions.run()

    def _neighbours(self, settings: Mapping[str, Any]) -> list[Settings]:
        candidates = neighbours(self._state.case, self._space, self._machine, settings)
        return [candidate for candidate in candidates if self._state.runs(candidate)]

    def _result(self, interrupted: bool) -> Tuning:
        state = self._state
        tuning = concluded(state.case, state.goal, state.candidates, state.journal.machine)
        if tuning.best is None and not interrupted:
            raise self._nothing_measured()
        tuning = replace(
            tuning,
            seconds=self._seconds,
            notes=tuple(dict.fromkeys(state.notes)),
            interrupted=interrupted,
            key=state.journal.key,
        )
        state.journal.save(tuning)
        about_files = (text for text in (state.journal.damaged, state.lab.unsaved, state.journal.unsaved) if text)
        return replace(tuning, notes=(*tuning.notes, *about_files))

    def _nothing_measured(self) -> FramepaceError:
        errors = [candidate.error for candidate in self._state.candidates if candidate.error is not None]
        if not errors:
            fix = "give it a longer --time-limit"
            return BackendError("no plan could be measured", got="no time was left", fix=fix)
        reason, *lines = errors[0].splitlines()
        advice = (line.removeprefix(ADVICE) for line in lines if line.startswith(ADVICE))
        fix = next(advice, "`framepace bench` on it alone shows more")
        return NothingSucceeded("no plan could be measured", got=reason, fix=fix)
