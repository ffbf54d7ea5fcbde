"""Preparation folded into the model: a uint8 input, and the arithmetic in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import ModelError
from framepace.facts.plan import ModelPlan
from framepace.models.spec import Image, Resolved
from framepace.video.prepare import affine

_HOST = "prepare on the host"
_DTYPES = ("float16", "float32", "float64")
_BROADCAST_OPSET = 7  # earlier, Mul and Add did not broadcast, and Cast named its dtype by a string


def folds(resolved: Resolved, name: str) -> bool:
    """Whether there is anything to fold: not where the model takes uint8 already.

    Raises ModelError: no image input, or one that is neither uint8 nor a float.
    """
    image = resolved.image
    if image is None:
        raise ModelError(f"model {name!r} has no image input to fold preparation into", got="none", fix=_HOST)
    if image.time_axis is not None or resolved.axis(image.name) != 0:
        message = f"clips, and pictures without a batch, of model {name!r} are prepared on the host"
        raise ModelError(message, got=image.name, fix="--set prepare-place=host")
    if image.dtype not in ("uint8", *_DTYPES):
        what = f"preparation cannot be folded into image input {image.name!r} of model {name!r}"
        raise ModelError(what, got=image.dtype, expected=", ".join(_DTYPES))
    return image.dtype != "uint8"


def fold(proto: Any, resolved: Resolved, model: ModelPlan) -> Any:
    """The model (changed in place) with an image input of uint8, same name and shape: x becomes x * a + b inside.

    a and b, one per channel, are those of `prepare.affine`. The arithmetic is the host's: float32, rounded once for a
    float16 input; in float64 for that. Results differ by rounding only. A factor of 1 and a shift of 0 are left out.

    Raises ModelError: as `folds`; an opset before 7; an image input that is an output as well.
    """
    image = resolved.image
    if not folds(resolved, model.name) or image is None:
        return proto
    _check(proto, image, model.name)
    graph = proto.graph
    value = next(v for v in graph.input if v.name == image.name)
    tensor_type = value.type.tensor_type
    # Converters name what they add after the tensor too ('images_scale').
    inner = f"framepace_{image.name}_prepared"
    _rename(graph, image.name, inner)
    nodes, weights = _arithmetic(model, image, tensor_type.elem_type, inner)
    tensor_type.elem_type = _uint8()
    graph.initializer.extend(weights)
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    return proto


def _check(proto: Any, image: Image, name: str) -> None:
    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset < _BROADCAST_OPSET:
        what = f"preparation cannot be folded into model {name!r}"
        raise ModelError(what, got=f"opset {opset}", expected=f"opset {_BROADCAST_OPSET} or later", fix=_HOST)
    if any(output.name == image.name for output in proto.graph.output):
        raise ModelError(f"the image input of model {name!r} is an output as well", got=image.name, fix=_HOST)


def _arithmetic(model: ModelPlan, image: Image, elem_type: int, result: str) -> tuple[list[Any], list[Any]]:
    """Nodes from the uint8 input to `result` of type `elem_type`, and their constants."""
    steps = _steps(model, image, elem_type)
    nodes = []
    weights = []
    source = image.name
    for place, (operator, operand) in enumerate(steps):
        name = f"framepace_{image.name}_{place}_{operator.lower()}"
        target = name
        if place == len(steps) - 1:
            target = result
        node, constants = _node(name, operator, operand, source, target)
        nodes.append(node)
        weights += constants
        source = target
    return nodes, weights


def _node(name: str, operator: str, operand: Any, source: str, target: str) -> tuple[Any, list[Any]]:
    """One node from `source` to `target`, and the constant that it takes, if any."""
    from onnx import helper, numpy_helper

    if operator == "Cast":
        return helper.make_node("Cast", [source], [target], name=name, to=operand), []
    constant = numpy_helper.from_array(operand, f"{name}_by")
    return helper.make_node(operator, [source, constant.name], [target], name=name), [constant]


def _steps(model: ModelPlan, image: Image, elem_type: int) -> list[tuple[str, Any]]:
    """Operators with what they take: the type of a Cast, the constant of a Mul or Add."""
    dtype, inner_type = _computed_in(image)
    scale, shift = _constants(model, image)
    steps: list[tuple[str, Any]] = [("Cast", inner_type)]
    if (scale != 1).any():
        steps.append(("Mul", scale.astype(dtype)))
    if (shift != 0).any():
        steps.append(("Add", shift.astype(dtype)))
    if elem_type != inner_type:
        steps.append(("Cast", elem_type))
    return steps


def _computed_in(image: Image) -> tuple[str, int]:
    """The dtype that preparation computes in, and its number in ONNX."""
    from onnx import TensorProto

    if image.dtype == "float64":
        return "float64", int(TensorProto.DOUBLE)
    return "float32", int(TensorProto.FLOAT)


def _constants(model: ModelPlan, image: Image) -> NDArray[np.float64]:
    """a and b of each channel, in the shape that broadcasts over the image."""
    shape = {"nchw": (1, image.channels, 1, 1), "nhwc": (1, 1, 1, image.channels)}[image.layout]
    return np.array(affine(model.prepare, image.channels)).T.reshape(2, *shape)


def _rename(graph: Any, name: str, to: str) -> None:
    """Make all readers of a tensor read another, those within branches and loops too; its value_info moves along."""
    for value in graph.value_info:
        if value.name == name:
            value.name = to
    for node in graph.node:
        for place, source in enumerate(node.input):
            if source == name:
                node.input[place] = to
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _rename(inner, name, to)


def _uint8() -> int:
    from onnx import TensorProto

    return int(TensorProto.UINT8)
