"""What a place carries: from what its models cost there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from framepace import api
from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan, Target
from framepace.facts.primitives import ModelCost, Point, Primitives, comparable
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.workload import Input, Paced, Stop, Workload, load_fps
from framepace.fleet import capacities
from framepace.fleet.capacities import Capacities, Reference, capacity
from framepace.fleet.host import EngineHost
from framepace.fleet.messages import Orders, Reply
from framepace.fleet.placing import Capacity
from framepace.predicting.predict import predict
from framepace.progress import silent
from framepace.running.options import Options
from tests.fleet.engines import places, plan

_MS = 1_000_000
_CAMERA = Reference(fps=10.0, size=(64, 96))


def _primitives(infer_ms: float, cores: int = 1, neighbours: float = 0.0) -> Primitives:
    stages: dict[str, tuple[int, ...]] = {"decode": (_MS // 10,) * 20, "infer": (round(infer_ms * _MS),) * 20}
    point = Point(batch=1, rate=1000 / infer_ms, neighbours=neighbours, samples=stages)
    cost = ModelCost(model=comparable(plan().models[0]), points=(point,))
    return Primitives(cores=cores, scope="stream", costs=(cost,))


@pytest.fixture(scope="module")
def five_ms() -> Capacity:
    """Of frames that take 5 ms of one core, and some decoding beside it."""
    return capacity(plan(), _primitives(5.0), _CAMERA, 1.0)


def test_it_carries_what_its_time_is_enough_for(five_ms: Capacity) -> None:
    """Between 150 and 200 per second."""
    assert 150 < five_ms.frames < 200


def test_results_are_older_the_fuller_it_is(five_ms: Capacity) -> None:
    """And nowhere older than the target, up to what it carries."""
    ages = [age for _, age in five_ms.curve]
    assert ages == sorted(ages)
    assert ages[0] > 5.0
    assert ages[-1] <= 100.0


def test_a_device_that_takes_half_the_time_carries_about_twice_as_much(five_ms: Capacity) -> None:
    """Which is what places are filled by."""
    slow = capacity(plan(), _primitives(10.0), _CAMERA, 1.0).frames
    assert 1.8 < five_ms.frames / slow < 2.2


def test_what_carries_not_even_one_camera_carries_a_part_of_one() -> None:
    """Searching for it comes to an end."""
    found = capacity(plan(), _primitives(400.0), _CAMERA, 1.0)
    assert 0 < found.frames <= _CAMERA.fps / 2


class _Engine:
    """Measures what it is told to, and counts how often."""

    def __init__(self, primitives: Primitives) -> None:
        self.measured = 0
        self._primitives = primitives

    def measure(self, case: Case) -> Primitives:
        """See Engine."""
        self.measured += 1
        return self._primitives

    def ready(self) -> None:
        """See Engine."""

    def files(self, folder: str) -> dict[str, int]:
        """See Files."""
        return {}

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Files."""
        return b""

    def load(self) -> None:
        """See Engine."""

    def exchange(self, orders: Orders) -> Reply:
        """See Engine."""
        return Reply(0)

    def kill(self) -> None:
        """See Engine."""


def test_one_kind_is_measured_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all places of the kind, and the next run; but what was measured beside others is measured again."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))
    monkeypatch.setattr(capacities, "capacity", lambda *_: Capacity(100.0))
    for neighbours, times in ((0.5, 2), (0.0, 1)):
        engine = _Engine(_primitives(5.0, neighbours=neighbours))
        for _ in range(2):
            known = Capacities(plan(), _CAMERA, silent)
            for place in places(3):
                known.of(engine, place)
            assert bool(known.note) == (neighbours > 0)
        assert engine.measured == times


def test_a_plan_that_cannot_be_predicted_is_spread_evenly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a note; here because another way to run the model was measured."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))
    other = plan()
    other = replace(other, models=(replace(other.models[0], threads=7, batch=Batching(max=1)),))
    known = Capacities(other, _CAMERA, silent)
    found = known.of(_Engine(_primitives(5.0)), places(1)[0])
    assert found.curve == ()
    assert "spread evenly" in known.note


def test_a_search_takes_few_predictions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a second or more, while the place that was measured waits."""
    asked: list[float] = []

    def counted(plan: Plan, workload: Workload, primitives: Primitives) -> Trace:
        asked.append(load_fps(workload.load) or 0.0)
        return predict(plan, workload, primitives)

    monkeypatch.setattr(capacities, "predict", counted)
    capacity(plan(), _primitives(20.0), _CAMERA, 1.0)
    assert len(asked) <= 7
    assert len(asked) == len(set(asked))


@pytest.mark.long
def test_what_happened_once_is_not_taken_for_frequent() -> None:
    """One inference of forty that took as long as four budgets: by that alone no rate would keep one."""
    usual = capacity(plan(), _with_events(0), _CAMERA, 1.0)
    disturbed = capacity(plan(), _with_events(1), _CAMERA, 1.0)
    assert disturbed.frames == pytest.approx(usual.frames, rel=0.1)


def test_a_place_whose_results_are_always_late_is_filled_by_what_it_keeps_up_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of ten inferences takes four budgets: it is said, not kept, and no reason to give the place nothing."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))
    engine = _Engine(_with_events(4))
    known = [Capacities(plan(), _CAMERA, silent) for _ in range(2)]
    for each in known:
        found = each.of(engine, places(1)[0])
        assert found.frames > 5 * _CAMERA.fps
        assert "above the target of 100 ms" in each.note
    assert engine.measured == len(known)


def _with_events(count: int) -> Primitives:
    """Inferences of 10 ms, forty of them, `count` of which took 400 ms."""
    known = _primitives(10.0)
    cost = known.costs[0]
    infer = (400 * _MS,) * count + (10 * _MS,) * (40 - count)
    point = replace(cost.points[0], samples=cost.points[0].samples | {"infer": infer})
    return replace(known, costs=(replace(cost, points=(point,)),))


@pytest.mark.long
def test_what_a_plan_in_batches_by_deadline_is_predicted_to_carry_it_carries() -> None:
    """Within 15 %: on a simulated device, with two workers; 15 % fewer cameras keep the budget, 15 % more miss it."""
    batched = _simulated(Batching(max=8, policy="deadline", sizes=(4,)))
    primitives = EngineHost(batched, Options(stays=True)).measure(Case(plan=batched, workload=_CAMERA.workload()))
    cameras = capacity(batched, primitives, _CAMERA, 2.0).frames / _CAMERA.fps
    assert _p99_ms(batched, round(0.85 * cameras)) <= 100.0
    assert _p99_ms(batched, round(1.15 * cameras)) > 100.0


def _simulated(batch: Batching) -> Plan:
    model = ModelPlan(name="m", model="builtin:resnet50", backend="simulated", options={"device": "t4"}, batch=batch)
    return Plan(models=(model,), engine=EnginePlan(workers=2), target=Target(fps=10, p99_ms=100.0))


def _p99_ms(asked: Plan, cameras: int) -> float:
    """Of a run of so many cameras in virtual time."""
    workload = Workload(
        load=Paced(fps=_CAMERA.fps), input=Input(size=_CAMERA.size, cameras=cameras), stop=Stop(seconds=4.0)
    )
    trace = api.bench(Case(plan=asked, workload=workload))
    return float(np.quantile(trace.latency[trace.counted], 0.99)) / _MS
