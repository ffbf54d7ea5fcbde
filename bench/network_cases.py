"""Small networks, one for each kind of input or output that exporters write, made with onnx.helper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

Shape = Sequence[int | str] | None
OPSET = 17


def value(name: str, dtype: int, shape: Shape) -> Any:
    """An input or output."""
    return helper.make_tensor_value_info(name, dtype, shape)


def weights(name: str, *shape: int) -> Any:
    """Small random weights, the same every time."""
    rng = np.random.default_rng(len(name))
    return numpy_helper.from_array((rng.standard_normal(shape) * 0.1).astype("f4"), name)


def whole(name: str, *numbers: int) -> Any:
    """A constant of whole numbers: a shape, axes, places."""
    return numpy_helper.from_array(np.array(numbers, "i8"), name)


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Any:
    """A node."""
    return helper.make_node(kind, list(inputs), list(outputs), **attributes)


def write(
    folder: Path, name: str, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any], *constants: Any
) -> None:
    """A network as a file of that name."""
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(constants))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.save(model, folder / f"{name}.onnx")


def _pictures(folder: Path) -> None:
    """Pictures of other dtypes, channels and layouts."""
    kinds: dict[str, tuple[int, Shape]] = {
        "int8-picture": (T.INT8, ["n", 3, 64, 64]),
        "int32-picture": (T.INT32, ["n", 96, 96, 3]),
        "uint8-picture": (T.UINT8, [1, 64, 64, 3]),
        "float16-picture": (T.FLOAT16, ["n", 3, 64, 64]),
        "double-picture": (T.DOUBLE, [1, 3, 64, 64]),
        "grey-picture": (T.FLOAT, ["n", 1, 64, 64]),
        "four-channels": (T.FLOAT, ["n", 4, 96, 96]),
        "six-channels": (T.FLOAT, [1, 6, 96, 96]),
        "picture-without-batch": (T.UINT8, [96, 96, 3]),
        "planes-without-batch": (T.FLOAT, [3, 64, 64]),
        "open-size": (T.FLOAT, [1, 3, "height", "width"]),
        "any-rank": (T.FLOAT, None),
    }
    for name, (dtype, shape) in kinds.items():
        nodes = [node("Cast", ["x"], ["f"], to=T.FLOAT), node("ReduceSum", ["f"], ["y"], keepdims=0)]
        write(folder, name, nodes, [value("x", dtype, shape)], [value("y", T.FLOAT, [])])


def _tensors(folder: Path) -> None:
    """Inputs that are no pictures: of any rank, dtype and length."""
    kinds: dict[str, tuple[int, Shape]] = {
        "audio": (T.FLOAT, [1, 16000]),
        "tokens": (T.INT64, ["batch", 32]),
        "flags": (T.BOOL, [1, 8]),
        "bfloat16-row": (T.BFLOAT16, [1, 8]),
        "scalar-input": (T.FLOAT, []),
        "zero-length-past": (T.FLOAT, [1, 0, 8]),
        "rank-5": (T.FLOAT, [1, 3, 4, 8, 8]),
        "rank-6": (T.FLOAT, [1, 2, 3, 4, 2, 2]),
    }
    for name, (dtype, shape) in kinds.items():
        nodes = [node("Cast", ["x"], ["f"], to=T.FLOAT), node("ReduceSum", ["f"], ["y"], keepdims=0)]
        write(folder, name, nodes, [value("x", dtype, shape)], [value("y", T.FLOAT, [])])
    texts = [node("Identity", ["x"], ["y"])]
    write(folder, "strings", texts, [value("x", T.STRING, [2])], [value("y", T.STRING, [2])])


def _states(folder: Path) -> None:
    """Pictures with a state that is fed back, of open and of known size."""
    steps = [
        node("Conv", ["src", "w"], ["a"], pads=[1] * 4, strides=[4, 4]),
        node("Add", ["a", "state_in"], ["s"]),
        node("Tanh", ["s"], ["state_out"]),
    ]
    state_out = value("state_out", T.FLOAT, None)
    for name, sides, state in (("state", ["h", "w_"], ["rh", "rw"]), ("state-fixed", [64, 64], [16, 16])):
        inputs = [value("src", T.FLOAT, [1, 3, *sides]), value("state_in", T.FLOAT, [1, 16, *state])]
        write(folder, name, steps, inputs, [state_out], weights("w", 16, 3, 3, 3))


def _window(folder: Path) -> None:
    """A clip of 16 pictures."""
    nodes = [node("Conv", ["clip", "w"], ["a"], pads=[1] * 6), node("GlobalAveragePool", ["a"], ["y"])]
    clip = value("clip", T.FLOAT, [1, 3, 16, 56, 56])
    write(folder, "window", nodes, [clip], [value("y", T.FLOAT, None)], weights("w", 8, 3, 3, 3, 3))


def _two_pictures(folder: Path) -> None:
    """Two pictures of one size."""
    pictures = [value(name, T.FLOAT, [1, 3, 64, 80]) for name in ("left", "right")]
    nodes = [node("Sub", ["left", "right"], ["d"]), node("Conv", ["d", "w"], ["flow"], pads=[1] * 4)]
    write(folder, "two-pictures", nodes, pictures, [value("flow", T.FLOAT, None)], weights("w", 2, 3, 3, 3))


def _hidden_state(folder: Path) -> None:
    """A state whose batch is its second axis, as recurrent layers have it."""
    nodes = [
        node("Conv", ["image", "w"], ["a"], pads=[1] * 4, strides=[8, 8]),
        node("GlobalAveragePool", ["a"], ["g"]),
        node("Reshape", ["g", "to"], ["f"]),
        node("Concat", ["f", "hidden"], ["hidden_out"], axis=2),
    ]
    inputs = [value("image", T.FLOAT, ["batch", 3, 64, 64]), value("hidden", T.FLOAT, [1, "batch", 16])]
    outputs = [value("hidden_out", T.FLOAT, [1, "batch", 32])]
    write(folder, "batch-on-axis-1", nodes, inputs, outputs, weights("w", 16, 3, 3, 3), whole("to", 1, -1, 16))


def _time_major(folder: Path) -> None:
    """An output whose batch is its second axis, as readers of lines have it."""
    nodes = [
        node("Conv", ["image", "w"], ["a"], kernel_shape=[32, 8], strides=[32, 8]),
        node("Squeeze", ["a", "axis"], ["b"]),
        node("Transpose", ["b"], ["y"], perm=[2, 0, 1]),
    ]
    image = value("image", T.FLOAT, ["batch", 3, 32, 160])
    lines = [value("y", T.FLOAT, [20, "batch", 37])]
    write(folder, "time-major", nodes, [image], lines, weights("w", 37, 3, 32, 8), whole("axis", 2))


def _value_that_decides(folder: Path) -> None:
    """A sampling rate of which only one value runs."""
    then = helper.make_graph([node("Identity", ["x"], ["a"])], "then", [], [value("a", T.FLOAT, None)])
    other = helper.make_graph([node("Reshape", ["x", "bad"], ["b"])], "other", [], [value("b", T.FLOAT, None)])
    nodes = [
        node("Equal", ["rate", "right"], ["is_right"]),
        node("If", ["is_right"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [value("x", T.FLOAT, [1, 512]), value("rate", T.INT64, [])]
    right = numpy_helper.from_array(np.array(16000), "right")
    write(folder, "rate-decides", nodes, inputs, [value("y", T.FLOAT, None)], right, whole("bad", 7, 11))


def _caches(folder: Path) -> None:
    """Tokens beside what was computed of those before."""
    nodes = [
        node("Cast", ["ids"], ["i"], to=T.FLOAT),
        node("ReduceMean", ["i"], ["m"], axes=[1], keepdims=1),
        node("Reshape", ["m", "to"], ["m4"]),
        node("Add", ["past", "m4"], ["present"]),
    ]
    inputs = [value("ids", T.INT64, ["n", "t"]), value("past", T.FLOAT, ["n", 8, "p", 16])]
    write(folder, "caches", nodes, inputs, [value("present", T.FLOAT, None)], whole("to", -1, 1, 1, 1))


def _sizes_beside_pictures(folder: Path) -> None:
    """Sizes beside a picture, and a batch that the file promises and that does not run."""
    nodes = [
        node("GlobalAveragePool", ["images"], ["p"]),
        node("Reshape", ["p", "one"], ["q"]),
        node("Cast", ["sizes"], ["s"], to=T.FLOAT),
        node("ReduceMean", ["s"], ["m"], axes=[1], keepdims=1),
        node("Mul", ["q", "m"], ["boxes"]),
    ]
    inputs = [value("images", T.FLOAT, ["N", 3, 64, 64]), value("sizes", T.INT64, ["N", 2])]
    write(folder, "claims-any-batch", nodes, inputs, [value("boxes", T.FLOAT, ["N", 3])], whole("one", 1, 3))


def _rows_of_boxes(folder: Path) -> None:
    """An output with a row for each box that was kept."""
    image = value("images", T.FLOAT, [1, 3, 64, 64])
    nodes = [
        node("ReduceMean", ["images"], ["m"], axes=[1, 2, 3], keepdims=1),
        node("Reshape", ["m", "to"], ["m1"]),
        node("Mul", ["one", "m1"], ["scores"]),
        node("NonMaxSuppression", ["boxes", "scores", "most"], ["selected"]),
    ]
    corners = np.arange(7)[:, None] * 40 + np.array([0, 0, 30, 30])
    boxes = numpy_helper.from_array(corners.astype("f4")[None], "boxes")
    ones = numpy_helper.from_array(np.ones((1, 1, 7), "f4"), "one")
    selected = [value("selected", T.INT64, ["K", 3])]
    write(folder, "rows-of-boxes", nodes, [image], selected, boxes, ones, whole("to", 1, 1, 1), whole("most", 10))


def _scalar_output(folder: Path) -> None:
    """One number for the whole batch."""
    image = value("images", T.FLOAT, [1, 3, 64, 64])
    nodes = [
        node("ReduceMean", ["images"], ["m"], axes=[1, 2, 3], keepdims=0),
        node("ReduceMax", ["images"], ["count"], keepdims=0),
    ]
    write(folder, "scalar-output", nodes, [image], [value("m", T.FLOAT, [1]), value("count", T.FLOAT, [])])


def _computed_shapes(folder: Path) -> None:
    """Shapes that the graph computes, as exporters with dynamic axes write them."""
    nodes = [
        node("Conv", ["images", "w"], ["a"], pads=[1] * 4, strides=[4, 4]),
        node("GlobalAveragePool", ["a"], ["g"]),
        node("Shape", ["a"], ["shape"]),
        node("Slice", ["shape", "two", "four"], ["sides"]),
        node("Shape", ["images"], ["all"]),
        node("Gather", ["all", "first"], ["batch"], axis=0),
        node("Concat", ["batch", "channels", "sides"], ["to"], axis=0),
        node("Expand", ["g", "to"], ["mask"]),
    ]
    places = [whole("two", 2), whole("four", 4), whole("first", 0), whole("channels", 16)]
    images = value("images", T.FLOAT, ["n", 3, 64, 64])
    write(folder, "shape-nodes", nodes, [images], [value("mask", T.FLOAT, None)], weights("w", 16, 3, 3, 3), *places)


_KINDS = (
    _pictures,
    _tensors,
    _states,
    _window,
    _two_pictures,
    _hidden_state,
    _time_major,
    _value_that_decides,
    _caches,
    _sizes_beside_pictures,
    _rows_of_boxes,
    _scalar_output,
    _computed_shapes,
)


def write_cases(folder: Path) -> None:
    """Write them all into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in _KINDS:
        kind(folder)
