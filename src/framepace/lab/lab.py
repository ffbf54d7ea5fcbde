"""The lab: runs cases within a time limit, here or in a fresh process, for every verb that runs more than one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec.structs import replace

from framepace.analyze.failures import check_failures
from framepace.backends.base import get_backend
from framepace.clock.system import Clock, SystemClock
from framepace.errors import BackendError, DeviceLost, InferencesFailed, StoreError
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Warmup, Workload, stop_after
from framepace.interrupts import check, held, listening
from framepace.lab.elsewhere import Elsewhere
from framepace.lab.measuringprocess import MeasuringProcess, measure_apart
from framepace.lab.runs import Runs
from framepace.lab.timelimit import TimeLimit
from framepace.progress import Tell, silent
from framepace.recording.machine import probe

_Answer = TypeVar("_Answer")
Where = Literal["here", "fresh process"]
HERE: Where = "here"
FRESH_PROCESS: Where = "fresh process"
_ENGINES_KEPT = 6
_NEXT_RUN = "the next run has a process of its own; leave out the settings of this one"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a run; `trace` is what the run measured until then.

    It is a KeyboardInterrupt, so that Ctrl-C between two runs, while a model loads for instance, is caught alike.
    """

    def __init__(self, trace: Trace) -> None:
        super().__init__("interrupted")
        self.trace = trace


class Lab:
    """Runs cases and counts the time. A context manager that closes what is kept between runs.

    What runs on a device is measured in a process of its own, which a run that fails takes along (see
    MeasuringProcess): the next one begins with a fresh device.

    Args:
        limit_s: seconds after which `left` is zero; the lab itself never refuses a run. Infinity: no limit.
        folder: where named runs are saved, one folder per name; None keeps all in memory.
        tell: called with the current step and the share of the limit that is used.
        clock: the system's by default.
        wall_limit_s: seconds on the system's clock after which `left` is zero as well, whatever `clock` says: what a
            person waits for while a simulated device takes its own time.
        keep_workers: consecutive runs of one plan share what its workers set up (see Engine): they are over sooner,
            and are no independent set-ups.
        engines: how many loaded engines are kept for later runs.
        keep_videos: opened sources are kept for later runs, which go on where the last one stopped; otherwise each run
            opens them again and sees the same frames.
    """

    unsaved = ""
    """Why runs are not saved any more: the first one that could not be, and the error; '' while they are."""

    def __init__(
        self,
        limit_s: float = math.inf,
        folder: Path | None = None,
        tell: Tell | None = None,
        clock: Clock | None = None,
        keep_workers: bool = False,
        *,
        wall_limit_s: float = math.inf,
        engines: int = _ENGINES_KEPT,
        keep_videos: bool = True,
    ) -> None:
        self.clock = clock or SystemClock()
        self._limit = TimeLimit(self.clock, limit_s, wall_limit_s)
        self._folder = folder
        self._tell = tell or silent
        self._host_runs = Runs(self.clock, engines, keep_workers, keep_videos)
        self._apart: MeasuringProcess | Elsewhere = MeasuringProcess(engines, keep_workers, keep_videos)
        self._lost = False
        self._listening = ExitStack()

    def __enter__(self) -> Lab:
        self._listening.enter_context(listening())  # a Ctrl-C that was swallowed ends the next run
        return self

    def __exit__(self, *_: object) -> None:
        with self._listening, held():
            self._host_runs.close()
            self._apart.close()

    def at(self, elsewhere: Elsewhere) -> Lab:
        """This lab, which from now on measures everything on a place of a cluster."""
        self._apart = elsewhere
        return self

    @property
    def machine(self) -> str:
        """The fingerprint of the machine where this lab measures."""
        return probe().fingerprint

    @property
    def kind(self) -> str:
        """What decides how fast it is there: runs of one kind can be compared."""
        return self.machine

    @property
    def loading(self) -> float:
        """Seconds spent on loading engines."""
        return self._host_runs.loading + self._apart.loading

    @property
    def spent(self) -> float:
        """Seconds since the lab was opened."""
        return self._limit.spent

    @property
    def left(self) -> float:
        """Seconds left of the limit, on the lab's clock.

        Of a limit on the system's clock as many as will fit, if the lab's goes on as slowly as it did so far.
        """
        return self._limit.remaining

    def missing(self, seconds: float) -> float:
        """Seconds by which the limit is too short for so many more on the lab's clock."""
        return self._limit.missing(seconds)

    def fits(self, seconds: float) -> bool:
        """Whether this much time is left."""
        return self.left >= seconds

    def say(self, text: str) -> None:
        """Report to the user what is being tried and why."""
        self._tell(text, self._limit.share)

    def path(self, name: str | None) -> Path | None:
        """The folder of the run `name`; None for a run without a name, and where the lab saves nothing."""
        if self._folder is None or name is None:
            return None
        return self._folder / name

    def run(
        self,
        case: Case,
        seconds: float | None = None,
        *,
        most_frames: int | None = None,
        where: Where = HERE,
        name: str | None = None,
        warmup: Warmup | None = None,
        tell: Tell | None = None,
    ) -> Trace:
        """Measure `case`; the trace is saved under `name` when the lab has a folder, over one that is there.

        When the folder cannot be written any more, this run and all later ones are measured without (see `unsaved`).

        Args:
            seconds: how long to measure after the warm-up; None: as the workload says.
            most_frames: after which the run ends, if that is earlier.
            where: FRESH_PROCESS gives the run its own process, whose start-up and memory are not those of earlier
                runs. Virtual time has neither: there it runs here.
            warmup: instead of the workload's.
            tell: called with slow steps before the run; `say` by default.

        Raises Interrupted after Ctrl-C, InferencesFailed when more than 1 % of the inferences did, and what `measure`
        does.
        """
        check()
        timed = replace(case, workload=_timed(case.workload, seconds, warmup, most_frames))
        tell = tell or (lambda text, share: self.say(text))
        folder = self.path(name)
        try:
            return self._run(timed, where, folder, tell)
        except StoreError as error:
            if folder is None:
                raise
            trace = self._run(timed, where, None, tell)  # which fails, too, where the folder was not to blame
            self._stop_saving(name, error)
            return trace

    def _stop_saving(self, name: str | None, error: StoreError) -> None:
        """From now on keep all in memory, because the run `name` could not be saved."""
        self._folder = None
        self.unsaved = f"from {name} on, nothing was saved: {error.what} ({error.got})"

    def _run(self, case: Case, where: Where, folder: Path | None, tell: Tell) -> Trace:
        if where == FRESH_PROCESS and not self.clock.virtual:
            trace = self._fresh(case, folder)
        else:
            trace = self._measured(case, folder, tell)
        if trace.meta.stopped in ("disk full", "killed"):  # 'killed': not even its meta.json found room at the end
            raise StoreError("the disk is full", got=folder, fix="free some space or name another folder")
        self._check(uninterrupted(trace))
        return trace

    def _fresh(self, case: Case, folder: Path | None) -> Trace:
        if isinstance(self._apart, Elsewhere):
            return self._apart.measure_apart(case.plan, case.workload, folder)
        return measure_apart(case.plan, case.workload, folder)

    def _measured(self, case: Case, folder: Path | None, tell: Tell) -> Trace:
        """The trace. A device that fails in a run apart takes that run alone, unless it failed in the last one too."""
        runs = self._runs(case.plan)
        try:
            trace = runs.measure(case.plan, case.workload, folder, tell)
            if trace.meta.stopped == "device lost":
                raise DeviceLost("the device was lost in the run", got="; ".join(trace.meta.notes[-1:]) or None)
        except DeviceLost as error:
            if runs is self._host_runs or self._lost:
                raise
            self._lost = True
            self._apart.clear()
            raise BackendError(error.what, got=error.got, fix=_NEXT_RUN) from error
        self._lost = False
        return trace

    def _runs(self, plan: Plan) -> Runs | MeasuringProcess | Elsewhere:
        """Where a plan is measured. A virtual clock is that of this process."""
        if self._is_here(plan.models):
            return self._host_runs
        return self._apart

    def _is_here(self, models: Sequence[ModelPlan]) -> bool:
        if isinstance(self._apart, Elsewhere):
            return False
        return self.clock.virtual or not any(map(on_device, models))

    def _check(self, trace: Trace) -> None:
        """Raises InferencesFailed where too many did; what made them fail is not left to the next run."""
        try:
            check_failures(trace)
        except InferencesFailed:
            self._apart.clear()
            raise

    def call(self, models: Sequence[ModelPlan], function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The answer of a function that runs `models`, called where they are measured: on a device, apart.

        What is called apart must survive pickling, and so must its answer. Raises what the function does, and
        BackendError where its process dies.
        """
        if self._is_here(models):
            return function(*arguments)
        return self._apart.call(function, *arguments)

    @property
    def clock_there(self) -> Clock | None:
        """The clock for a function that is called `there`; None where it finds its own."""
        return self.clock

    def there(self, plan: Plan, function: Callable[..., _Answer], *arguments: Any) -> _Answer:
        """The answer of a function that measures by itself, called on the machine where this lab measures a plan."""
        return function(*arguments)

    def clear(self) -> None:
        """Close the engines that are kept, so that the next run loads its own on a free device."""
        self._host_runs.clear()
        self._apart.clear()


def on_device(model: ModelPlan) -> bool:
    """Whether a model runs on a real device beside the host, whose failures the process that met them cannot mend."""
    backend = get_backend(model.backend)
    return not backend.simulated and not backend.device_of(model).startswith("cpu")


def wall_limit(limit_s: float, clock: Clock | None) -> float:
    """The limit on the system's clock for a verb's limit: none where the caller gave the clock that it counts on."""
    if clock is not None:
        return math.inf
    return limit_s


def uninterrupted(trace: Trace) -> Trace:
    """The trace. Raises Interrupted when Ctrl-C ended it."""
    if trace.meta.stopped == "interrupted":
        raise Interrupted(trace)
    return trace


def _timed(workload: Workload, seconds: float | None, warmup: Warmup | None, most_frames: int | None) -> Workload:
    stop = workload.stop if seconds is None else stop_after(seconds)
    if most_frames is not None:
        stop = replace(stop, count=most_frames)
    return replace(workload, stop=stop, warmup=warmup or workload.warmup)
