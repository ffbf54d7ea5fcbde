"""`capacity`: how many cameras a plan carries, measured with one engine by raising the number of sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from math import ceil, log2
from pathlib import Path

from msgspec.structs import replace

from framepace.analyze.capacity import capacity, capacity_point, next_count, next_step
from framepace.clock.system import Clock
from framepace.errors import FramepaceError, UsageError, one_line
from framepace.facts.capacity import Capacity, CapacityPoint
from framepace.facts.plan import Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Paced, Warmup, Workload, load_fps, stop_after
from framepace.lab.lab import Lab, uninterrupted, wall_limit
from framepace.lab.timelimit import TimeLimit
from framepace.measure.session import clock_for
from framepace.progress import Tell, silent
from framepace.store import OutputFolder
from framepace.units import NS_PER_MS

Predict = Callable[[Plan, Workload], Trace]
MAX_CAMERAS = 256
TIME_LIMIT = 120.0
INTERRUPTED = "interrupted"
OUT_OF_TIME = "time limit"
_FRAMES = 700  # a p99 with its interval needs 662
_FIRST_FRAMES = 200  # until a count fails: those before it are only steps on the way there
_SHORTEST_S = 2.0
_LONGEST_S = 10.0
_SECOND_RUN = 3.0  # times the length of the first run of a count
_NOTABLE_S = 5.0  # of loading, from which a note says how long it took
_ANY = 1000.0  # a tolerance within which all windows agree


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

    The plan is loaded once, before its time begins. At the time limit or on Ctrl-C, returns what was measured (raises
    KeyboardInterrupt if nothing was); the notes say what was missing. A count above one that fails to run counts as not
    carried.

    Args:
        time_limit: for all runs together, in seconds; loading the plan is not counted.
        max_cameras: the largest number of cameras to try.
        seconds: length of a run after its warm-up; by default as long as a p99 takes, 2 to 10 s, and until a count
            fails as long as 200 frames. Second runs of a count take three times as long.
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
        limits = (time_limit, wall_limit(time_limit, clock))
        clock = clock or clock_for(case.plan)
        # Workers are kept: what they set up on a GPU takes longer than a run, and `run` does it once, too.
        lab = stack.enter_context(Lab(folder=folder, clock=clock, keep_workers=True, engines=1, keep_videos=False))
        search = _Search(case, lab, _Time(clock, *limits), max_cameras, seconds, tell or silent)
        stopped = search.run(predict)
    fps, budget = _target(case)
    result = capacity(search.points, fps, budget, stopped=stopped, simulated=search.simulated)
    return replace(result, notes=tuple(filter(None, (search.time.loaded, search.missing(result), lab.unsaved))))


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


class _Time:
    """The time of a search, without that of loading, on a clock and on the system's (see TimeLimit).

    Attributes:
        loaded: how long loading took, as a sentence; '' where that is not worth one.
    """

    def __init__(self, clock: Clock, limit_s: float, wall_limit_s: float) -> None:
        self.limit_s = limit_s
        self.loaded = ""
        self._clock = clock
        self._wall_limit_s = wall_limit_s
        self._of_runs = TimeLimit(clock, limit_s, wall_limit_s)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """What is done inside is not counted."""
        before = self._of_runs.spent
        yield
        seconds = self._of_runs.spent - before
        if seconds >= _NOTABLE_S:
            self.loaded = f"loading the plan took {seconds:.0f} s, which the time limit does not count"
        self._of_runs = TimeLimit(self._clock, max(0.0, self.limit_s - before), self._wall_limit_s)

    @property
    def left(self) -> float:
        """Seconds left for runs, on the clock."""
        return self._of_runs.remaining

    @property
    def share(self) -> float:
        """The share of the limit that is used, 0 to 1."""
        return self._of_runs.share


class _Search:
    """The search for the capacity of one case; `points` are what was measured and predicted so far."""

    def __init__(self, case: Case, lab: Lab, time: _Time, max_cameras: int, seconds: float | None, tell: Tell) -> None:
        self.points: list[CapacityPoint] = []
        self.simulated = False
        self.time = time
        self._case = case
        self._lab = lab
        self._max_cameras = max_cameras
        self._seconds = seconds
        self._tell = tell

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
        """Load the plan, then measure one count after the other; why the search ended before its answer, or ''."""
        self._load()
        while (step := next_step(self.points, self._max_cameras)) is not None:
            cameras, second_run = step
            seconds = self._length(cameras, self._frames())
            if self.points and self.time.left < seconds:
                return OUT_OF_TIME
            if second_run:
                seconds *= _SECOND_RUN
            if self.points:
                seconds = min(seconds, self.time.left)
            self._say(f"{_cameras(cameras)}{_last_result(self.points)}")
            self.points.append(self._measured(cameras, seconds))
        return ""

    def missing(self, result: Capacity) -> str:
        """What the time limit left open, and which would do; '' where it ended nothing."""
        if result.stopped != OUT_OF_TIME:
            return ""
        left_open = "no count was reached that fails: the capacity may be higher"
        if result.missed is not None:
            left_open = "the counts between were not tried"
        measured = [point for point in self.points if point.measured]
        per_run = self.time.limit_s / len(measured)
        enough = per_run * (len(measured) + _most_runs(result, self._max_cameras))
        return f"{left_open}; --time-limit {_rounded_up(enough)} is enough for the whole search"

    def _load(self) -> None:
        """Load the models and set up the workers, which the next runs use, in a run of few frames."""
        self._say("loading the plan")
        few = Warmup(window=1, tolerance=_ANY)
        with self.time.loading():
            self._lab.run(self._at(1, _SHORTEST_S), most_frames=1, warmup=few, tell=self._say)

    def _say(self, text: str, share: float | None = None) -> None:
        self._tell(text, self.time.share)

    def _measured(self, cameras: int, seconds: float) -> CapacityPoint:
        name = f"cameras-{cameras}"
        try:
            trace = self._lab.run(self._at(cameras, seconds), name=name, tell=self._say)
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
            self._say(f"predicting {_cameras(cameras)}")
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

    def _frames(self) -> int:
        """Of the first run of a count, at least."""
        return _FIRST_FRAMES if all(point.holds for point in self.points) else _FRAMES

    def _length(self, cameras: int, frames: int = _FRAMES) -> float:
        """Seconds of the first run of a count."""
        if self._seconds:
            return self._seconds
        fps, _ = _target(self._case)
        return min(max(_SHORTEST_S, frames / (fps * cameras)), _LONGEST_S)


def _most_runs(result: Capacity, highest: int) -> int:
    """How many runs the search takes at most from here: doubling, halving the gap, and the answer for long."""
    doublings = 0
    gap = (result.missed or 0) - result.cameras
    if result.missed is None:
        doublings = ceil(log2(highest / max(1, result.cameras)))
        gap = highest // 2
    return doublings + ceil(log2(max(1, gap))) + ceil(_SECOND_RUN)


def _rounded_up(seconds: float) -> int:
    """To whole tens."""
    return 10 * ceil(seconds / 10)


def _cameras(count: int) -> str:
    return "1 camera" if count == 1 else f"{count} cameras"


def _last_result(points: list[CapacityPoint]) -> str:
    """The last count that was tried and how it went, in brackets."""
    if not points:
        return ""
    last = points[-1]
    verb = "held" if last.holds else "did not hold"
    return f" ({last.cameras} {verb}, {last.late:.1%} of the frames late)"
