"""`tune`: measure primitives, predict the space, measure the best few and what is around the best of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.analyze.agreement import agreement_text
from framepace.analyze.summary import summarize
from framepace.clock.system import Clock
from framepace.errors import BackendError, DeviceLost, FramepaceError, UsageError
from framepace.facts.accuracy import Agreement
from framepace.facts.plan import ModelPlan
from framepace.facts.primitives import comparable
from framepace.facts.settings import Case, apply
from framepace.facts.strategy import strategy_of
from framepace.facts.trace import Trace
from framepace.facts.tuning import Figures, Goal, Objective, Trial, Tuning, carried, decisive
from framepace.facts.workload import Input, Stop, Warmup
from framepace.lab.lab import Interrupted, Lab
from framepace.measure.session import clock_for
from framepace.models.spec import stem
from framepace.numerics.gate import agreement
from framepace.predicting.bound import bound
from framepace.predicting.predict import predict
from framepace.predicting.primitives import measure_primitives
from framepace.progress import Tell
from framepace.recording.machine import probe
from framepace.tuning.journal import Known, key_of
from framepace.tuning.machineoptions import surroundings
from framepace.tuning.objective import best_of, case_at, figures, level_of, met, rate, scales
from framepace.tuning.search import next_prediction, next_trial, overloaded, settled
from framepace.tuning.space import axes, changed, combinations, grid_axes, neighbours
from framepace.tuning.verdict import concluded, level_text, settings_text

Gate = Callable[[ModelPlan, Input], Agreement]
_KNOWING, _KNOWING_MOST = 0.35, 0.5  # of the time limit for primitives: what is planned, and what they may take
_FORETELLING = 0.2  # of it for predictions after them
_AROUND_S = 3.0  # for loading libraries before, and writing the report after
_FRAMES, _THOROUGH = 300, 700  # frames of a trial, and of the one that confirms the best (p99 wants 662)
_SECONDS, _THOROUGH_S = (1.5, 6.0), (4.0, 15.0)
_CONFIRMING = 0.25  # of the time limit at most, for that
_PREDICTED, _PREDICTED_S = 300, (0.4, 10.0)
_PREDICTED_WARMUP_S = 0.3  # at most
_BUDGETS = 8  # latency budgets that a predicted run lasts at least; half as many for its warm-up
_WARMUP = Warmup(tolerance=0.15, seconds_max=1.0)
_QUIET = 0.05  # share of the CPU that neighbours may take before a miss is measured again
_SPREAD = 8  # times the smallest batch: the largest that primitives are measured of on a CPU
_RUNS = 8  # of a model, for its primitives
_RUN_OF_POINT = 2.5  # times its length: with a warm-up, and again where neighbours disturb it


def make_goal(
    objective: Objective | None, fps: float, p99_ms: float | None, cameras: int | None, memory_mb: float | None
) -> Goal:
    """The goal from what people say. Raises UsageError for what cannot be asked."""
    for name, given in (("fps", fps), ("p99-ms", p99_ms), ("cameras", cameras), ("memory-mb", memory_mb)):
        if given is not None and given <= 0:
            raise UsageError(f"{name} must be above 0", got=given)
    memory = None if memory_mb is None else round(memory_mb * 2**20)
    aim: Objective = objective or ("cameras" if cameras is None else "p99")
    return Goal(objective=aim, fps=fps, p99_ms=p99_ms or 1000 / fps, cameras=cameras, memory_bytes=memory)


def tune(
    case: Case,
    goal: Goal,
    *,
    time_limit: float = 180.0,
    folder: Path | None = None,
    precisions: Sequence[str] = (),
    grid: Mapping[str, Sequence[Any]] | None = None,
    fixed: Sequence[str] = (),
    gate: Gate | None = agreement,
    tell: Tell | None = None,
    clock: Clock | None = None,
) -> Tuning:
    """The best plan for `goal` that was found within `time_limit` seconds, starting from `case`.

    Args:
        folder: where everything is saved as it comes; a tuning of the same case that is there is gone on with.
        precisions: allowed beside the plan's own, each where `gate` finds the answers to agree.
        grid: setting name -> values: only these are tried; every sensible setting when None.
        fixed: settings that are left as they are.
        gate: what says whether a model in lower precision still answers the same; None lets all pass.
        tell: called with what is being tried, the best so far, and the share of the time used.

    Ctrl-C gives what was found so far.

    Raises FramepaceError when nothing could be measured at all.
    """
    clock = clock or clock_for(case.plan)
    with Lab(max(1.0, time_limit - _AROUND_S), folder, tell, clock, keep_workers=True) as lab:
        return _Tuner(lab, case, goal, folder, tuple(precisions), grid, fixed, gate).run()


class _Tuner:
    """One tuning under way."""

    def __init__(
        self,
        lab: Lab,
        case: Case,
        goal: Goal,
        folder: Path | None,
        precisions: tuple[str, ...],
        grid: Mapping[str, Sequence[Any]] | None,
        fixed: Sequence[str],
        gate: Gate | None,
    ) -> None:
        self._lab, self._case, self._goal, self._limit = lab, case, goal, lab.left
        self._around = surroundings(case.plan)
        self._axes = grid_axes(grid) if grid is not None else axes(case, self._around, precisions, fixed, goal.p99_ms)
        machine = probe()
        key = key_of(case, goal, machine.fingerprint, [msgspec.to_builtins(vars(a)) for a in self._axes])
        self._known = Known(goal, key, machine.fingerprint, folder)
        self._gate, self._passed = gate, dict[bytes, str | None]()
        self._seconds: dict[str, float] = {}
        self._notes: list[str] = []
        self._repeats = not lab.clock.virtual
        self._point_seconds = 1.0

    def run(self) -> Tuning:
        """See `tune`."""
        interrupted = False
        try:
            for settings in combinations(self._case, self._axes, self._around):
                self._known.number(settings)
            with self._spending("primitives"):
                self._know()
            with self._spending("predictions"):
                self._foretell()
            with self._spending("measurements"):
                self._measure()
        except (Interrupted, KeyboardInterrupt):
            interrupted = True
        except DeviceLost as error:
            self._notes.append(f"ended by the device: {str(error).splitlines()[0]}")
        return self._result(interrupted)

    @contextmanager
    def _spending(self, what: str) -> Iterator[None]:
        began = self._lab.spent
        try:
            yield
        finally:
            self._seconds[what] = self._seconds.get(what, 0.0) + self._lab.spent - began

    def _case_of(self, number: int) -> Case:
        return apply(self._case, self._known.candidates[number].settings)

    # Knowing: primitives of each way to run the models, the plan's own first.

    def _know(self) -> None:
        order = sorted(range(len(self._known.candidates)), key=lambda n: self._distance(n))
        ways: dict[bytes, list[int]] = {}
        for number in order:
            ways.setdefault(self._way(number), []).append(number)
        self._share_out(len(ways))
        # A way is begun only where there is time for the runs of one like the longest so far; at first, for the
        # shortest there is. Loading does not count: what took minutes to build once is there afterwards.
        longest = _RUNS * _RUN_OF_POINT * self._point_seconds * self._kinds()
        for first, *others in ways.values():
            timely = self._within(_KNOWING_MOST, longest)  # asked before the gate, which loads what is then measured
            if self._allowed(first) and timely and not self._bounded(first):
                longest = max(longest, self._learn(first, self._batches((first, *others))))
        for number in range(len(self._known.candidates)):
            self._bounded(number)

    def _batches(self, numbers: Sequence[int]) -> tuple[int, ...]:
        """The smallest batch of these candidates, and a larger one, for a line through both.

        On a GPU the largest: small batches are bound by launches there, and say nothing of what arithmetic takes.
        """
        models = [model for number in numbers for model in self._case_of(number).plan.models]
        sizes = {model.batch.max for model in models}
        most = _SPREAD * min(sizes) if all((m.device or "cpu") == "cpu" for m in models) else max(sizes)
        return min(sizes), max(size for size in sizes if size <= most)

    def _distance(self, number: int) -> int:
        return sum(name not in ("batch", "batch-policy", "workers") for name in self._known.candidates[number].settings)

    def _way(self, number: int) -> bytes:
        return msgspec.json.encode([comparable(model) for model in self._case_of(number).plan.models])

    def _learn(self, number: int, batches: Sequence[int]) -> float:
        """Measure the primitives of a candidate's models; the seconds that took, without loading."""
        began, loading = self._lab.spent, 0.0
        case = self._case_of(number)
        told = settings_text(self._known.candidates[number].settings)
        self._lab.say(f"measuring what a frame is made of: {told}")
        try:
            found = measure_primitives(case, batches=batches, seconds=self._point_seconds, clock=self._lab.clock)
            self._known.learn(found)
            loading = found.loading
        except FramepaceError as error:
            self._fail(number, error)
        return self._lab.spent - began - loading

    def _kinds(self) -> int:
        return len({msgspec.json.encode(comparable(model)) for model in self._case.plan.models})

    def _share_out(self, ways: int) -> None:
        """The length of a run for primitives, so that there is time for those of every way."""
        each = _KNOWING * self._limit / (ways * _RUNS * self._kinds())
        self._point_seconds = 0.3 if self._lab.clock.virtual else _between(each / _RUN_OF_POINT, (0.25, 1.0))

    def _bounded(self, number: int) -> bool:
        """Whether the candidate can be predicted: its bound is then known."""
        candidate, plan = self._known.candidates[number], self._case_of(number).plan
        if self._known.primitives is None or candidate.error is not None or not strategy_of(plan.engine).predictable:
            return False
        if candidate.bound is None:
            try:
                self._known.change(number, bound=bound(plan, self._known.primitives))
            except FramepaceError:
                return False
        return True

    def _within(self, share: float, needed: float = 0.0) -> bool:
        return self._lab.spent + needed < share * self._limit

    def _allowed(self, number: int) -> bool:
        """Whether the candidate answers like the plan as given; told once a way, and why not."""
        if self._known.candidates[number].error is not None:
            return False
        way = self._way(number)
        if way not in self._passed:
            self._passed[way] = self._judge(number)
        if (why := self._passed[way]) is not None:
            self._known.change(number, error=why)
        return why is None

    def _judge(self, number: int) -> str | None:
        pairs = zip(self._case_of(number).plan.models, self._case.plan.models, strict=True)
        for model, own in pairs:
            if self._gate is None or (model.precision, model.backend) == (own.precision, own.backend):
                continue
            if model.backend == "simulated":
                continue
            self._lab.say(f"comparing the outputs of {model.name} in {model.precision} by {model.backend}")
            try:
                found = self._gate(model, self._case.workload.input)
            except FramepaceError as error:
                return str(error)
            if not found.passed:
                return f"accuracy: {'; '.join(found.why)}"
            how = f"{stem(model.model)} in {model.precision} by {model.backend}"
            self._notes.append(f"{how} answers as it should: {agreement_text(found)}")
        return None

    # Foretelling: the candidates in virtual time, as far as each may be among the best.

    def _foretell(self) -> None:
        end = self._lab.spent + _FORETELLING * self._limit
        while self._lab.clock.virtual or self._lab.spent < end:
            step = next_prediction(self._goal, self._known.candidates)
            if step is None:
                return
            self._predict(*step)

    def _predict(self, number: int, level: int) -> None:
        candidate = self._known.candidates[number]
        self._say("predicting", number, level)
        case = case_at(self._case_of(number), self._goal, level)
        least = max(_BUDGETS * self._goal.p99_ms / 1000, _PREDICTED / rate(self._goal, level))
        seconds = _between(least, _PREDICTED_S)
        workload = replace(
            case.workload, stop=Stop(seconds=seconds), warmup=replace(_WARMUP, seconds_max=_PREDICTED_WARMUP_S)
        )
        assert self._known.primitives is not None
        try:
            trace = predict(case.plan, workload, self._known.primitives)
        except FramepaceError as error:
            self._notes.append(f"{settings_text(candidate.settings)} was not predicted: {str(error).splitlines()[0]}")
            self._known.change(number, bound=None)
            return
        if trace.meta.stopped == "interrupted":
            raise Interrupted(trace)
        found = figures(trace)
        # Too short for a queue to grow over the budget: what is overloaded shows in what came out, which is exact here.
        kept = met(self._goal, found, level) and not overloaded(self._goal, found, level)
        trial = Trial(level=level, figures=found, met=kept)
        self._known.change(number, predicted=(*candidate.predicted, trial))

    # Measuring: the best by prediction, then around the best measured, then the best once more and longer.

    def _measure(self) -> None:
        while self._lab.left > self._confirming():
            self._grow()
            if settled(self._goal, self._known.candidates) and self._confirm():
                continue  # what the others are held against must not be a lucky run
            step = next_trial(self._goal, self._known.candidates, self._neighbours, repeats=self._repeats)
            if step is not None and self._allowed(step[0]):
                self._trial(*step, _FRAMES, _SECONDS)
            elif step is None and not self._confirm():
                return
        if best_of(self._goal, self._known.candidates) is None and self._allowed(0):  # an answer is due, however late
            self._trial(0, max(1, level_of(self._goal, self._goal.fps)), _FRAMES, _SECONDS)
        if self._lab.left >= _THOROUGH_S[0]:
            self._confirm()

    def _neighbours(self, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
        return neighbours(self._case, self._axes, self._around, settings)

    def _grow(self) -> None:
        """The candidates around the best, predicted where they can be; not before it carries anything."""
        best = best_of(self._goal, self._known.candidates)
        if best is None or (scales(self._goal) and not carried(self._known.candidates[best].measured)):
            return
        for settings in self._neighbours(self._known.candidates[best].settings):
            self._bounded(self._known.number(changed(self._case, settings)))
        self._foretell()

    def _confirming(self) -> float:
        """Seconds to keep for a last, longer look at the best."""
        best = best_of(self._goal, self._known.candidates)
        if best is None:
            return 0.0
        at = decisive(self._known.candidates[best].measured)
        needed = 0.0 if at is None else _between(_THOROUGH / rate(self._goal, at.level), _THOROUGH_S) + 2
        return min(needed, _CONFIRMING * self._limit)

    def _confirm(self) -> bool:
        """Measure the best for longer at the level it carries; False where that was done, or nothing is carried."""
        best = best_of(self._goal, self._known.candidates)
        at = None if best is None else decisive(self._known.candidates[best].measured)
        if best is None or at is None or not at.met or at.figures.frames >= _THOROUGH / 2 or not self._repeats:
            return False
        self._trial(best, at.level, _THOROUGH, _THOROUGH_S)
        return True

    def _trial(self, number: int, level: int, count: int, limits: tuple[float, float]) -> None:
        seconds = min(_between(count / rate(self._goal, level), limits), max(limits[0], self._lab.left))
        self._say("measuring", number, level)
        try:
            trial = self._run(number, level, seconds)
            disturbed = (trial.figures.neighbours or 0.0) > _QUIET
            if not trial.met and disturbed and self._lab.left > seconds:
                again = self._run(number, level, seconds)
                trial = min(trial, again, key=lambda t: (not t.met, t.figures.missed))
        except (Interrupted, DeviceLost):
            raise
        except Exception as error:  # it fails alone, whatever its library raises
            self._fail(number, error)
            return
        self._known.change(number, measured=(*self._known.candidates[number].measured, trial))

    def _run(self, number: int, level: int, seconds: float) -> Trial:
        case = case_at(self._case_of(number), self._goal, level)
        taken = len(self._known.candidates[number].measured)
        trace = self._lab.run(case, seconds, name=f"runs/{number}-at-{level}-{taken}", warmup=_WARMUP)
        found = _checked(trace)
        return Trial(level=level, figures=found, met=met(self._goal, found, level), trace=trace.meta.id)

    def _fail(self, number: int, error: Exception) -> None:
        self._known.change(number, error=str(error) or type(error).__name__)

    def _say(self, doing: str, number: int, level: int) -> None:
        best = best_of(self._goal, self._known.candidates)
        so_far = best if best is not None else best_of(self._goal, self._known.candidates, measured=False)
        told = f"{doing} {settings_text(self._known.candidates[number].settings)} at {level_text(self._goal, level)}"
        if so_far is not None and scales(self._goal):
            candidate = self._known.candidates[so_far]
            kept = carried(candidate.measured if best is not None else candidate.predicted)
            told += f"; best {'so far' if best is not None else 'predicted'} {level_text(self._goal, kept)}"
        self._lab.say(told)

    def _result(self, interrupted: bool) -> Tuning:
        found = concluded(self._case, self._goal, self._known.candidates, self._known.machine)
        if found.best is None and not interrupted:
            errors = [c.error for c in self._known.candidates if c.error is not None]
            raise BackendError("no plan could be measured", got=errors[0] if errors else "no time was left",
                               fix="give it a longer --time-limit, or see the error")  # fmt: skip
        result = replace(found, seconds=self._seconds, notes=tuple(dict.fromkeys(self._notes)),
                         interrupted=interrupted, key=self._known.key)  # fmt: skip
        self._known.save(result)
        return result


def _checked(trace: Trace) -> Figures:
    """The figures of a run. Raises BackendError where most of its frames failed."""
    summary = summarize(trace)
    if summary.frames.outcomes.get("failed", 0) * 2 > sum(summary.frames.outcomes.values()):
        why = trace.meta.notes[-1] if trace.meta.notes else None
        raise BackendError("most frames failed", got=why)
    return figures(trace, summary)


def _between(value: float, limits: tuple[float, float]) -> float:
    return min(limits[1], max(limits[0], value))
