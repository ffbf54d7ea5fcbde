"""`capacity`: how many cameras a plan carries, measured with one engine by raising the number of sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from framepace.analyze.capacity import capacity, capacity_point, next_count, next_step
from framepace.clock.system import Clock
from framepace.errors import FramepaceError, UsageError
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.plan import Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Paced, Stop, Workload, load_fps
from framepace.lab.enginepool import Engines
from framepace.measure.session import clock_for, measure
from framepace.progress import Tell
from framepace.units import NS_PER_MS, NS_PER_S

Predict = Callable[[Plan, Workload], Trace]
MOST = 256
TIME_LIMIT = 120.0
INTERRUPTED, OUT_OF_TIME = "interrupted", "time limit"
_FRAMES = 700  # what a p99 with its interval wants, and a few
_SECONDS = (2.0, 10.0)
_LONGER = 3.0


def size_up(
    case: Case,
    *,
    most: int = MOST,
    seconds: float | None = None,
    time_limit: float = TIME_LIMIT,
    folder: Path | None = None,
    tell: Tell | None = None,
    clock: Clock | None = None,
    predict: Predict | None = None,
) -> Capacity:
    """How many cameras, each bringing frames at the plan's target, `case.plan` carries within its budget.

    The time limit and Ctrl-C give what is known (KeyboardInterrupt where nothing is). From two cameras on, a count that
    cannot be measured does not hold.

    Args:
        most: the largest number of cameras to try.
        seconds: length of a run after its warm-up; by default as long as a p99 takes, 2 to 10 s. Second runs of a
            count take three times as long.
        folder: where the traces go, one folder a count; None keeps none.
        predict: predicts a trace; the search is then done once more with it.

    Raises:
        UsageError: there is no target, or the scope has no cameras. FramepaceError: one camera cannot be measured.
    """
    bench = _Bench(_loaded(case), seconds, folder, clock or clock_for(case.plan), time_limit, tell)
    points: list[CapacityPoint] = []
    stopped = ""
    try:
        # First, so that what cannot be predicted is said before anything is measured.
        foreseen = [] if predict is None else list(_foreseen(bench, predict, most))
        stopped = bench.search(points, most)
        rest = {p.cameras for p in points} - {p.cameras for p in foreseen}
        foreseen += [_predicted(bench, predict, cameras) for cameras in sorted(rest) if predict is not None]
        points += foreseen
    except KeyboardInterrupt:
        if not points:
            raise
        stopped = INTERRUPTED
    finally:
        bench.engines.clear()
    fps, budget = bench.target
    return capacity(points, fps, budget, stopped=stopped, simulated=bench.simulated)


def _loaded(case: Case) -> Case:
    """The case under an open load at the target, which a camera is."""
    fps = case.plan.target.fps or load_fps(case.workload.load)
    if fps is None:
        raise UsageError("how many cameras depends on their frame rate", got="a plan without a target", fix="add --fps")
    load = case.workload.load if load_fps(case.workload.load) is not None else Paced(fps=fps)
    plan = replace(case.plan, target=replace(case.plan.target, fps=fps))
    return Case(plan=plan, workload=replace(case.workload, load=load))


class _Bench:
    """Runs of one case with any number of cameras, its models kept loaded."""

    def __init__(
        self, case: Case, seconds: float | None, folder: Path | None, clock: Clock, time_limit: float, tell: Tell | None
    ) -> None:
        self.case, self.engines, self.simulated = case, Engines(clock), False
        self._seconds, self._folder, self._clock, self._tell = (
            seconds,
            folder,
            clock,
            tell or (lambda text, share: None),
        )
        self._began, self._limit = clock.now(), time_limit

    @property
    def target(self) -> tuple[float, float]:
        """Frames a second of each camera, and the budget in ns."""
        fps, budget = load_fps(self.case.workload.load), self.case.plan.target.budget_ms
        assert fps is not None
        assert budget is not None
        return fps, budget * NS_PER_MS

    def search(self, points: list[CapacityPoint], most: int) -> str:
        """Measure until the answer is known, adding to `points`; why the search ended before, or ''."""
        while (step := next_step(points, most)) is not None:
            cameras, seconds = step[0], self.seconds(*step)
            if points and self._left < self.seconds(cameras, False):
                return OUT_OF_TIME
            seconds = min(seconds, self._left) if points else seconds
            self.say(f"{_cameras(cameras)}{_told(points)}")
            points.append(self.measured(cameras, seconds))
        return ""

    def say(self, text: str) -> None:
        """Tell the user what is being tried."""
        self._tell(text, 1 - self._left / self._limit)

    def measured(self, cameras: int, seconds: float) -> CapacityPoint:
        """Measure. Raises KeyboardInterrupt after Ctrl-C; what was measured of that run says too little."""
        path = None if self._folder is None else self._folder / f"cameras-{cameras}"
        case = self.at(cameras, seconds)
        try:
            trace = self._run(case, path)
        except FramepaceError as error:
            if cameras == 1:
                raise
            self.engines.clear()
            return CapacityPoint(cameras=cameras, holds=False, late=1.0, seconds=0.0, limited_by=error.what)
        if trace.meta.stopped == INTERRUPTED:
            raise KeyboardInterrupt
        self.simulated = trace.meta.simulated
        return capacity_point(trace, cameras, path=None if path is None else str(path))

    def at(self, cameras: int, seconds: float) -> Case:
        """The case with so many cameras, for so long."""
        workload, given = self.case.workload, replace(self.case.workload.input, cameras=cameras)
        return replace(self.case, workload=replace(workload, input=given, stop=Stop(seconds=seconds)))

    def seconds(self, cameras: int, long: bool) -> float:
        """How long to measure."""
        fps = load_fps(self.case.workload.load) or 1.0
        usual = self._seconds or min(max(_SECONDS[0], _FRAMES / (fps * cameras)), _SECONDS[1])
        return usual * _LONGER if long else usual

    @property
    def _left(self) -> float:
        return max(0.0, self._limit - (self._clock.now() - self._began) / NS_PER_S)

    def _run(self, case: Case, path: Path | None) -> Trace:
        apart = case.plan.engine.strategy == "worker-processes"
        engine = None if apart else self.engines.get(case.plan, lambda text, share: self.say(text))
        return measure(case.plan, case.workload, folder=path, clock=self._clock, overwrite=True, engine=engine)


def _foreseen(bench: _Bench, predict: Predict, most: int) -> Iterator[CapacityPoint]:
    """The search in prediction, where a second run of a count would say the same."""
    known: dict[int, bool] = {}
    while (cameras := next_count(known, most)) is not None:
        bench.say(f"predicting {_cameras(cameras)}")
        point = _predicted(bench, predict, cameras)
        known[cameras] = point.holds
        yield point


def _predicted(bench: _Bench, predict: Predict, cameras: int) -> CapacityPoint:
    case = bench.at(cameras, bench.seconds(cameras, False))
    trace = predict(case.plan, case.workload)
    if trace.meta.stopped == INTERRUPTED:
        raise KeyboardInterrupt
    return capacity_point(trace, cameras, measured=False)


def _cameras(count: int) -> str:
    return f"{count} camera{'s' if count > 1 else ''}"


def _told(points: list[CapacityPoint]) -> str:
    """What is known so far."""
    if not points:
        return ""
    last = points[-1]
    return f" ({last.cameras} {'held' if last.holds else 'did not hold'}, {last.late:.1%} of the frames late)"
