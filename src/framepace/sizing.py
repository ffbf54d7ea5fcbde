"""`capacity`: how many cameras a plan carries, measured with one engine by raising the number of sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from msgspec.structs import replace

from framepace.analyze.capacity import capacity, capacity_point, next_count, next_step
from framepace.clock.system import Clock
from framepace.errors import FramepaceError, UsageError, one_line
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.plan import Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Paced, Workload, load_fps, stop_after
from framepace.lab.lab import Lab, uninterrupted, wall_limit
from framepace.measure.session import clock_for
from framepace.progress import Tell
from framepace.store import OutputFolder
from framepace.units import NS_PER_MS

Predict = Callable[[Plan, Workload], Trace]
MAX_CAMERAS = 256
TIME_LIMIT = 120.0
INTERRUPTED = "interrupted"
OUT_OF_TIME = "time limit"
_FRAMES = 700  # a p99 with its interval needs 662
_SHORTEST_S = 2.0
_LONGEST_S = 10.0
_SECOND_RUN = 3.0  # times the length of the first run of a count


def find_capacity(
    case: Case,
    *,
    max_cameras: int = MAX_CAMERAS,
    seconds: float | None = None,
    time_limit: float = TIME_LIMIT,
    folder: Path | None = None,
    overwrite: bool = False,
    tell: Tell | None = None,
    clock: Clock | None = None,
    predict: Predict | None = None,
) -> Capacity:
    """How many cameras, each bringing frames at the plan's target, `case.plan` carries within its budget.

    At the time limit or on Ctrl-C, returns what was measured (raises KeyboardInterrupt if nothing was). A count above
    one that fails to run counts as not carried.

    Args:
        max_cameras: the largest number of cameras to try.
        seconds: length of a run after its warm-up; by default as long as a p99 takes, 2 to 10 s. Second runs of a
            count take three times as long.
        folder: where the traces go, one folder per count, over those of an earlier search for the same case; None
            keeps none.
        overwrite: first remove the results of a different case from `folder`.
        predict: predicts a trace; the search is then repeated in prediction.

    Raises:
        UsageError: there is no target, or the scope has no cameras. FramepaceError: one camera cannot be measured.
        StoreError: `folder` is another run's, cannot be written or holds another case.
    """
    case = _at_target(case)
    with ExitStack() as stack:
        if folder is not None:
            stack.enter_context(OutputFolder(folder, "capacity", overwrite, case))
        wall_limit_s = wall_limit(time_limit, clock)
        clock = clock or clock_for(case.plan)
        lab = stack.enter_context(
            Lab(time_limit, folder, tell, clock, wall_limit_s=wall_limit_s, engines=1, keep_videos=False)
        )
        search = _Search(case, lab, max_cameras, seconds)
        stopped = search.run(predict)
    fps, budget = _target(case)
    found = capacity(search.points, fps, budget, stopped=stopped, simulated=search.simulated)
    return replace(found, notes=(lab.unsaved,) if lab.unsaved else ())


def _at_target(case: Case) -> Case:
    """The case under an open load at the target, which a camera is."""
    load = case.workload.load
    fps = case.plan.target.fps or load_fps(load)
    if fps is None:
        raise UsageError("capacity needs the cameras' frame rate", got="a plan without a target", fix="add --fps")
    if load_fps(load) is None:
        load = Paced(fps=fps)
    plan = replace(case.plan, target=replace(case.plan.target, fps=fps))
    return Case(plan=plan, workload=replace(case.workload, load=load))


def _target(case: Case) -> tuple[float, float]:
    """Frames per second of each camera, and the budget in ns."""
    fps = load_fps(case.workload.load)
    budget_ms = case.plan.target.budget_ms
    assert fps is not None
    assert budget_ms is not None
    return fps, budget_ms * NS_PER_MS


class _Search:
    """The search for the capacity of one case; `points` are what was measured and predicted so far."""

    def __init__(self, case: Case, lab: Lab, max_cameras: int, seconds: float | None) -> None:
        self.points: list[CapacityPoint] = []
        self.simulated = False
        self._case = case
        self._lab = lab
        self._max_cameras = max_cameras
        self._seconds = seconds

    def run(self, predict: Predict | None) -> str:
        """Search until the answer is known; why it ended before, or ''."""
        try:
            # First, so that a plan that cannot be predicted is reported before anything is measured.
            predicted = [] if predict is None else list(self._predictions(predict))
            stopped = self._measure()
            if predict is not None:
                missing = {p.cameras for p in self.points} - {p.cameras for p in predicted}
                predicted += [self._predicted(predict, cameras) for cameras in sorted(missing)]
            self.points += predicted
        except KeyboardInterrupt:
            if not self.points:
                raise
            return INTERRUPTED
        return stopped

    def _measure(self) -> str:
        """Measure one count after the other; why the search ended before its answer, or ''."""
        while (step := next_step(self.points, self._max_cameras)) is not None:
            cameras, second_run = step
            seconds = self._length(cameras)
            if self.points and not self._lab.fits(seconds):
                return OUT_OF_TIME
            if second_run:
                seconds *= _SECOND_RUN
            if self.points:
                seconds = min(seconds, self._lab.left)
            self._lab.say(f"{_cameras(cameras)}{_last_result(self.points)}")
            self.points.append(self._measured(cameras, seconds))
        return ""

    def _measured(self, cameras: int, seconds: float) -> CapacityPoint:
        name = f"cameras-{cameras}"
        try:
            trace = self._lab.run(self._at(cameras, seconds), name=name)
        except FramepaceError as error:
            if cameras == 1:
                raise
            self._lab.clear()
            return CapacityPoint(cameras=cameras, holds=False, late=1.0, seconds=0.0, limited_by=one_line(error))
        self.simulated = trace.meta.simulated
        path = self._lab.path(name)
        return capacity_point(trace, cameras, path=None if path is None else str(path))

    def _predictions(self, predict: Predict) -> Iterator[CapacityPoint]:
        """The search in prediction, where a second run of a count would bring the same result."""
        holds: dict[int, bool] = {}
        while (cameras := next_count(holds, self._max_cameras)) is not None:
            self._lab.say(f"predicting {_cameras(cameras)}")
            point = self._predicted(predict, cameras)
            holds[cameras] = point.holds
            yield point

    def _predicted(self, predict: Predict, cameras: int) -> CapacityPoint:
        case = self._at(cameras, self._length(cameras))
        trace = uninterrupted(predict(case.plan, case.workload))
        return capacity_point(trace, cameras, measured=False)

    def _at(self, cameras: int, seconds: float) -> Case:
        """The case with this many cameras, for this long."""
        workload = self._case.workload
        sources = replace(workload.input, cameras=cameras)
        return replace(self._case, workload=replace(workload, input=sources, stop=stop_after(seconds)))

    def _length(self, cameras: int) -> float:
        """Seconds of the first run of a count."""
        if self._seconds:
            return self._seconds
        fps, _ = _target(self._case)
        return min(max(_SHORTEST_S, _FRAMES / (fps * cameras)), _LONGEST_S)


def _cameras(count: int) -> str:
    return "1 camera" if count == 1 else f"{count} cameras"


def _last_result(points: list[CapacityPoint]) -> str:
    """The last count that was tried and how it went, in brackets."""
    if not points:
        return ""
    last = points[-1]
    verb = "held" if last.holds else "did not hold"
    return f" ({last.cameras} {verb}, {last.late:.1%} of the frames late)"
