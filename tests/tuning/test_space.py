"""Which settings a tuning tries."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framepace.facts.plan import Batching, EnginePlan, ModelPlan, Plan
from framepace.facts.primitives import ModelCost, Primitives, comparable
from framepace.facts.settings import Case, apply
from framepace.facts.workload import Closed, Input, Workload
from framepace.predicting.bound import bound
from framepace.tuning.space import MachineOptions, axes, combinations, grid_axes, neighbours, sensible
from tests.doubles.primitives import point

plans = st.builds(
    lambda threads, workers, batch, simulated, two: Plan(
        models=tuple(
            ModelPlan(name=name, model="null", threads=threads, batch=Batching(max=batch),
                      backend="simulated" if simulated else "null")
            for name in ("m", "n")[: 1 + two]
        ),
        engine=EnginePlan(workers=workers),
    ),
    st.integers(0, 5), st.integers(1, 5), st.integers(1, 20), st.booleans(), st.booleans(),
)  # fmt: skip
around_ = st.builds(MachineOptions, cores=st.integers(1, 16), sms=st.sampled_from([0, 80]))


def case_of(plan: Plan) -> Case:
    """The case of a plan."""
    return Case(plan=plan, workload=Workload(load=Closed()))


@pytest.mark.long
@settings(deadline=None, max_examples=30)
@given(plans, around_)
def test_combinations_make_sense(plan: Plan, around: MachineOptions) -> None:
    """The plan as given comes first, no combination comes twice or says what the plan says, and all make sense."""
    case = case_of(plan)
    found = combinations(case, axes(case, around), around)
    cases = [apply(case, named) for named in found]
    assert found[0] == {}
    assert len({repr(c) for c in cases}) == len(cases)
    assert all(sensible(c, around) for c in cases[1:])


@pytest.mark.long
@settings(deadline=None, max_examples=30)
@given(plans, around_, st.data())
def test_neighbours_are_a_step_away_and_back(plan: Plan, around: MachineOptions, data: st.DataObject) -> None:
    """What is one step away makes sense, differs, and changes at most two settings."""
    case = case_of(plan)
    found = axes(case, around)
    named = data.draw(st.sampled_from(combinations(case, found, around)))
    for other in neighbours(case, found, around, named):
        names = [n for n in {*named, *other} if named.get(n) != other.get(n)]
        assert 1 <= len(names) <= 2
        assert not other or sensible(apply(case, other), around)


def test_threads_do_not_crowd_the_cores() -> None:
    """Threads times workers stay within twice the cores; 0 threads are as many as there are cores."""
    case, around = case_of(Plan(models=(ModelPlan(name="m", model="null"),))), MachineOptions(cores=4)
    for named in combinations(case, axes(case, around), around):
        plan = apply(case, named).plan
        assert (plan.models[0].threads or 4) * plan.engine.workers <= 8


@pytest.mark.parametrize("fixed", ["batch", "workers", "precision"])
def test_what_is_fixed_stays(fixed: str) -> None:
    """A setting that the user has made is no axis."""
    case, around = case_of(Plan(models=(ModelPlan(name="m", model="null"),))), MachineOptions(cores=4)
    assert fixed not in [a.name for a in axes(case, around, ["int8"], [fixed])]
    assert fixed in [a.name for a in axes(case, around, ["int8"])]


def test_a_batch_between_two_that_tensor_cores_take_is_tried_beside_both() -> None:
    """On a GPU; halves and quarters of the SMs are shares, which every device can be divided into."""
    uneven = Plan(models=(ModelPlan(name="m", model="null", backend="simulated", batch=Batching(max=33)),))
    tried = {
        axis.name: axis
        for axis in axes(Case(plan=uneven, workload=Workload(load=Closed())), MachineOptions(cores=4, sms=132))
    }
    assert {32, 33, 40} <= set(tried["batch"].values)
    assert tried["sms"].values == (None, "50%", "25%")


def test_a_model_of_a_fixed_batch_has_no_batches_to_try() -> None:
    """Where frames cannot be batched, neither sizes nor policies nor windows are axes."""
    case = case_of(Plan(models=(ModelPlan(name="m", model="null"),)))
    names = {a.name for a in axes(case, MachineOptions(cores=4, batches=False))}
    assert names
    assert not names & {"batch", "batch-policy", "window-ms"}


def test_a_grid_is_all_there_is() -> None:
    """With a grid, combinations and neighbours stay within it."""
    case, around = case_of(Plan(models=(ModelPlan(name="m", model="null"),))), MachineOptions(cores=4)
    grid = grid_axes({"batch": [1, 4], "workers": [1, 2]})
    found = combinations(case, grid, around)
    assert sorted(map(str, found)) == sorted(map(str, [{}, {"batch": 4}, {"workers": 2}, {"batch": 4, "workers": 2}]))
    for named in found:
        steps: list[dict[str, Any]] = neighbours(case, grid, around, named)
        assert [s for s in steps if s not in found] == []


def test_the_bound_is_that_of_the_best_batch() -> None:
    """10 ms for one frame and 24 ms for four: 167 frames/s by batches, 100 without, and more workers add up."""
    model = ModelPlan(name="m", model="null", threads=1)
    points = (point(1, infer=10), point(4, infer=24), point(4, workers=2, infer=30))
    known = Primitives(cores=2, scope="pipeline", costs=(ModelCost(model=comparable(model), points=points),))

    def of(batch: int, workers: int) -> float:
        from msgspec.structs import replace

        return bound(
            Plan(models=(replace(model, batch=Batching(max=batch)),), engine=EnginePlan(workers=workers)), known
        )

    assert of(4, 1) / of(1, 1) == pytest.approx((4 / 24) / (1 / 10))
    assert of(4, 2) / of(4, 1) == pytest.approx((2 * 4 / 30) / (4 / 24))
    assert 100 < of(1, 1) < 120


def test_the_layout_of_tensor_cores_is_tried_by_those_who_know_it() -> None:
    """On a GPU the layout option of a backend is an axis, and never given to a backend that does not know it."""
    known = {"onnxruntime": {"nhwc"}, "torch": {"channels_last"}, "tensorrt": {"level"}}
    around = MachineOptions(cores=4, sms=80, backends=tuple(known), options=known)
    case = case_of(Plan(models=(ModelPlan(name="m", model="null", backend="onnxruntime"),)))
    found = axes(case, around)
    told = neighbours(case, found, around, {"backend": "torch"})
    assert {"backend": "torch", "option.channels_last": True} in told
    assert {"option.nhwc": True} in neighbours(case, found, around, {})
    assert not any("option.nhwc" in settings for settings in told if settings.get("backend") == "torch")


def test_what_a_gpu_can_do_beside_the_model_is_tried_on_one() -> None:
    """It decodes files, prepares, has graphs, and shapes are fixed: one step each, the first two also together."""
    around = MachineOptions(cores=16, sms=132, backends=("onnxruntime",), decodes=True, computes_shapes=True)
    model = ModelPlan(name="m", model="null", backend="onnxruntime", device="cuda")
    workload = Workload(load=Closed(), input=Input(videos=("a.mp4",)))
    case = Case(plan=Plan(models=(model,)), workload=workload)
    told = neighbours(case, axes(case, around), around, {})
    for step in (
        {"decode": "gpu"},
        {"prepare-place": "device"},
        {"decode": "gpu", "prepare-place": "device"},
        {"graph": True},
        {"shapes": "fixed"},
    ):
        assert step in told


def test_workers_of_a_gpu_are_tried_as_processes_too() -> None:
    """Where there are several, and where pictures do not stay in the GPU memory of one process."""
    around = MachineOptions(cores=16, sms=132, backends=("onnxruntime",), decodes=True)
    model = ModelPlan(name="m", model="null", backend="onnxruntime", device="cuda")
    case = Case(plan=Plan(models=(model,)), workload=Workload(load=Closed(), input=Input(videos=("a.mp4",))))
    found = axes(case, around)
    processes = {"workers": 2, "strategy": "worker-processes"}
    assert processes in neighbours(case, found, around, {"workers": 2})
    assert {"strategy": "worker-processes"} not in neighbours(case, found, around, {})
    assert not any("strategy" in other for other in neighbours(case, found, around, {"workers": 2, "decode": "gpu"}))


@pytest.mark.parametrize(
    ("fields", "around", "videos"),
    [
        ({"device": "cpu"}, {"sms": 132, "decodes": True}, ("a.mp4",)),
        ({"device": "cuda"}, {"sms": 132, "decodes": True}, ()),
        ({"device": "cuda"}, {"sms": 132}, ("a.mp4",)),
        ({"backend": "simulated"}, {"sms": 132, "decodes": True}, ("a.mp4",)),
    ],
)
def test_where_a_gpu_cannot_decode_that_is_not_tried(
    fields: dict[str, Any], around: dict[str, Any], videos: tuple[str, ...]
) -> None:
    """A model elsewhere, pictures in memory, no decoder, a device that is only modelled."""
    model = ModelPlan(**{"name": "m", "model": "null", "backend": "onnxruntime", **fields})
    case = Case(plan=Plan(models=(model,)), workload=Workload(load=Closed(), input=Input(videos=videos)))
    found = {axis.name: axis.values for axis in axes(case, MachineOptions(cores=4, **around))}
    assert "gpu" not in found["decode"]


def test_an_option_can_be_left_to_the_backend_again() -> None:
    """None takes an option out of the plan."""
    case = case_of(Plan(models=(ModelPlan(name="m", model="null"),)))
    assert apply(apply(case, {"option.nhwc": True}), {"option.nhwc": None}) == case
