"""Shapes computed once: the plan's sizes put into the file, and what only computes shapes folded away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from framepace.errors import ModelError
from framepace.facts.batching import Batching
from framepace.facts.plan import ModelPlan
from framepace.models.convert.fixed import check_same, fix_shapes
from framepace.models.convert.variant import load, variant
from framepace.models.operations import model_work


def network(path: Path) -> str:
    """Doubles a picture's width by a Resize whose size is read from the picture, then multiplies rows of pixels.

    Inference does not know how many rows there are: the reshape's shape is a sum of what Shape nodes say.
    """
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "batch_place"], ["batch"], axis=0),
        helper.make_node("Gather", ["shape", "width_place"], ["width"], axis=0),
        helper.make_node("Cast", ["width"], ["width_f"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["width_f", "half"], ["half_f"]),
        helper.make_node("Floor", ["half_f"], ["floor"]),
        helper.make_node("Cast", ["floor"], ["columns"], to=TensorProto.INT64),
        helper.make_node("Concat", ["batch", "rest", "columns"], ["to"], axis=0),
        helper.make_node("Reshape", ["images", "to"], ["rows"]),
        helper.make_node("MatMul", ["rows", "weights"], ["y"]),
    ]
    constants = [
        helper.make_tensor("batch_place", TensorProto.INT64, [1], [0]),
        helper.make_tensor("width_place", TensorProto.INT64, [1], [3]),
        helper.make_tensor("half", TensorProto.FLOAT, [], [0.5]),
        helper.make_tensor("rest", TensorProto.INT64, [1], [-1]),
        helper.make_tensor("weights", TensorProto.FLOAT, [8, 4], np.arange(32, dtype="f4")),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 16, 16])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "rows", 4])
    graph = helper.make_graph(nodes, "network", [images], [y], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def answer(model: Any, picture: Any) -> Any:
    """What ONNX Runtime gives."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": picture})[0]


def test_nothing_computes_shapes_and_the_answers_are_the_same(tmp_path: Path) -> None:
    """The variant is in the cache: two nodes are left of ten, for the plan's batch."""
    path = network(tmp_path / "n.onnx")
    plan = ModelPlan(name="n", model=path, graph_shapes="fixed", batch=Batching(max=2))
    fixed = variant(plan)
    assert fixed != path
    assert variant(plan) == fixed
    graph = onnx.load(fixed).graph
    assert [node.op_type for node in graph.node] == ["Reshape", "MatMul"]
    assert [dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [2, 3, 16, 16]
    picture = np.random.default_rng(0).random((2, 3, 16, 16), dtype="f4")
    np.testing.assert_allclose(answer(fixed, picture), answer(path, picture), rtol=1e-6)


def test_as_exported_nothing_is_changed(tmp_path: Path) -> None:
    """The default loads the file itself."""
    path = network(tmp_path / "n.onnx")
    assert variant(ModelPlan(name="n", model=path)) == path


def test_other_answers_are_refused(tmp_path: Path) -> None:
    """A folding that is wrong is no variant; the advice leaves the file as it is."""
    plain = load(network(tmp_path / "n.onnx"))
    fixed = fix_shapes(load(str(tmp_path / "n.onnx")), {"images": (1, 3, 16, 16)})
    picture = {"images": np.ones((1, 3, 16, 16), "f4")}
    check_same(plain, fixed, picture, "n")
    weights = next(tensor for tensor in fixed.graph.initializer if tensor.dims == [8, 4])
    weights.CopyFrom(helper.make_tensor(weights.name, TensorProto.FLOAT, [8, 4], np.ones(32, "f4")))
    with pytest.raises(ModelError, match="gives other answers with fixed shapes") as error:
        check_same(plain, fixed, picture, "n")
    assert error.value.fix == "--set shapes=exported"


def test_the_floor_knows_shapes_that_are_computed(tmp_path: Path) -> None:
    """2 x 96 rows of 8 by 8 x 4: every multiplication counts, no node is unknown."""
    work = model_work(network(tmp_path / "n.onnx"), {"images": (2, 3, 16, 16)}, "fp32")
    assert work.unknown == 0
    assert sum(node.flops for node in work.nodes) == 2 * 2 * 96 * 8 * 4
