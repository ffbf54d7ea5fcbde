"""Capacity from end to end, in virtual time: a device whose truth is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from framepace import api
from framepace.backends.base import Session, Worker, register
from framepace.backends.null import NullBackend
from framepace.clock.system import Clock
from framepace.clock.virtual import VirtualClock
from framepace.engine.engine import Engine
from framepace.errors import SourceError, UsageError
from framepace.facts.capacity import Capacity
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Input, Workload
from framepace.lab import enginepool as engines
from framepace.progress import Tell
from framepace.sizing import find_capacity
from framepace.store import load_trace
from framepace.units import NS_PER_S

ONE_MS: dict[str, Any] = {
    "backend": "simulated", "option.device": "ideal", "option.kernels": 1, "option.gflops": 5.0, "option.mbytes": 0,
    "option.weights_mb": 0, "option.blocks": 100, "option.efficiency": 0.5, "transfer": "device", "frames": 1,
}  # fmt: skip


LONG = pytest.mark.long


def found(fps: float = 100, settings: dict[str, Any] | None = None, **options: Any) -> Capacity:
    """The capacity of an inference of 1 ms that cannot run beside itself."""
    given = {"scope": "pipeline", "p99_ms": 10.0, "seconds": 0.7, **options}
    return api.capacity("null", fps=fps, settings=ONE_MS | (settings or {}), **given)


@pytest.mark.parametrize(
    ("fps", "cameras", "scope"),
    [(100, 10, "model"), pytest.param(100, 10, "pipeline", marks=LONG), pytest.param(150, 6, "pipeline", marks=LONG)],
)
def test_the_capacity_is_that_of_the_device(fps: float, cameras: int, scope: str) -> None:
    """1,000 inferences per second carry 10 cameras at 100 fps and 6 at 150; the eleventh fills the GPU."""
    result = found(fps, scope=scope)
    assert (result.cameras, result.exact, result.fits, result.stopped) == (cameras, True, True, "")
    assert result.limited_by.startswith("the GPU")
    assert [p.cameras for p in result.points] == sorted({p.cameras for p in result.points})
    assert result.simulated


def test_a_frame_slower_than_its_budget_fits_nowhere() -> None:
    """1 ms in half a millisecond: not one camera, by itself."""
    result = found(p99_ms=0.5)
    assert (result.cameras, result.fits) == (0, False)
    assert "path of a frame" in result.limited_by


def test_max_and_the_time_limit_leave_the_answer_open() -> None:
    """At least 4 where no more are asked for; at least 1 where the time is over after one run."""
    most, early = found(max_cameras=4), found(time_limit=1.0)
    assert (most.cameras, most.missed, most.stopped) == (4, None, "")
    assert (early.cameras, early.missed, early.stopped) == (1, None, "time limit")


@LONG
def test_counts_below_the_first_that_fails_are_measured_shortly() -> None:
    """Until then 200 frames say enough, and 2 s; those after it, and the answer, have the frames of a p99 or more."""
    result = found(seconds=None)
    measured = {point.cameras: point.seconds * 100 * point.cameras for point in result.points}
    assert result.cameras == 10
    assert measured[1] < 250
    assert measured[10] > 662
    assert measured[10] > 2 * measured[12]


class SlowlyLoaded(NullBackend):
    """Takes half a minute to load."""

    name = "slowly-loaded"

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        clock.sleep_until(clock.now() + 30 * NS_PER_S)
        return super()._load(model, clock, tell)


def test_loading_is_told_and_not_counted() -> None:
    """A plan that takes 30 s to load, in 5 s: as many cameras are tried as of one that takes none."""
    register(SlowlyLoaded)
    case = api.make_case("null", fps=100, p99_ms=10.0, scope="model", settings={"backend": "slowly-loaded"})
    result = find_capacity(case, max_cameras=4, seconds=0.3, time_limit=5.0, clock=VirtualClock())
    assert (result.cameras, result.stopped) == (4, "")
    assert "loading the plan took 30 s" in " ".join(result.notes)


@pytest.mark.long
def test_a_search_that_is_out_of_time_says_what_is_open_and_how_much_would_do() -> None:
    """No count failed, or some between two are open; the time limit that it names is enough, on the same device."""
    for limit in (1.0, 6.5):
        early = found(time_limit=limit)
        assert early.stopped == "time limit"
        (note,) = (note for note in early.notes if "--time-limit" in note)
        assert ("no count was reached that fails" in note) == (early.missed is None)
        enough = float(note.split("--time-limit ")[1].split()[0])
        assert found(time_limit=enough).exact


class CountedSetUp(NullBackend):
    """Counts the workers that are set up."""

    name = "counted-set-up"
    made = 0

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        session = super()._load(model, clock, tell)
        make = session.worker

        def worker(index: int = 0) -> Worker:
            type(self).made += 1
            return make(index)

        session.worker = worker  # type: ignore[method-assign]
        return session


def test_workers_are_set_up_once_for_all_counts() -> None:
    """On a GPU that takes longer than a run, and a run on cameras does it once, too."""
    register(CountedSetUp)
    settings = {"backend": "counted-set-up", "workers": 2}
    case = api.make_case("null", fps=100, p99_ms=100.0, scope="model", settings=settings)
    result = find_capacity(case, max_cameras=2, seconds=0.1)
    assert [point.cameras for point in result.points] == [1, 2]
    assert CountedSetUp.made == 2


def test_the_models_are_loaded_once_and_the_traces_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each count has its trace, with so many sources; all of them one engine."""
    made: list[Engine] = []

    def counted(*args: Any, **options: Any) -> Engine:
        made.append(Engine(*args, **options))
        return made[-1]

    monkeypatch.setattr(engines, "Engine", counted)
    result = found(out=tmp_path, max_cameras=4)
    traces = [load_trace(p.trace or "") for p in result.points]
    assert [len(t.meta.sources) for t in traces] == [p.cameras for p in result.points] == [1, 2, 4]
    assert len(made) == 1


@pytest.mark.long
def test_a_prediction_stands_beside_the_measurement() -> None:
    """A function that foresees a device of half the speed: half the cameras, and a point beside each measured one."""

    def half(plan: Plan, workload: Workload) -> Trace:
        slow = api.make_case(plan, settings={"option.gflops": 10.0}).plan
        return api.bench(Case(plan=slow, workload=workload))

    result = found(predict=half)
    assert (result.cameras, result.predicted) == (10, 5)
    predicted = {p.cameras for p in result.points if not p.measured}
    assert {p.cameras for p in result.points if p.measured} <= predicted


def test_an_interruption_keeps_what_is_known() -> None:
    """Ctrl-C while the second count is tried: the first is the answer so far."""

    def tell(text: str, share: float) -> None:
        if text.startswith("2 cameras"):
            raise KeyboardInterrupt

    result = found(tell=tell)
    assert (result.cameras, result.missed, result.stopped) == (1, None, "interrupted")


def test_what_cannot_mean_anything_is_said_before_measuring() -> None:
    """No frame rate; a video that is not there."""
    with pytest.raises(UsageError, match="frame rate"):
        api.capacity("null", settings=ONE_MS)
    with pytest.raises(SourceError):
        found(videos=["none.mp4"])


def test_cameras_are_a_setting() -> None:
    """Sources take the videos in turn, and a sweep varies their number."""
    assert Input(videos=("a", "b"), cameras=3).sources == ("a", "b", "a")
    assert Input(videos=("a", "b"), cameras=1).sources == ("a",)
    assert Input(videos=("a", "b")).sources == ("a", "b")
    assert Input(cameras=2).sources == ("synthetic",) * 2
    result = api.sweep("null", {"cameras": ["1", "3"]}, fps=100, settings=ONE_MS, scope="pipeline")
    rates = [round(cell.summary.throughput) for cell in result.cells if cell.summary is not None]
    assert rates == [pytest.approx(100, rel=0.05), pytest.approx(300, rel=0.05)]


def test_find_capacity_needs_no_api() -> None:
    """The case as it is: the plan's own target."""
    case = api.make_case("null", fps=100, p99_ms=10.0, scope="pipeline", settings=ONE_MS)
    assert find_capacity(case, max_cameras=2).cameras == 2
