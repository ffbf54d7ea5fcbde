"""A network of full size that FP16 breaks in one known place: what a mended model keeps of the speed-up.

    python bench/accuracy_planted.py FILE.onnx [--model builtin:resnet50]

One convolution's weights and bias are multiplied, and the weights of the convolution behind its rectifier divided, by
the same power of two. In FP32 the answers stay as they were; in FP16 the values between them are beyond 65,504.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import numpy_helper

from framepace.models import builtin

_FACTOR = float(2**18)
_MIDDLE = 0.5  # of the places where it could be


def main() -> None:
    """Plant the fault, write the file, print the nodes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--model", default="builtin:resnet50", help="a network that is built in, or an ONNX file")
    args = parser.parse_args()
    model = _loaded(args.model)
    places = list(_places(model.graph))
    first, second = places[int(_MIDDLE * len(places))]
    for name in first.input[1:]:
        _scale(model.graph, name, _FACTOR)
    _scale(model.graph, second.input[1], 1 / _FACTOR)
    onnx.save(model, args.file)
    print(f"beyond FP16 between {first.name} and {second.name}")


def _loaded(location: str) -> onnx.ModelProto:
    if location.startswith("builtin:"):
        return onnx.load_model_from_string(builtin.model_bytes(location.removeprefix("builtin:")))
    return onnx.load(location)


def _places(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, onnx.NodeProto]]:
    """Convolutions with nothing but a rectifier between them."""
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for first in graph.node:
        between = readers.get(first.output[0], [])
        if first.op_type == "Conv" and [node.op_type for node in between] == ["Relu"]:
            behind = readers.get(between[0].output[0], [])
            if [node.op_type for node in behind] == ["Conv"]:
                yield first, behind[0]


def _scale(graph: onnx.GraphProto, name: str, factor: float) -> None:
    weights = next(tensor for tensor in graph.initializer if tensor.name == name)
    scaled = (numpy_helper.to_array(weights) * np.float32(factor)).astype(np.float32)
    weights.CopyFrom(numpy_helper.from_array(scaled, name))


if __name__ == "__main__":
    main()
