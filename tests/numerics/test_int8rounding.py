"""INT8 rounding is what ONNX Runtime's quantiser does: the same ranges, the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from framepace.errors import UsageError
from framepace.facts.plan import Calibration, ModelPlan
from framepace.facts.workload import Input
from framepace.models.convert.int8ranges import quantised_weights
from framepace.models.convert.precision import optimised_and_named, to_int8
from framepace.models.convert.variant import load, variant
from framepace.numerics.int8rounding import Int8Rounding, int8_rounding
from framepace.numerics.trying import trials_of
from framepace.video.source import SYNTHETIC

RNG = np.random.default_rng(0)
FRAMES = [{"x": RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(4)]


def network() -> Any:
    """A convolution, a transposed one and two products, one with its weight turned round."""
    shapes = {"w": (4, 3, 3, 3), "t": (4, 2, 2, 2), "g": (5, 2 * 14 * 14), "m": (5, 6)}
    rng = np.random.default_rng(1)
    weights = [numpy_helper.from_array(rng.normal(size=size).astype(np.float32), name) for name, size in shapes.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["a"], ["b"], name="act"),
        helper.make_node("ConvTranspose", ["b", "t"], ["c"], name="up", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["c"], ["d"], name="flat"),
        helper.make_node("Gemm", ["d", "g"], ["e"], name="gemm", transB=1),
        helper.make_node("Softmax", ["e"], ["f"], name="soft"),
        helper.make_node("MatMul", ["f", "m"], ["y"], name="product"),
    ]
    value = helper.make_tensor_value_info
    ends = ([value("x", TensorProto.FLOAT, [1, 3, 8, 8])], [value("y", TensorProto.FLOAT, [1, 6])])
    graph = helper.make_graph(nodes, "g", *ends, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def pairs(model: Any) -> tuple[dict[str, float], dict[str, Any]]:
    """Of a quantised file the magnitude that each activation's scale stands for, and each weight, dequantised."""
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    ranges: dict[str, float] = {}
    weights: dict[str, Any] = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants:
            ranges[node.input[0].removesuffix("_QuantizeLinear_Input")] = float(constants[node.input[1]]) * 127
        elif node.op_type == "QuantizeLinear":
            weights[node.input[0]] = constants[node.input[0]]
    return ranges, weights


@pytest.fixture(scope="module")
def rounding(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Calibration], Int8Rounding]:
    """INT8 of the network by a method of calibration."""
    model = optimised_and_named(network(), tmp_path_factory.mktemp("int8"))
    return lambda method: int8_rounding(model, FRAMES, method)


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
def test_ranges_are_those_of_the_converter(
    method: Calibration, rounding: Callable[[Calibration], Int8Rounding]
) -> None:
    """Each activation that the quantised file scales has the same range here."""
    ranges, _ = pairs(to_int8(network(), FRAMES, "net", method=method))
    assert ranges.keys() >= {"x", "a", "b", "e", "y"}
    for name, magnitude in ranges.items():
        assert rounding(method).ranges[name] == pytest.approx(magnitude, rel=1e-5), name


def test_methods_differ(rounding: Callable[[Calibration], Int8Rounding]) -> None:
    """The largest value is the range of min-max; the others are no wider, and a percentile clips."""
    largest = max(float(np.abs(frame["x"]).max()) for frame in FRAMES)
    assert rounding("minmax").ranges["x"] == pytest.approx(largest, rel=1e-6)
    assert rounding("entropy").ranges["x"] <= largest * 1.001
    assert rounding("percentile").ranges["x"] < largest


def test_weights_have_a_scale_per_channel_of_their_output(rounding: Callable[[Calibration], Int8Rounding]) -> None:
    """First of a convolution and of a turned product, second of a transposed one, last of a product; a bias stays."""
    int8 = rounding("minmax")
    assert {name: int8.axes[name] for name in "wtgm"} == {"w": 0, "t": 1, "g": 0, "m": 1}
    values = np.array([[1.0, 100.0], [0.5, 3.0]], np.float32)
    np.testing.assert_allclose(quantised_weights(values, 1), values, atol=100 / 254)
    assert np.abs(quantised_weights(values, 1)[:, 0] - values[:, 0]).max() < 1 / 254 < 0.3
    assert np.abs(quantised_weights(values, None)[:, 0] - values[:, 0]).max() > 0.2
    assert int8.weights("bias", values, "p").output == "bias"


def test_a_tensor_is_rounded_to_its_range_and_clipped() -> None:
    """By the nodes that are made, run by ONNX Runtime; a tensor without a range stays as it is."""
    int8 = Int8Rounding(ranges={"x": 12.7}, axes={})
    rounded = int8.nodes("copy", "p", "x")
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        list(rounded.nodes),
        "g",
        [value("copy", TensorProto.FLOAT, [4])],
        [value(rounded.output, TensorProto.FLOAT, [4])],
        list(rounded.initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"copy": np.array([0.04, 0.26, -5.0, 99.0], np.float32)})
    np.testing.assert_allclose(outputs[0], [0.0, 0.3, -5.0, 12.7], atol=1e-5)
    assert int8.nodes("other", "p") == type(rounded)("other", ())


def test_nodes_that_are_kept_stay_in_float(tmp_path: Path) -> None:
    """No Q/DQ pair stands at their inputs that another node does not read; a name that is no node's is refused."""
    kept = to_int8(network(), FRAMES, "net", kept=("product",))
    readers = {name: node for node in kept.graph.node for name in node.input}
    assert readers["f"].op_type == readers["m"].op_type == "MatMul"
    with pytest.raises(UsageError, match="prodct"):
        to_int8(network(), FRAMES, "net", kept=("prodct",))
    onnx.checker.check_model(kept)


def test_unsigned_activations_have_a_zero_point_and_weights_have_none() -> None:
    """As CPUs multiply: the option `activations=uint8` of ONNX Runtime's backend."""
    model = to_int8(network(), FRAMES, "net", unsigned=True)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    zeros = {
        node.input[0]: numpy_helper.to_array(constants[node.input[2]])
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert zeros["x"].dtype == np.uint8
    assert 100 < int(zeros["x"]) < 155
    assert zeros["w"].dtype == np.int8
    assert not zeros["w"].any()


@pytest.mark.parametrize("narrow", [False, True])
def test_weights_are_those_of_the_file_on_either_kind_of_cpu(narrow: bool, tmp_path: Path) -> None:
    """With 8 bits, and with 7 for CPUs that add products in too few bits: what is emulated is what is converted."""
    int8 = int8_rounding(optimised_and_named(network(), tmp_path), FRAMES, narrow=narrow)
    file = to_int8(network(), FRAMES, "net", narrow=narrow)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
    down = {node.input[0]: node for node in file.graph.node if node.op_type == "QuantizeLinear"}
    for name in "wtgm":
        scale = constants[down[name].input[1]]
        axis = int8.axes[name] or 0
        scales = scale.reshape([-1 if place == axis else 1 for place in range(constants[name].ndim)])
        stored = np.clip(np.rint(constants[name] / scales), -128, 127) * scales
        emulated = int8.weights(name, constants[name], "p").initializers[0]
        np.testing.assert_allclose(numpy_helper.to_array(emulated), stored, atol=1e-6)


def test_whoever_emulates_asks_for_the_bits_where_the_converter_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a CPU of either kind the trials of a plan, and its file, have weights of as many bits."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    onnx.save(network(), tmp_path / "net.onnx")
    model = ModelPlan(name="net", model=str(tmp_path / "net.onnx"), precision="int8", calibration=SYNTHETIC)
    for saturates in (False, True):
        monkeypatch.setattr("framepace.models.convert.int8cpu.saturates_int8", lambda answer=saturates: answer)
        trials = trials_of(model, Input(), "int8", frames=1)
        assert isinstance(trials.network.rounding, Int8Rounding)
        file = load(variant(model, "int8"))
        constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in file.graph.initializer}
        down = next(node for node in file.graph.node if node.op_type == "QuantizeLinear" and node.input[0] == "m")
        steps = np.abs(constants["m"]).max(axis=0) / constants[down.input[1]]
        np.testing.assert_allclose(steps, trials.network.rounding.weight_steps, rtol=1e-5)


def test_frames_are_calibrated_on_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is kept in float, and for the emulation too: ranges do not depend on it."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    said: list[str] = []

    def tell(text: str, share: float | None) -> None:
        said.append(text)

    to_int8(network(), FRAMES, "net", tell)
    assert said == ["calibrating net"] * len(FRAMES)
    to_int8(network(), FRAMES, "net", tell, kept=("product",), unsigned=True, narrow=True)
    int8_rounding(optimised_and_named(network(), tmp_path), FRAMES, tell=tell)
    assert len(said) == len(FRAMES)
    to_int8(network(), FRAMES[:2], "net", tell)
    assert len(said) == len(FRAMES) + 2


def test_every_process_finds_what_another_has_tried() -> None:
    """The rounding as a text is part of a name in the cache, and sets have another order in each process."""
    program = "from framepace.numerics.int8rounding import Int8Rounding; print(Int8Rounding({'x': 1.0}, {'w': 0}))"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2", "3", "4")
    }  # fmt: skip
    assert len(texts) == 1
