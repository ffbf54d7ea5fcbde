"""Sweeps: what a cell measures, what its model is called, and what the cells say together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper, save

from framepace import api
from framepace.cases import make_case
from framepace.facts.device import SIMULATED
from framepace.facts.settings import Case, apply
from framepace.facts.sweep import Sweep
from framepace.facts.workload import Closed, Delay, Stop
from framepace.reporting.documents import sweep_document
from framepace.reporting.views.sweep import SETTLING, sweep_view
from framepace.sweeping import case_of_cell

# A clock that falls at once to half under a light load, and 1 ms of arithmetic on one kernel.
FALLING: dict[str, Any] = {
    "backend": "simulated", "option.device": "ideal", "option.kernels": 1, "option.gflops": 5.0, "option.blocks": 100,
    "option.idle_mhz": 500, "option.base_mhz": 500, "option.load_share": 0.5, "option.load_hold_ms": 300,
}  # fmt: skip


def swept(grid: Mapping[str, list[Any]], **options: Any) -> Sweep:
    """A sweep of the scope 'model' over a simulated network without a file."""
    settings = {**FALLING, **options.pop("settings", {})}
    return api.sweep("null", grid, settings=settings, scope="model", fps=None, **options)


def case(**settings: Any) -> Case:
    """A built-in network, with settings."""
    return make_case("builtin:classifier", settings=settings)


def test_with_gaps_a_cell_has_its_levels_its_jump_and_the_time_back_to_back() -> None:
    """1 ms, then 2 ms from request 10 to 40 on, for the clock fell; no column is blank."""
    found = swept({"batch": [1]}, load=Delay(delay_ms=10), stop=Stop(count=150))
    levels = found.cells[0].settling
    assert levels is not None
    assert levels.jump is not None
    assert 10 < levels.jump < 40
    assert (levels.change, levels.settle) == ("level", levels.jump)
    assert 1.8 < levels.settled / levels.back_to_back < 2.1
    view = sweep_view(found)
    assert view.numbers[: len(SETTLING)] == SETTLING
    assert all(all(row.texts) for row in view.rows)
    assert sweep_document(found)["rows"][0]["settling"]["jump"] == levels.jump
    assert found.answers == ("with gaps, slower than back to back in 1 of 1 cells",)


def test_a_sweep_over_batches_ends_in_a_sentence() -> None:
    """A device that one image fills: the batch brings nothing, and it is said."""
    found = swept({"batch": [1, 2, 4]}, load=Closed(), stop=Stop(count=60), settings={"slots": 1, "transfer": "device"})
    assert "a batch of 4 brings 1.00x" in found.answers[0]
    assert "fills 100% of the device" in found.answers[0]
    assert found.notes == (SIMULATED,)


def test_under_a_load_that_says_when_frames_come_batches_are_not_said_to_bring_anything() -> None:
    """100 frames per second arrive, whatever the batch: their rate says nothing of the device."""
    case = make_case("null", settings=FALLING, scope="model", fps=100, stop=Stop(count=60))
    assert [answer for answer in api.sweep(case, {"batch": [1, 4]}).answers if "per image" in answer] == []


def test_a_sweep_over_sms_says_what_a_part_of_the_device_costs() -> None:
    """100 blocks fill half of 100 SMs twice: half of the frames; a device that they leave empty anyway loses none."""
    settings = {"slots": 1, "transfer": "device", "option.sm_count": 100}
    found = swept({"sms": ["none", "50%"]}, load=Closed(), stop=Stop(count=60), settings=settings)
    text = "sms=50%: 0.50x the frames/s of all SMs, kernels take 2.00x as long: the limit costs more than it brings"
    assert found.answers[0] == text
    settings["option.blocks"] = 50
    found = swept({"sms": ["none", "50%"]}, load=Closed(), stop=Stop(count=60), settings=settings)
    assert found.answers[0].endswith("1.00x as long: the limit costs nothing and brings nothing")


def test_a_model_that_a_cell_replaces_is_called_after_what_replaces_it() -> None:
    """With its size, as it would be if it were named first; a name that would be there twice stays."""
    changed = case_of_cell(case(), {"model": "builtin:detector", "size": "640x384"})
    assert changed.plan.names == ("detector@640x384",)
    both = make_case(["builtin:classifier", "builtin:detector"])
    assert case_of_cell(both, {"model": "builtin:detector"}).plan.names == both.plan.names


def test_a_built_in_network_is_made_for_the_size_that_was_set_last() -> None:
    """In any order of model and size; a size in the name replaces one that was set."""
    expected = "builtin:detector@640x384"
    for changes in ({"model": "builtin:detector", "size": "640x384"}, {"size": "640x384", "model": "builtin:detector"}):
        assert apply(case(), changes).plan.models[0].model == expected
    model = apply(case(size="320x320"), {"model": expected}).plan.models[0]
    assert (model.model, model.size) == (expected, None)


def test_the_advice_of_a_cell_names_the_axis_that_is_varied(tmp_path: Path) -> None:
    """`--set batch=4` would be overridden by the axis; `--vary batch=4`, which it says instead, runs."""
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 3, 8, 8]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "four", sides[:1], sides[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "four.onnx")
    given: dict[str, Any] = {"scope": "model", "stop": Stop(count=10)}
    failed = api.sweep(str(tmp_path / "four.onnx"), {"batch": [1]}, **given).cells[0]
    assert "--vary batch=4" in str(failed.error)
    assert "--set" not in str(failed.error)
    assert api.sweep(str(tmp_path / "four.onnx"), {"batch": [4]}, **given).cells[0].error is None
