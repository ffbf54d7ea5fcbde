"""Inputs by name: what goes where, in which shape and dtype, and the one question where something is open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import TensorProto, helper

from framepace.backends.base import Session, get_backend
from framepace.clock.system import SystemClock
from framepace.errors import ModelError, UsageError
from framepace.facts.inputs import Inputs, Window
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models.spec import Resolved, inspect, resolve
from framepace.video.frame import Frame
from framepace.video.history import Moment, Remembering

Shape = list[int | str]


def network(path: Path, inputs: dict[str, Shape], dtype: int = TensorProto.FLOAT, outputs: int = 1) -> str:
    """A file whose outputs y0, y1, ... are its first inputs, unchanged; the others are there as well."""
    given = [helper.make_tensor_value_info(name, dtype, shape) for name, shape in inputs.items()]
    names = list(inputs)[:outputs]
    nodes = [helper.make_node("Identity", [name], [f"y{place}"]) for place, name in enumerate(names)]
    made = [helper.make_tensor_value_info(f"y{place}", dtype, inputs[name]) for place, name in enumerate(names)]
    proto = helper.make_model(helper.make_graph(nodes, "g", given, made), opset_imports=[helper.make_opsetid("", 21)])
    proto.ir_version = 10
    onnx.save(proto, str(path))
    return str(path)


def plan(location: str, batch: int = 1, **inputs: Any) -> ModelPlan:
    """A plan of the network with inputs by name; pictures stay 0 to 255."""
    named = Inputs(**inputs)
    return ModelPlan(name="m", model=location, inputs=named, batch=Batching(max=batch), prepare=Prepare(scale=1.0))


def resolved(location: str, batch: int = 1, **inputs: Any) -> Resolved:
    """The network's inputs under such a plan."""
    return resolve(inspect(location), plan(location, batch, **inputs))


def filled(location: str, pictures: list[Any], **inputs: Any) -> dict[str, NDArray[Any]]:
    """The staging of a worker after frames with these pictures, in turn, at place 0."""
    chosen = plan(location, **inputs)
    session: Session = get_backend("onnxruntime").load(chosen, SystemClock())
    worker = session.worker()
    prepare = session.preparer(chosen)
    for number, picture in enumerate(pictures):
        prepare(Frame(number, 0, 0, 0, 0, 0, 0, picture), worker.staging(0), 0)
    return dict(worker.staging(0))


def grey(level: int) -> NDArray[np.uint8]:
    """A picture of one grey."""
    return np.full((32, 32, 3), level, np.uint8)


def moment(*levels: int) -> Moment:
    """The last of some grey pictures, with those before it."""
    return Moment(len(levels) - 1, tuple(grey(level) for level in levels))


@pytest.mark.parametrize(
    ("text", "shape", "expected"),
    [
        ("16000", [], 16000.0),
        ("0.5", [2, 2], [[0.5, 0.5], [0.5, 0.5]]),
        ("1,2,3", [3], [1, 2, 3]),
        ("[[1, 2], [3, 4]]", [1, 4], [[1, 2, 3, 4]]),
        ("true", [1], [1]),
    ],
)
def test_a_typed_value_takes_the_shape_and_dtype_of_its_input(
    tmp_path: Path, text: str, shape: Shape, expected: Any
) -> None:
    """Scalars fill, lists are reshaped."""
    location = network(tmp_path / "m.onnx", {"x": [1, 4], "side": shape})
    frames = resolved(location, values={"side": text}).values["side"].frames
    assert frames.dtype == np.float32
    assert np.array_equal(frames[0], np.asarray(expected, np.float32))


@pytest.mark.parametrize(
    ("array", "frames"),
    [(np.zeros((5, 2)), 5), (np.zeros((5, 1, 2)), 5), (np.zeros((1, 2)), 1), (np.zeros(2), 1)],
)
def test_a_file_with_a_first_axis_of_frames_is_cycled(tmp_path: Path, array: NDArray[Any], frames: int) -> None:
    """One row per frame, with or without its batch axis; one row is for all frames."""
    np.save(tmp_path / "side.npy", array)
    location = network(tmp_path / "m.onnx", {"x": [1, 4], "side": [1, 2]})
    assert len(resolved(location, values={"side": str(tmp_path / "side.npy")}).values["side"].frames) == frames


def test_values_of_a_file_go_in_by_the_number_of_the_frame(tmp_path: Path) -> None:
    """Frame 4 of three rows gets row 1; an .npz names its arrays as the inputs are called."""
    np.savez(tmp_path / "side.npz", side=np.array([[0.0], [10.0], [20.0]]), other=np.zeros(3))
    location = network(tmp_path / "m.onnx", {"x": [1, 4], "side": [1, 1]})
    inputs = filled(location, [None] * 5, values={"side": str(tmp_path / "side.npz")})
    assert inputs["side"].item() == 10.0


def test_the_sizes_that_a_file_leaves_open_are_those_of_its_value(tmp_path: Path) -> None:
    """Tokens of length 7: nothing has to be asked, and a mask that names the same length follows."""
    np.save(tmp_path / "ids.npy", np.arange(7)[None])
    location = network(tmp_path / "m.onnx", {"ids": ["batch", "t"], "mask": ["batch", "t"]}, TensorProto.INT64)
    assert resolved(location, values={"ids": str(tmp_path / "ids.npy")}).shapes == {"ids": (1, 7), "mask": (1, 7)}


@pytest.mark.parametrize(
    ("text", "dtype"), [("1.5", TensorProto.INT64), ("300", TensorProto.UINT8), ("1,2,3", TensorProto.FLOAT)]
)
def test_a_value_that_cannot_be_is_an_error_with_an_advice(tmp_path: Path, text: str, dtype: int) -> None:
    """Fractions for integers, numbers out of range, and the wrong number of numbers."""
    location = network(tmp_path / "m.onnx", {"x": [1, 4], "side": [2]}, dtype)
    with pytest.raises(ModelError, match="side") as error:
        resolved(location, values={"side": text})
    assert error.value.fix


def test_an_unknown_name_lists_the_names(tmp_path: Path) -> None:
    """Of inputs, and of the outputs that a state names."""
    location = network(tmp_path / "m.onnx", {"x": [1, 4], "side": [2]})
    with pytest.raises(UsageError, match="side, x"):
        resolved(location, values={"sid": "1"})
    with pytest.raises(UsageError, match="y0"):
        resolved(location, states={"side": "y"})


@pytest.mark.parametrize(
    "dtype",
    [TensorProto.INT8, TensorProto.UINT16, TensorProto.BOOL, TensorProto.FLOAT16, TensorProto.DOUBLE,
     TensorProto.STRING, TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN],
)  # fmt: skip
def test_a_model_alone_runs_with_any_dtype(tmp_path: Path, dtype: int) -> None:
    """Made-up inputs of each dtype come back unchanged from a network that does nothing."""
    location = network(tmp_path / "m.onnx", {"x": [1, 4]}, dtype)
    worker = get_backend("onnxruntime").load(plan(location), SystemClock()).worker()
    worker.enqueue(0, 1)
    assert np.array_equal(np.asarray(worker.wait(0)["y0"]), worker.staging(0)["x"])


@pytest.mark.parametrize("shape", [[1, 0, 8], [0], [], [1, 2, 3, 4, 5, 6]])
def test_a_model_alone_runs_with_any_rank_and_length(tmp_path: Path, shape: Shape) -> None:
    """A past of no length is a length."""
    location = network(tmp_path / "m.onnx", {"x": shape})
    worker = get_backend("onnxruntime").load(plan(location), SystemClock()).worker()
    worker.enqueue(0, 1)
    assert np.shape(worker.wait(0)["y0"]) == tuple(shape)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ([1, 3, 32, 32], TensorProto.BOOL),
        ([1, 3, 32, 32], TensorProto.STRING),
        ([1, 3, 0, 32], TensorProto.FLOAT),
        ([0, 3, 32, 32], TensorProto.FLOAT),
        ([1, 3, 16, 0, 32], TensorProto.FLOAT),
    ],
)
def test_what_no_picture_can_be_takes_none_and_runs_alone(tmp_path: Path, shape: Shape, dtype: int) -> None:
    """Flags, text and a side of length zero: nothing is asked that leads to a second error."""
    location = network(tmp_path / "m.onnx", {"x": shape}, dtype)
    assert resolved(location).images == ()
    assert resolved(location).question == ""
    worker = get_backend("onnxruntime").load(plan(location), SystemClock()).worker()
    worker.enqueue(0, 1)
    assert list(worker.wait(0)["y0"].shape) == shape


def test_a_window_that_fits_nothing_is_answered_with_one_that_does(tmp_path: Path) -> None:
    """Of another length than the clip; where no clip goes in, with none."""
    clip = network(tmp_path / "clip.onnx", {"x": [1, 3, 16, 112, 112]})
    assert resolved(clip, window=Window(pictures=8)).question == "--window 16"
    picture = network(tmp_path / "picture.onnx", {"x": [1, 3, 64, 64]})
    assert resolved(picture, window=Window(pictures=8)).question.startswith("leave out --window")


def test_a_layout_or_a_name_that_fits_no_picture_is_answered_with_what_runs(tmp_path: Path) -> None:
    """No layout is advised that would not help, and no shape where the file has one."""
    picture = network(tmp_path / "picture.onnx", {"x": [1, 3, 64, 64]})
    wrong = replace(plan(picture), prepare=Prepare(layout="nhwc"))
    assert resolve(inspect(picture), wrong).question.startswith("leave out --layout nhwc")
    for channels, advice in ((12, "leave it out of --image"), (3, "leave it out of --image, or --layout nchw")):
        location = network(tmp_path / "m.onnx", {"x": [1, channels, 5, channels]})
        with pytest.raises(ModelError) as error:
            resolved(location, images=("x",))
        assert str(error.value.fix).startswith(advice)
        assert "--shape" not in str(error.value.fix)


def test_open_sizes_are_one_question_whose_answer_runs(tmp_path: Path) -> None:
    """The advice closes every input at once; the sizes in it are taken as they are."""
    caches: dict[str, Shape] = {"ids": ["n", "t"], "past": ["n", 8, "p", 16]}
    location = network(tmp_path / "m.onnx", caches, TensorProto.INT64)
    with pytest.raises(ModelError) as error:
        resolved(location)
    assert "--shape ids=1x16 --shape past=1x8x16x16" in str(error.value.fix)
    answered = ModelPlan(name="m", model=location, shapes={"ids": (1, 16), "past": (1, 8, 16, 16)})
    assert resolve(inspect(location), answered).shapes == {"ids": (1, 16), "past": (1, 8, 16, 16)}


def test_two_pictures_run_alone_and_are_asked_about_in_a_stream(tmp_path: Path) -> None:
    """The question names both answers that make sense."""
    location = network(tmp_path / "m.onnx", {"left": [1, 3, 16, 16], "right": [1, 3, 16, 16]})
    session = get_backend("onnxruntime").load(plan(location), SystemClock())
    with pytest.raises(ModelError) as error:
        session.preparer(plan(location))
    assert error.value.fix == "--image left --image right, or --previous left --image right"


def test_the_picture_before_goes_where_it_is_named(tmp_path: Path) -> None:
    """The first picture of a source is its own past."""
    location = network(tmp_path / "m.onnx", {"now": [1, 3, 16, 16], "then": [1, 3, 16, 16]})
    chosen: dict[str, Any] = {"images": ("now",), "previous": ("then",)}
    inputs = filled(location, [moment(10, 200)], **chosen)
    assert (inputs["now"].mean(), inputs["then"].mean()) == (200, 10)
    first = filled(location, [moment(10)], **chosen)
    assert (first["now"].mean(), first["then"].mean()) == (10, 10)


def test_every_input_that_is_named_gets_the_picture(tmp_path: Path) -> None:
    """Several sizes of one frame, as pyramids take them."""
    location = network(tmp_path / "m.onnx", {"large": [1, 3, 32, 32], "small": [1, 16, 16, 3]})
    inputs = filled(location, [grey(9)], images=("large", "small"))
    assert (inputs["large"].mean(), inputs["small"].mean()) == (9, 9)


@pytest.mark.parametrize("shape", [[1, 3, 4, 16, 16], [1, 4, 3, 16, 16], [1, 4, 16, 16, 3], [1, 3, "t", 16, 16]])
def test_a_clip_slides_along_the_axis_that_fits(tmp_path: Path, shape: Shape) -> None:
    """Four pictures two apart: of the seventh picture, numbers 0, 2, 4 and 6, the newest last; the first fills up."""
    location = network(tmp_path / "m.onnx", {"clip": shape})
    window = Window(pictures=4, stride=2)
    inputs = filled(location, [moment(*range(7)[: n + 1]) for n in range(7)], window=window)["clip"]
    axis = resolved(location, window=window).images[0].time_axis
    assert axis is not None
    means = np.moveaxis(inputs, axis, 0).reshape(4, -1).mean(1)
    assert means.tolist() == [0, 2, 4, 6]
    early = filled(location, [moment(0, 1)], window=window)["clip"]
    assert np.moveaxis(early, axis, 0).reshape(4, -1).mean(1).tolist() == [0, 0, 0, 1]


def test_a_clip_without_a_window_is_asked_about(tmp_path: Path) -> None:
    """With the length that fits."""
    location = network(tmp_path / "m.onnx", {"clip": [1, 3, 16, 32, 32]})
    assert resolved(location).question == "--window 16"


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ([1, 16, 16, 3], TensorProto.INT32, [77, 77, 77]),
        ([1, 3, 16, 16], TensorProto.INT8, [-51, -51, -51]),
        ([1, 4, 16, 16], TensorProto.FLOAT, [77, 77, 77, 255]),
        ([1, 16, 16, 4], TensorProto.UINT8, [77, 77, 77, 255]),
        ([16, 16, 3], TensorProto.UINT8, [77, 77, 77]),
        ([3, 16, 16], TensorProto.DOUBLE, [77, 77, 77]),
        ([1, 6, 16, 16], TensorProto.FLOAT, [5, 5, 5, 77, 77, 77]),
        ([1, 16, 16, 6], TensorProto.FLOAT16, [5, 5, 5, 77, 77, 77]),
    ],
)
def test_pictures_of_any_channels_dtype_and_rank(
    tmp_path: Path, shape: Shape, dtype: int, expected: list[float]
) -> None:
    """Integers are pixels (int8: less 128), a fourth channel is opaque, six are the picture before and the picture."""
    location = network(tmp_path / "m.onnx", {"x": shape}, dtype)
    array = filled(location, [moment(5, 77)])["x"]
    image = resolved(location).images[0]
    item = array.reshape(array.shape[-3:])
    if image.layout == "nhwc":
        item = item.transpose(2, 0, 1)
    assert item.astype(float).mean((1, 2)).tolist() == expected


def test_a_source_remembers_as_many_pictures_as_are_needed() -> None:
    """Numbers go on, older pictures are let go."""

    class Counting:
        live = False

        def __init__(self) -> None:
            self.count = 0

        def read(self) -> int | None:
            self.count += 1
            return self.count if self.count < 5 else None

    source = Remembering(Counting(), 2)
    moments = [source.read() for _ in range(5)]
    assert moments[0] == Moment(0, (1,))
    assert moments[3] == Moment(3, (2, 3, 4))
    assert moments[4] is None
