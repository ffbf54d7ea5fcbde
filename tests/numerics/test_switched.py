"""A network whose nodes are switched to a lower precision one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from framepace.errors import UsageError
from framepace.facts.plan import ModelPlan
from framepace.models.convert.precision import to_fp16
from framepace.numerics.rounding import BF16, FP16
from framepace.numerics.switched import Network as Switched
from tests.numerics.networks import SIZE, Network, taken_apart

RNG = np.random.default_rng(1)
PICTURE = {"x": RNG.random((1, 3, SIZE, SIZE), np.float32)}


def _normalised(scale: float, epsilon: float = 1e-3) -> Network:
    network = Network()
    network.conv("first", "x", 3, 4, scale)
    network.add("Tanh", "bent", "x")
    network.add("Exp", "values", "first")
    taken_apart(network, "values", epsilon)
    return network


def test_with_all_switches_off_the_answers_are_those_of_the_file(tmp_path: Path) -> None:
    """To the bit those of ONNX Runtime without its optimiser, which may add in another order."""
    import onnxruntime

    plan = _normalised(1.0).plan(tmp_path, "normalised")
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(plan.model, options, providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, PICTURE)
    np.testing.assert_array_equal(Switched(plan, FP16).run(PICTURE)["normalised"], expected)


def test_a_switch_rounds_what_its_node_reads_its_weights_and_what_it_makes(tmp_path: Path) -> None:
    """The same as rounding with NumPy around an exact product, for FP16 and for BF16."""
    import onnx
    from onnx import numpy_helper

    network = Network()
    network.conv("first", "x", 3, 4)
    plan = network.plan(tmp_path, "first")
    weights = numpy_helper.to_array(onnx.load(plan.model).graph.initializer[0])[:, :, 0, 0]
    for rounding in (FP16, BF16):
        exact = np.einsum("oc,bchw->bohw", rounding.round(weights), rounding.round(PICTURE["x"]))
        low = Switched(plan, rounding).run(PICTURE, ["first"])["first"]
        np.testing.assert_allclose(low, rounding.round(exact), rtol=2 ** (-7 if rounding is BF16 else -10))


def test_any_set_of_nodes_is_switched_without_loading_again(tmp_path: Path) -> None:
    """Squares over 65,504 break the answer where one of the nodes that hold them is low, and no other does."""
    network = Switched(_normalised(0.5).plan(tmp_path, "normalised"), FP16)
    picture = {"x": PICTURE["x"] * 14}  # Exp makes of it values whose squares and their means are beyond 65,504
    expected = network.run(picture)["normalised"]

    def error(*low: str) -> float:
        return float(np.abs(network.run(picture, low)["normalised"] - expected).max())

    assert set(network.names) >= {"first", "values", "square", "mean", "shifted", "root", "normalised"}
    for name in network.names:
        broken = error(name) > 0.5
        assert broken == (name in {"square", "mean", "shifted", "root"}), name


def test_a_mean_is_stored_by_way_of_its_sum(tmp_path: Path) -> None:
    """256 values of 500 add up to 128,000: infinite in FP16, however small their mean is."""
    network = Network()
    network.add("Mul", "large", "x", network.weight("k", 500.0))
    network.add("GlobalAveragePool", "pooled", "large")
    switched = Switched(network.plan(tmp_path, "pooled", shape=(1, 3, 1, 1)), FP16)
    ones = {"x": np.ones((1, 3, SIZE, SIZE), np.float32)}
    assert np.isposinf(switched.run(ones, ["pooled"])["pooled"]).all()
    np.testing.assert_array_equal(switched.run(ones, ["large"])["pooled"], 500)


def test_names_are_those_of_the_file_and_what_was_fused_says_from_what(tmp_path: Path) -> None:
    """HardSwish becomes two nodes, which are told by it."""
    network = Network()
    network.conv("first", "x", 3, 4)
    network.add("HardSwish", "switched", "first")
    switched = Switched(network.plan(tmp_path, "switched"), FP16)
    made = {node.name: node.made_from for node in switched.nodes}
    assert made.pop("first") == ()
    assert made
    assert set(made.values()) == {("switched",)}


def test_what_cannot_be_lowered_is_refused_with_the_reason(tmp_path: Path) -> None:
    """A file in FP16 already, one without floats, and what is no ONNX file."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    network = Network()
    network.weights.append(numpy_helper.from_array(np.float16(2), "half"))
    network.conv("first", "x", 3, 4)
    network.add("Cast", "low", "first", to=TensorProto.FLOAT16)
    network.add("Mul", "doubled", "low", "half")
    network.add("Cast", "high", "doubled", to=TensorProto.FLOAT)
    with pytest.raises(UsageError, match="low precision already"):
        Switched(network.plan(tmp_path, "high"), FP16)
    numbers = [helper.make_tensor_value_info(name, TensorProto.INT64, [1]) for name in ("a", "b")]
    graph = helper.make_graph([helper.make_node("Neg", ["a"], ["b"], name="neg")], "whole", numbers[:1], numbers[1:])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "net.onnx"
    )
    with pytest.raises(UsageError, match="no node"):
        Switched(ModelPlan(name="net", model=str(tmp_path / "net.onnx")), FP16)


@pytest.mark.parametrize("scale", [0.3, 14.0])
def test_the_emulation_agrees_with_float16_as_onnx_computes_it(tmp_path: Path, scale: float) -> None:
    """The converted file, run by ONNX's reference evaluator on float16 arrays, is as far off, or infinite as well."""
    from onnx import load
    from onnx.reference import ReferenceEvaluator

    plan = _normalised(0.5).plan(tmp_path, "normalised", "square")
    picture = {"x": PICTURE["x"] * np.float32(scale)}
    network = Switched(plan, FP16)
    expected = network.run(picture)
    emulated = network.run(picture, network.names)
    with np.errstate(all="ignore"):
        computed = ReferenceEvaluator(to_fp16(load(plan.model), "net")).run(["normalised", "square"], picture)
    for name, values in zip(("normalised", "square"), computed, strict=True):
        np.testing.assert_array_equal(np.isfinite(emulated[name]), np.isfinite(values))
        finite = np.isfinite(values)
        off = np.abs(values - expected[name])[finite].max(initial=0.0)
        assert np.abs(emulated[name][finite] - values[finite]).max(initial=0.0) <= 2 * off
