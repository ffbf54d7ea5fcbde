"""Questions about open sizes are answered with sizes and numbers with which the network runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import framepace
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.errors import BackendError, ModelError
from framepace.facts.inputs import Inputs
from framepace.facts.plan import ModelPlan
from framepace.models import rehearsal
from framepace.models.filling import check_takes_frames
from framepace.models.gridsizes import grid_sides
from framepace.models.resolving import running_options
from framepace.models.spec import inspect, resolve

Shape = list[int | str]


def whole(name: str, *numbers: int) -> Any:
    """A constant of whole numbers."""
    return numpy_helper.from_array(np.array(numbers, "i8"), name)


def network(
    path: Path, nodes: list[Any], inputs: dict[str, tuple[int, Shape]], outputs: dict[str, Shape], *constants: Any
) -> str:
    """A network as a file."""
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, (dtype, shape) in inputs.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    graph = helper.make_graph(nodes, "g", given, made, list(constants))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return str(path)


def detector(path: Path) -> str:
    """A voice detector: so many samples at 16 kHz, a state without a name for its batch."""
    nodes = [
        helper.make_node("Cast", ["sr"], ["rate"], to=TensorProto.INT64),
        helper.make_node("Div", ["rate", "factor"], ["samples"]),
        helper.make_node("Concat", ["one", "samples"], ["to"], axis=0),
        helper.make_node("Reshape", ["input", "to"], ["x"]),
        helper.make_node("ReduceMean", ["x"], ["output"], axes=[1]),
        helper.make_node("Identity", ["state"], ["stateN"]),
    ]
    inputs: dict[str, tuple[int, Shape]] = {
        "input": (TensorProto.FLOAT, ["?", "?"]),
        "state": (TensorProto.FLOAT, [2, "?", 8]),
        "sr": (TensorProto.INT64, [1]),
    }
    outputs: dict[str, Shape] = {"output": ["?", 1], "stateN": [2, "?", 8]}
    return network(path, nodes, inputs, outputs, whole("factor", 125), whole("one", 4))


def recurrent(path: Path) -> str:
    """A picture with a state of a quarter of its size, both left open."""
    nodes = [
        helper.make_node("MaxPool", ["frame"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Concat", ["small", "small", "small"], ["features"], axis=1),
        helper.make_node("Add", ["features", "r1i"], ["r1o"]),
    ]
    inputs: dict[str, tuple[int, Shape]] = {
        "frame": (TensorProto.FLOAT, [1, 3, "h", "w"]),
        "r1i": (TensorProto.FLOAT, [1, "channels", "rh", "rw"]),
    }
    return network(path, nodes, inputs, {"r1o": [1, "channels", "rh", "rw"]})


def two_states(path: Path, frame: Shape, states: tuple[Shape, Shape]) -> str:
    """A picture with states of its size and of half of it, which start from zeros of any size."""
    nodes = [
        helper.make_node("Add", ["frame", "r1i"], ["r1o"]),
        helper.make_node("MaxPool", ["r1o"], ["small"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Add", ["small", "r2i"], ["r2o"]),
    ]
    floats = TensorProto.FLOAT
    inputs = {"frame": (floats, frame), "r1i": (floats, states[0]), "r2i": (floats, states[1])}
    return network(path, nodes, inputs, {"r1o": states[0], "r2o": states[1]})


def question(location: str, plan: ModelPlan | None = None) -> str:
    """What to add to the command."""
    with pytest.raises(ModelError) as error:
        resolve(inspect(location), plan or ModelPlan(name="m", model=location))
    return str(error.value.fix)


def test_sizes_and_numbers_that_go_together_are_one_answer(tmp_path: Path) -> None:
    """512 samples go with 16 kHz only; the answer has both, and runs."""
    location = detector(tmp_path / "m.onnx")
    assert question(location).endswith("--shape input=1x512 --input sr=16000")
    plan = ModelPlan(name="m", model=location, shapes={"input": (1, 512)}, inputs=Inputs(values={"sr": "16000"}))
    worker = get_backend("onnxruntime").load(plan, SystemClock()).worker()
    worker.enqueue(0, 1)
    assert worker.wait(0)["output"].shape == (4, 1)


@pytest.mark.parametrize("named", [True, False])
def test_a_state_is_asked_for_in_the_shape_that_comes_back(tmp_path: Path, named: bool) -> None:
    """Named by --state or found by its name: no second question follows about a state that does not fit."""
    location = recurrent(tmp_path / "m.onnx")
    states = {"r1i": "r1o"} if named else {}
    fix = question(location, ModelPlan(name="m", model=location, inputs=Inputs(states=states)))
    assert fix.endswith("--size 640x480 --shape r1i=1x9x120x160")


@pytest.mark.parametrize(("height", "answer"), [(48, "240x48"), ("h", "640x480")])
def test_a_picture_of_fixed_height_is_a_line_of_text(tmp_path: Path, height: int | str, answer: str) -> None:
    """The height of the file, and a width that goes with it."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2, 3])]
    inputs: dict[str, tuple[int, Shape]] = {"x": (TensorProto.FLOAT, [1, 3, height, "w"])}
    location = network(tmp_path / "m.onnx", nodes, inputs, {"y": [1, 1, 1, 1]})
    assert question(location).endswith(f"--size {answer}")


def test_a_size_that_does_not_run_is_not_proposed(tmp_path: Path) -> None:
    """A network that takes pictures of 64 x 160 only, though its file leaves both open: that size is found.

    An inference at another size fails with the options that run.
    """
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"])]
    inputs: dict[str, tuple[int, Shape]] = {"x": (TensorProto.FLOAT, [1, 3, "h", "w"])}
    location = network(tmp_path / "m.onnx", nodes, inputs, {"y": [3, 10_240]}, whole("to", 3, 10_240))
    assert question(location).endswith("--size 160x64")
    worker = get_backend("onnxruntime").load(ModelPlan(name="m", model=location, size=(32, 32)), SystemClock()).worker()
    with pytest.raises(BackendError, match="it runs with --size 160x64"):
        worker.enqueue(0, 1)


def patches(path: Path, shape: Shape, positions: tuple[int, ...]) -> str:
    """Cuts pictures into patches of 16 x 16 and adds a vector of 8 numbers to each, by its place."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["grid"], strides=[16, 16]),
        helper.make_node("Reshape", ["grid", "to"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["patches"], perm=[0, 2, 1]),
        helper.make_node("Add", ["patches", "position_embeddings"], ["y"]),
    ]
    weights = numpy_helper.from_array(np.ones((8, 3, 16, 16), "f4"), "w")
    places = numpy_helper.from_array(np.ones(positions, "f4"), "position_embeddings")
    inputs: dict[str, tuple[int, Shape]] = {"x": (TensorProto.FLOAT, shape)}
    return network(path, nodes, inputs, {"y": [1, "n", 8]}, weights, places, whole("to", 1, 8, -1))


@pytest.mark.parametrize("positions", [(1, 36, 8), (36, 8)])
def test_a_network_of_patches_is_asked_for_the_size_that_its_places_have(
    tmp_path: Path, positions: tuple[int, ...]
) -> None:
    """36 patches of 16 x 16 are a picture of 96 x 96, which is no usual size."""
    location = patches(tmp_path / "m.onnx", [1, 3, "h", "w"], positions)
    assert question(location).endswith("--size 96x96")
    every_axis_open = patches(tmp_path / "open.onnx", ["b", "channels", "h", "w"], positions)
    assert question(every_axis_open).endswith("=1x3x96x96")


@pytest.mark.parametrize(("tokens", "side"), [(37, (96,)), (36, (96,)), (38, (96,)), (40, ()), (5, ()), (0, ())])
def test_tokens_may_stand_before_the_patches(tmp_path: Path, tokens: int, side: tuple[int, ...]) -> None:
    """None, one or two; other numbers of places are no square."""
    assert grid_sides(patches(tmp_path / "m.onnx", [1, 3, "h", "w"], (1, tokens, 8))) == side


def test_what_is_no_network_of_patches_has_no_sides(tmp_path: Path) -> None:
    """Nor has what cannot be read."""
    assert grid_sides(str(tmp_path / "none.onnx")) == ()
    assert grid_sides("model.pt2") == ()
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    assert grid_sides(str(tmp_path / "damaged.onnx")) == ()


def test_where_the_time_is_over_an_untried_size_is_proposed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the first one, which did not run."""
    monkeypatch.setattr(rehearsal, "_LONGEST_S", -1.0)
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"])]
    inputs: dict[str, tuple[int, Shape]] = {"x": (TensorProto.FLOAT, [1, 3, "h", "w"])}
    location = network(tmp_path / "m.onnx", nodes, inputs, {"y": [3, 11]}, whole("to", 3, 11))
    assert question(location).endswith("--size 224x224")


def test_a_number_that_decides_is_named_in_the_advice(tmp_path: Path) -> None:
    """Nothing is open, and the made-up number fails: the advice has one that runs."""
    nodes = [
        helper.make_node("Div", ["rate", "factor"], ["samples"]),
        helper.make_node("Reshape", ["x", "samples"], ["y"]),
    ]
    inputs: dict[str, tuple[int, Shape]] = {"x": (TensorProto.FLOAT, [1, 128]), "rate": (TensorProto.INT64, [1])}
    location = network(tmp_path / "m.onnx", nodes, inputs, {"y": [128]}, whole("factor", 125))
    for values in ({}, {"x": "0.5"}):
        plan = ModelPlan(name="m", model=location, inputs=Inputs(values=values))
        assert running_options(inspect(location), plan) == "--input rate=16000"


def test_what_cannot_be_tried_gets_usual_sizes(tmp_path: Path) -> None:
    """A network that fails whatever its size: the question stands, with an example."""
    nodes = [helper.make_node("Reshape", ["x", "to"], ["y"])]
    inputs: dict[str, tuple[int, Shape]] = {"x": (TensorProto.FLOAT, [1, 3, "h", "w"])}
    location = network(tmp_path / "m.onnx", nodes, inputs, {"y": [7, 11]}, whole("to", 7, 11))
    assert question(location).endswith("--size 640x480")
    assert running_options(inspect(location), ModelPlan(name="m", model=location)) == ""


def test_made_up_values_are_noted_once(tmp_path: Path) -> None:
    """Beside a picture: which input nobody gave a value, and the option that gives it one; no note once it has one."""
    nodes = [helper.make_node("Mul", ["frame", "gain"], ["y"])]
    inputs: dict[str, tuple[int, Shape]] = {
        "frame": (TensorProto.FLOAT, [1, 3, 16, 16]),
        "gain": (TensorProto.FLOAT, []),
    }
    location = network(tmp_path / "m.onnx", nodes, inputs, {"y": [1, 3, 16, 16]})
    loaded = get_backend("onnxruntime").load(ModelPlan(name="m", model=location), SystemClock())
    assert [note for note in loaded.notes if "gain" in note and "--input gain=VALUE" in note] == list(loaded.notes)
    given = ModelPlan(name="m", model=location, inputs=Inputs(values={"gain": "2"}))
    assert get_backend("onnxruntime").load(given, SystemClock()).notes == ()


def test_caches_of_a_decoder_are_no_pictures(tmp_path: Path) -> None:
    """Four axes, four heads where channels would be: by its name it is what the network remembers."""
    nodes = [helper.make_node("Identity", ["past_key_0"], ["present_key_0"])]
    inputs: dict[str, tuple[int, Shape]] = {
        "ids": (TensorProto.INT64, ["batch", "tokens"]),
        "past_key_0": (TensorProto.FLOAT, ["batch", 4, "past", 16]),
    }
    location = network(tmp_path / "m.onnx", nodes, inputs, {"present_key_0": ["batch", 4, "past", 16]})
    assert question(location).endswith("--shape ids=1x16 --shape past_key_0=1x4x16x16 --input ids=1")
    shapes = {"ids": (1, 16), "past_key_0": (1, 4, 16, 16)}
    plan = ModelPlan(name="m", model=location, shapes=shapes)
    with pytest.raises(ModelError, match=r"bench --scope model, or give its inputs: --input ids=1"):
        get_backend("onnxruntime").load(plan, SystemClock()).preparer(plan)


@pytest.mark.parametrize(
    ("inputs", "answer", "named"),
    [
        (
            {"left": [1, 3, "h", "w"], "right": [1, 3, "h", "w"]},
            "--image left --image right --size 640x480",
            {"images": ["left", "right"]},
        ),
        ({"clip": ["n", 3, 16, "h", "w"]}, "--window 16 --size 112x112", {"window": 16}),
        ({"clip": ["n", 3, 4, "h", "w"]}, "--window 4 --size 112x112", {"window": 4}),
    ],
)
def test_where_the_pictures_go_is_in_the_same_answer(
    tmp_path: Path, inputs: dict[str, Shape], answer: str, named: Any
) -> None:
    """Sizes and names are asked for at once, and frames go in with the answer. Clips of colours come first."""
    nodes = [helper.make_node("Add", [next(iter(inputs)), list(inputs)[-1]], ["y"])]
    tensors = {name: (TensorProto.FLOAT, shape) for name, shape in inputs.items()}
    location = network(tmp_path / "m.onnx", nodes, tensors, {"y": next(iter(inputs.values()))})
    assert question(location).endswith(answer)
    case = framepace.make_case(location, settings={"size": answer.rpartition(" ")[2]}, **named)
    assert {image.name for image in resolve(inspect(location), case.plan.models[0]).images} == set(inputs)


def test_an_answer_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    """Names with spaces are quoted."""
    nodes = [helper.make_node("Identity", ["two words"], ["y"])]
    location = network(tmp_path / "m.onnx", nodes, {"two words": (TensorProto.FLOAT, [8, "t"])}, {"y": [8, "t"]})
    assert question(location).endswith("--shape 'two words'=8x512 --input 'two words'=1")


def test_a_network_without_a_picture_is_asked_for_sizes_and_a_value_at_once(tmp_path: Path) -> None:
    """With the sizes alone the next refusal would be that frames bring it nothing; with the answer, it takes them."""
    nodes = [helper.make_node("Identity", ["sound"], ["y"])]
    location = network(tmp_path / "m.onnx", nodes, {"sound": (TensorProto.FLOAT, [1, "t"])}, {"y": [1, "t"]})
    assert question(location).endswith("--shape sound=1x512 --input sound=1")
    plan = ModelPlan(name="m", model=location, shapes={"sound": (1, 512)}, inputs=Inputs(values={"sound": "1"}))
    check_takes_frames(plan, resolve(inspect(location), plan))


def test_states_named_like_the_sides_of_the_picture_are_as_large_as_they_come_back(tmp_path: Path) -> None:
    """Exporters give the axes of all that is computed of a picture its names, at half of its size too."""
    state: Shape = ["batch_size", "channels", "height", "width"]
    location = two_states(tmp_path / "m.onnx", ["batch_size", 3, "height", "width"], (state, state))
    states = "--shape r1i=1x3x480x640 --shape r2i=1x3x240x320"
    assert question(location).endswith(f": --size 640x480 {states}")
    sized = ModelPlan(name="m", model=location, size=(96, 128))
    assert question(location, sized).endswith(": --shape r1i=1x3x96x128 --shape r2i=1x3x48x64")


def test_states_with_the_channels_of_a_picture_are_no_pictures_where_that_does_not_run(tmp_path: Path) -> None:
    """Three inputs may take a picture by their shapes; in one size for all the network does not run."""
    location = two_states(tmp_path / "m.onnx", [1, 3, "h", "w"], ([1, 3, "h1", "w1"], [1, 3, "h2", "w2"]))
    states = "--shape r1i=1x3x480x640 --shape r2i=1x3x240x320"
    assert question(location).endswith(f": --image frame --size 640x480 {states}")


def test_a_network_without_inputs_is_told_to_be_measured_alone(tmp_path: Path) -> None:
    """A generator of noise: no frame brings it anything."""
    nodes = [helper.make_node("RandomNormal", [], ["y"], shape=[2, 2])]
    location = network(tmp_path / "m.onnx", nodes, {}, {"y": [2, 2]})
    plan = ModelPlan(name="m", model=location)
    with pytest.raises(ModelError) as error:
        check_takes_frames(plan, resolve(inspect(location), plan))
    assert "has no input" in str(error.value)
    assert error.value.fix == "measure it alone with bench --scope model"


def test_the_size_of_the_original_is_two_numbers(tmp_path: Path) -> None:
    """A decoder of masks: points as many as there are, a size as numbers, embeddings that are no picture."""
    nodes = [
        helper.make_node("Cast", ["orig_im_size"], ["sides"], to=TensorProto.INT64),
        helper.make_node("Concat", ["ones", "sides"], ["to"], axis=0),
        helper.make_node("Resize", ["mask_input", "", "", "to"], ["masks"]),
        helper.make_node("ReduceSum", ["point_coords"], ["points"], keepdims=0),
    ]
    inputs: dict[str, tuple[int, Shape]] = {
        "image_embeddings": (TensorProto.FLOAT, [1, 4, 8, 8]),
        "point_coords": (TensorProto.FLOAT, [1, "points", 2]),
        "mask_input": (TensorProto.FLOAT, [1, 1, 16, 16]),
        "orig_im_size": (TensorProto.FLOAT, [2]),
    }
    location = network(
        tmp_path / "m.onnx", nodes, inputs, {"masks": [1, 1, "h", "w"], "points": []}, whole("ones", 1, 1)
    )
    assert question(location).endswith("--shape point_coords=1x16x2 --input orig_im_size=480,640")
    plan = ModelPlan(
        name="m", model=location, shapes={"point_coords": (1, 16, 2)}, inputs=Inputs(values={"orig_im_size": "480,640"})
    )
    worker = get_backend("onnxruntime").load(plan, SystemClock()).worker()
    worker.enqueue(0, 1)
    assert worker.wait(0)["masks"].shape == (1, 1, 480, 640)
