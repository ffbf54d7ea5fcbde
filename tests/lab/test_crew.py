"""A crew on places that are made up: losses, places that do not start, devices that nobody has."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import pytest

from framepace.errors import ClusterError, PlaceLost
from framepace.facts.place import Place
from framepace.facts.plan import ModelPlan, Plan
from framepace.lab.crew import Crew, Done, Task, do
from framepace.lab.elsewhere import Elsewhere
from framepace.lab.lab import Lab
from tests.doubles.places import make_place

PLAN = Plan(models=(ModelPlan(name="a", model="null", backend="null"),))


def on_gpu(device: str) -> Plan:
    """A plan for a GPU."""
    return Plan(models=(ModelPlan(name="a", model="a.onnx", backend="onnxruntime", device=device),))


class Spot:
    """A place that starts, or does not from the second time on; a lab and its place in one."""

    unsaved = ""

    def __init__(self, place: Place, starts: int = 99) -> None:
        self.place = place
        self._starts = starts

    def start(self) -> None:
        """Raise where no start is left."""
        self._starts -= 1
        if self._starts < 0:
            raise ClusterError("does not answer")

    def end(self) -> None:
        """Nothing is open."""


def crew(*spots: Spot) -> Crew[Any]:
    """A crew on them."""
    return Crew(cast("list[Elsewhere]", spots), cast("list[Lab]", spots))


def outcomes(crew: Crew[Any], tasks: list[Task[Any]]) -> list[Done[Any]]:
    """What became of tasks, by number."""
    return sorted(do(crew, tasks), key=lambda done: done.number)


def lost_on(*numbers: int) -> Callable[[Lab], int]:
    """A task that answers the number of its place, and loses some places."""

    def run(lab: Lab) -> int:
        number = cast("Spot", lab).place.number
        if number in numbers:
            raise PlaceLost(f"{number} was lost")
        return number

    return run


def test_tasks_are_done_on_all_places_at_once() -> None:
    """Each of two tasks waits for the other to have begun."""
    both = threading.Barrier(2, timeout=30)
    tasks: list[Task[Any]] = [Task(PLAN, lambda lab: both.wait() >= 0)] * 2
    with crew(Spot(make_place(0)), Spot(make_place(1))) as working:
        assert [done.answer for done in outcomes(working, tasks)] == [True, True]


def test_a_task_whose_place_is_lost_is_done_elsewhere() -> None:
    """All four are done by the place that lives; the other is given up, and said to be."""
    with crew(Spot(make_place(0), starts=1), Spot(make_place(1))) as working:
        done = outcomes(working, [Task(PLAN, lost_on(0))] * 4)
        lost = working.lost
    assert [each.answer for each in done] == [1, 1, 1, 1]
    assert lost in ([], ["here share 0 is not used: does not answer"])  # it may still be starting at the end


def test_a_place_that_answers_again_is_used_again() -> None:
    """One place that loses its first task once: both are done there."""
    losses = [PlaceLost("lost")]

    def run(lab: Lab) -> int:
        if losses:
            raise losses.pop()
        return cast("Spot", lab).place.number

    with crew(Spot(make_place(0))) as working:
        assert [each.answer for each in outcomes(working, [Task(PLAN, run)] * 2)] == [0, 0]


def test_a_task_that_ends_every_place_is_told_as_failed_and_the_others_are_done() -> None:
    """Its error says which place was lost last."""
    tasks: list[Task[Any]] = [Task(PLAN, lost_on(0, 1)), Task(PLAN, lost_on())]
    with crew(Spot(make_place(0)), Spot(make_place(1))) as working:
        bad, good = outcomes(working, tasks)
    assert isinstance(bad.error, PlaceLost)
    assert good.answer in (0, 1)


def test_where_all_places_are_lost_it_says_so() -> None:
    """Two places that never come back, and tasks left."""
    with (
        crew(Spot(make_place(0), 1), Spot(make_place(1), 1)) as working,
        pytest.raises(ClusterError, match="every place of the cluster was lost"),
    ):
        outcomes(working, [Task(PLAN, lost_on(0, 1))] * 4)


def test_a_place_that_does_not_start_is_left_out() -> None:
    """The other does everything; without another nothing begins."""
    with crew(Spot(make_place(0), 0), Spot(make_place(1))) as working:
        assert [each.answer for each in outcomes(working, [Task(PLAN, lost_on())] * 2)] == [1, 1]
        assert working.lost == ["here share 0 is not used: does not answer"]
    with pytest.raises(ClusterError, match="no place of the cluster can be used"), crew(Spot(make_place(0), 0)):
        pass


@pytest.mark.parametrize(("device", "said"), [("cuda", "no place for cuda"), ("cuda:1", "there is one GPU")])
def test_a_plan_for_a_device_that_the_cluster_lacks_is_refused(device: str, said: str) -> None:
    """No GPU, or its second one, since each place has one; other tasks are done."""
    places = [make_place(0)] if device == "cuda" else [make_place(0, gpu="a GPU")]
    with crew(*map(Spot, places)) as working:
        bad, good = outcomes(working, [Task(on_gpu(device), lost_on()), Task(PLAN, lost_on())])
    assert said in str(bad.error)
    assert good.answer == 0


def test_a_plan_for_a_gpu_goes_to_a_place_with_one() -> None:
    """Never to a share of cores, however free."""
    with crew(Spot(make_place(0)), Spot(make_place(1, gpu="a GPU"))) as working:
        done = outcomes(working, [Task(on_gpu("cuda:0"), lost_on())] * 3)
    assert [each.answer for each in done] == [1, 1, 1]
