"""Preparation folded into the model: a uint8 input, and the arithmetic in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np

from framepace.errors import ModelError
from framepace.exec.models import Resolved
from framepace.exec.prepare import affine
from framepace.facts.plan import ModelPlan


def fold(proto: Any, resolved: Resolved, model: ModelPlan) -> Any:
    """The model with an image input of uint8, same name and shape: x becomes x * a + b per channel inside.

    a and b are those of `prepare.affine`, in the dtype that the model took, so results differ by rounding only. A
    model that takes uint8 already is left as it is.

    Raises ModelError: no image input.
    """
    from onnx import TensorProto, helper, numpy_helper

    image = resolved.image
    if image is None:
        fix = "prepare on the host"
        raise ModelError(f"model {model.name!r} has no image input to fold preparation into", got="none", fix=fix)
    if image.dtype == "uint8":
        return proto
    graph = proto.graph
    value = next(v for v in graph.input if v.name == image.name)
    # Converters name what they add after the tensor too ('images_scale').
    own, prefix = value.type.tensor_type.elem_type, f"framepace_{image.name}"
    inner = f"{prefix}_prepared"
    _rename(graph, image.name, inner)
    value.type.tensor_type.elem_type = TensorProto.UINT8
    scale, shift = _constants(model, image.channels, image.layout, image.dtype)
    names = [f"{prefix}_{part}" for part in ("float", "scaled", "scale", "shift")]
    graph.initializer.extend([numpy_helper.from_array(scale, names[2]), numpy_helper.from_array(shift, names[3])])
    nodes = [
        helper.make_node("Cast", [image.name], [names[0]], name=f"{names[0]}_cast", to=own),
        helper.make_node("Mul", [names[0], names[2]], [names[1]], name=f"{names[1]}_mul"),
        helper.make_node("Add", [names[1], names[3]], [inner], name=f"{inner}_add"),
    ]
    for place, node in enumerate(nodes):
        graph.node.insert(place, node)
    return proto


def _rename(graph: Any, name: str, to: str) -> None:
    """All readers of a tensor read another; readers within branches and loops too."""
    for node in graph.node:
        for place, given in enumerate(node.input):
            if given == name:
                node.input[place] = to
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    _rename(inner, name, to)
    for output in graph.output:
        if output.name == name:
            raise ModelError("the image input is an output as well", got=name, fix="prepare on the host")


def _constants(model: ModelPlan, channels: int, layout: str, dtype: str) -> tuple[Any, Any]:
    """Scale and shift, shaped to be broadcast over the channels of the layout."""
    pairs = affine(model.prepare, channels)
    shape = (1, channels, 1, 1) if layout == "nchw" else (1, 1, 1, channels)
    scale, shift = (np.array(values, np.float64).reshape(shape).astype(dtype) for values in zip(*pairs, strict=True))
    return scale, shift
