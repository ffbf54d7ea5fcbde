"""A model in FP16 with some nodes left in FP32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.models.convert.precision import to_fp16
from framepace.models.convert.variant import variant
from tests.numerics.networks import SIZE, Network, taken_apart

_HALF = 10  # of onnx.TensorProto
_FLOAT = 1


def _types(model: Any) -> dict[str, int]:
    """The element type of every tensor, as strict inference finds it."""
    from onnx.shape_inference import infer_shapes

    graph = infer_shapes(model, strict_mode=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values} | {
        weight.name: weight.data_type for weight in graph.initializer
    }


def _run(model: Any, x: np.ndarray[Any, Any]) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


def _net() -> Any:
    network = Network()
    network.conv("first", "x", 3, 4)
    taken_apart(network, "first")
    network.add("Transpose", "moved", "normalised", perm=[0, 1, 3, 2])
    network.conv("last", "moved", 4, 4)
    return network.proto("last")


def test_kept_nodes_read_and_make_float32_and_the_others_float16() -> None:
    """What a kept node reads from another kept node never was in float16; the rest of the network is."""
    kept = ["square", "mean", "shifted", "root"]
    model = to_fp16(_net(), "net", kept)
    types = _types(model)
    nodes = {node.name: node for node in model.graph.node}
    for name in kept:
        assert {types[tensor] for tensor in (*nodes[name].input, *nodes[name].output)} == {_FLOAT}
    for name in ("normalised", "last"):
        assert {types[tensor] for tensor in (*nodes[name].input, *nodes[name].output)} == {_HALF}
    writers = {node.output[0]: node.name for node in model.graph.node}
    assert writers[nodes["mean"].input[0]] == "square"


def test_what_moves_values_between_kept_nodes_is_kept_with_them() -> None:
    """A Transpose between two kept nodes would otherwise round what both of them keep exact."""
    model = to_fp16(_net(), "net", ["normalised", "last"])
    nodes = {node.name: node for node in model.graph.node}
    assert _types(model)[nodes["moved"].output[0]] == _FLOAT
    alone = to_fp16(_net(), "net", ["normalised"])
    nodes = {node.name: node for node in alone.graph.node}
    assert _types(alone)[nodes["moved"].output[0]] == _HALF


def test_with_all_nodes_kept_the_answers_are_those_of_float32() -> None:
    """No cast is left that rounds, neither of inputs nor of outputs nor of weights that two nodes share."""
    network = Network()
    shared = network.weight("shared", [[[[70000.0]]] * 3] * 4)
    network.add("Conv", "one", "x", shared)
    network.add("Tanh", "bent", "x")
    network.add("Conv", "two", "bent", shared)
    network.add("Mul", "product", "one", "two")
    plain = network.proto("product")
    x = np.random.default_rng(0).random((1, 3, SIZE, SIZE), np.float32)
    kept = to_fp16(network.proto("product"), "net", ["bent", "one", "two", "product"])
    np.testing.assert_array_equal(_run(kept, x), _run(plain, x))
    half = to_fp16(network.proto("product"), "net", ["one"])
    assert {weight.data_type for weight in half.graph.initializer} == {_FLOAT, _HALF}


def test_a_name_that_no_node_has_is_refused_with_the_nearest() -> None:
    """A name that was mistyped, or one of another file."""
    with pytest.raises(UsageError, match="did you mean 'square'"):
        to_fp16(_net(), "net", ["sqare"])


def test_the_variant_of_a_plan_depends_on_the_nodes_that_it_keeps(tmp_path: Path, monkeypatch: Any) -> None:
    """Another set of nodes is another file of the cache."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    network = Network()
    network.conv("first", "x", 3, 4)
    network.conv("last", "first", 4, 4)
    plan = network.plan(tmp_path, "last")
    half = variant(replace(plan, precision="fp16"), "fp16")
    mixed = variant(replace(plan, precision="fp16", fp32_nodes=("last",)), "fp16")
    assert len({half, mixed, variant(replace(plan, precision="fp16", fp32_nodes=("first",)), "fp16")}) == 3
    assert "mixed" in mixed
