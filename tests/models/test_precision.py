"""FP16 and INT8 put into files: close to FP32, valid, and what TensorRT takes."""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, checker, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from framepace.errors import ModelError
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models import builtin
from framepace.models.convert.calibration import PreparedInputs, prepared_inputs
from framepace.models.convert.int8cpu import saturates, saturates_int8
from framepace.models.convert.precision import raised, to_fp16, to_int8
from framepace.models.convert.variant import load, variant
from framepace.models.spec import inspect, resolve
from framepace.video.source import SYNTHETIC, decode_all

OCR = Prepare(colour="bgr", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def plan(model: str = "builtin:classifier", **fields: Any) -> ModelPlan:
    """A plan of the model, calibrated on the synthetic video."""
    return ModelPlan(**{"name": "m", "model": model, "calibration": SYNTHETIC, **fields})


def frames_of(model: ModelPlan) -> PreparedInputs:
    """Its inputs for calibration."""
    return prepared_inputs(model, resolve(inspect(model.model), model))


def run(proto: Any, inputs: dict[str, Any]) -> Any:
    """First output of ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def error(proto: Any, other: Any, frames: Sequence[dict[str, Any]]) -> float:
    """Relative L2 distance of the first outputs, over all frames."""
    pairs = [(run(proto, frame), run(other, frame)) for frame in frames]
    return float(np.sqrt(sum(((a - b) ** 2).sum() for a, b in pairs) / sum((a**2).sum() for a, _ in pairs)))


def small(*nodes: Any, weights: Sequence[Any] = (), opset: int = 17, shape: Sequence[Any] = (1, 3, 8, 8)) -> Any:
    """A float model from 'x' to 'y', of 8x8 pictures."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in (("x", shape), ("y", None))]
    graph = helper.make_graph(list(nodes), "g", values[:1], values[1:], list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def noise(*shape: int) -> Any:
    """Random values, the same every time."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def kinds(proto: Any) -> list[str]:
    """Operators of the model."""
    return [node.op_type for node in proto.graph.node]


@pytest.mark.parametrize("name", ["classifier", "detector"])
def test_fp16_is_close_valid_and_half_as_large(name: str) -> None:
    """Less than 0.2 % off on real inputs, accepted by ONNX's checker, the interface as it was."""
    own, frames = load(f"builtin:{name}"), frames_of(plan(f"builtin:{name}"))
    half = to_fp16(copy.deepcopy(own), name)
    checker.check_model(half, full_check=True)
    assert [o.domain for o in half.opset_import] == [""]
    assert 0 < error(own, half, frames[::30]) < 0.002
    assert half.ByteSize() < 0.55 * own.ByteSize()
    assert half.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


def test_fp16_of_a_model_whose_statistics_do_not_fit(detector_model: Path, bikes: Path) -> None:
    """A real network with a variance of 9.8e7: folded into the convolution first, it is 2 % off instead of useless."""
    model = plan(str(detector_model), size=(288, 640), prepare=OCR, calibration=str(bikes))
    own, frames = load(model.model), frames_of(model)
    assert error(own, to_fp16(copy.deepcopy(own), "m"), frames[8::16]) < 0.05


def test_fp16_leaves_alone_what_loses_too_much_and_what_must_be_float32() -> None:
    """Resize's scales and TopK stay float32 between casts; results are the same within FP16's rounding."""
    scales, count = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s"), np.array([5])
    proto = small(
        helper.make_node("Resize", ["x", "", "s"], ["big"], mode="nearest"),
        helper.make_node("Mul", ["big", "big"], ["square"]),
        helper.make_node("TopK", ["square", "k"], ["y", "places"]),
        weights=[scales, numpy_helper.from_array(count, "k")],
    )
    half, x = to_fp16(copy.deepcopy(proto), "m"), {"x": noise(1, 3, 8, 8)}
    checker.check_model(half, full_check=True)
    assert next(t for t in half.graph.initializer if t.name == "s").data_type == TensorProto.FLOAT
    np.testing.assert_allclose(run(half, x), run(proto, x), rtol=0.002)


def test_fp16_of_a_model_with_branches_is_in_order_and_right() -> None:
    """Casts that a branch reads come before it: the checker accepts the graph, and both branches are close."""
    value = [helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 3, 8, 8])]
    branches = [helper.make_graph([helper.make_node(kind, ["x"], ["b"])], kind, [], value) for kind in ("Neg", "Exp")]
    proto = small(
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], then_branch=branches[0], else_branch=branches[1]),
        weights=[numpy_helper.from_array(np.float32(0), "zero")],
    )
    half = to_fp16(copy.deepcopy(proto), "m")
    checker.check_model(half, full_check=True)
    for sign in (1, -1):
        x = {"x": sign * np.abs(noise(1, 3, 8, 8))}
        np.testing.assert_allclose(run(half, x), run(proto, x), rtol=0.005, atol=1e-4)


def test_a_model_in_fp16_stays_what_it_is() -> None:
    """Converted again, it is the same file; quantised, it gets scales in float16 and an opset that has them."""
    once, frames = to_fp16(load("builtin:classifier"), "m"), frames_of(plan())
    assert to_fp16(copy.deepcopy(once), "m") == once
    for half in (False, True):
        proto = to_int8(copy.deepcopy(once), frames, "m", half=half, narrow=saturates_int8())
        checker.check_model(proto, full_check=True)
        if not saturates_int8():  # files with float16 are for GPUs, and their weights keep 8 bits
            assert 0 < error(load("builtin:classifier"), proto, frames[::8]) < 0.1


@pytest.mark.parametrize("half", [False, True])
def test_int8_is_close_and_as_tensorrt_takes_it(half: bool) -> None:
    """Symmetric int8, weights per channel, no int32 anywhere; within a tenth of FP32; the rest float16 if asked."""
    model = plan("builtin:classifier@64x64")
    own, frames = load(model.model), frames_of(model)
    proto = to_int8(copy.deepcopy(own), frames, "m", half=half, narrow=saturates_int8())
    checker.check_model(proto, full_check=True)
    # Not ONNX Runtime for the half: its older versions compute scales of float16 wrong.
    got = ReferenceEvaluator(proto).run(None, frames[3])[0] if half else run(proto, frames[3])
    wanted = run(own, frames[3])
    assert 0 < np.linalg.norm(got - wanted) < 0.1 * np.linalg.norm(wanted)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    pairs = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    points = [weights[node.input[2]] for node in pairs]
    assert all(point.dtype == np.int8 and not point.any() for point in points)
    assert sum(point.ndim == 1 and point.size > 1 for point in points) >= 2 * kinds(own).count("Conv")
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert {weights[node.input[2]].dtype.name for node in convolutions} == {"float16" if half else "float32"}


@pytest.mark.long
def test_int8_of_constants_and_an_early_opset(classifier_model: Path, bikes: Path) -> None:
    """A real network of opset 11 with its weights in Constant nodes: folded, raised, per channel; still a likeness."""
    prepare = Prepare(colour="bgr", mean=(0.5,), std=(0.5,))
    model = plan(str(classifier_model), size=(48, 192), prepare=prepare, calibration=str(bikes))
    own, frames = load(model.model), frames_of(model)
    proto = to_int8(copy.deepcopy(own), frames, "m", narrow=saturates_int8())
    assert "BatchNormalization" not in kinds(proto)
    assert next(o.version for o in proto.opset_import if o.domain == "") >= 13
    assert any(a.name == "axis" for n in proto.graph.node if n.op_type == "QuantizeLinear" for a in n.attribute)
    assert error(own, proto, frames[::8]) < 0.3


def test_a_weight_is_clipped_on_the_frames_that_were_shown() -> None:
    """Ranges come from the frames: calibrated on a tenth of the values, large ones saturate; on all, they do not."""
    weight = numpy_helper.from_array(np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "w")
    proto = small(helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1]), weights=[weight])
    x = {"x": np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)}
    small_range, whole = (to_int8(copy.deepcopy(proto), [{"x": x["x"] * f}], "m") for f in (0.1, 1))
    assert np.abs(run(small_range, x)).max() == pytest.approx(0.1, rel=0.05)
    np.testing.assert_allclose(run(whole, x), x["x"], atol=0.02)


def test_values_that_are_not_finite_are_told() -> None:
    """A network that gives infinities on the frames has no scale: an error, not a file of NaN."""
    weight = numpy_helper.from_array(np.full((3, 3, 1, 1), 3e38, np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["big"], kernel_shape=[1, 1]),
        helper.make_node("Conv", ["big", "w"], ["y"], kernel_shape=[1, 1]),
    ]
    with pytest.raises(ModelError, match=r"finite|range"):
        to_int8(small(*nodes, weights=[weight]), [{"x": np.ones((1, 3, 8, 8), np.float32)}], "m")


def test_what_a_converter_stumbles_over_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its words, the model's name and another way are in the error; the original is its cause."""

    def broken(*given: Any, **settings: Any) -> None:
        raise AssertionError("node X:\n  no such thing")

    monkeypatch.setattr("onnxruntime.transformers.float16.convert_float_to_float16", broken)
    with pytest.raises(ModelError, match=r"'net' cannot be converted to FP16(.|\n)*node X: no such thing") as found:
        to_fp16(load("builtin:classifier"), "net")
    assert "tensorrt" in str(found.value)
    assert isinstance(found.value.__cause__, AssertionError)


def test_converting_says_nothing_but_its_progress(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing on standard output or error, no file left behind, logging as it was; shares rise to 1."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))  # where nothing is calibrated yet
    monkeypatch.setattr("tempfile.tempdir", None)
    shares: list[float | None] = []
    to_int8(load("builtin:classifier"), frames_of(plan()), "m", lambda text, share: shares.append(share))
    to_fp16(load("builtin:classifier"), "m")
    assert capfd.readouterr() == ("", "")
    assert list(folder.iterdir()) == []
    assert logging.root.manager.disable == logging.NOTSET
    assert shares == sorted(shares, key=lambda share: share or 0)
    assert shares[-1] == 1


def test_only_a_few_frames_are_prepared_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked for in order, and none is kept by the reader."""
    asked: list[int] = []

    class Counting(PreparedInputs):
        def __getitem__(self, index: Any) -> Any:
            asked.append(index)
            return super().__getitem__(index)

    model = plan(batch=Batching(max=3))
    resolved = resolve(inspect(model.model), model)
    to_int8(load(model.model), Counting(model, resolved, decode_all(SYNTHETIC, 7)), "m")
    assert [index for index, before in zip(asked, [None, *asked], strict=False) if index != before][-3:] == [0, 1, 2]
    assert set(asked) == {0, 1, 2}


@pytest.mark.parametrize("half", [None, False, True])
@pytest.mark.parametrize("name", ["classifier", "detector"])
def test_tensorrt_rtx_builds_what_is_converted(half: bool | None, name: str, tmp_path: Path) -> None:
    """FP16, INT8, and INT8 with the rest in FP16 parse and build for a device that is not here."""
    trt = pytest.importorskip("tensorrt_rtx_bindings")
    proto, frames = load(f"builtin:{name}"), frames_of(plan(f"builtin:{name}"))[:2]
    proto = to_fp16(proto, name) if half is None else to_int8(proto, frames, name, half=half, narrow=saturates_int8())
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(proto.SerializeToString()), [str(parser.get_error(i)) for i in range(parser.num_errors)]
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM80, 0)
    shape = (1, *network.get_input(0).shape[1:])
    profile.set_shape("images", shape, shape, shape)
    config.add_optimization_profile(profile)
    assert builder.build_serialized_network(network, config) is not None


def test_a_network_that_is_quantised_already_is_left_as_it_is(tmp_path: Path) -> None:
    """Its own Q/DQ pairs are what int8 asks for: no frames to calibrate on, no other file."""
    proto = to_int8(load("builtin:classifier"), frames_of(plan("builtin:classifier"))[:2], "classifier")
    path = tmp_path / "quantised.onnx"
    path.write_bytes(proto.SerializeToString())
    assert variant(ModelPlan(name="m", model=str(path), precision="int8"), "int8") == str(path)


def test_operators_of_one_runtime_do_not_get_into_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """An optimisation that goes as far as operators of ONNX Runtime's own (fused convolutions) is left out."""
    level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    monkeypatch.setattr("onnxruntime.GraphOptimizationLevel", SimpleNamespace(ORT_ENABLE_BASIC=level))
    half = to_fp16(load("builtin:classifier"), "m")
    assert {node.domain for node in half.graph.node} == {""}
    assert kinds(half).count("Conv") == kinds(load("builtin:classifier")).count("Conv")


def test_operators_that_onnx_runtime_does_not_know_stay() -> None:
    """A plugin's operator cannot be optimised, but what is around it is converted."""
    nodes = [helper.make_node("Neg", ["x"], ["n"]), helper.make_node("Plugin", ["n"], ["y"], domain="mine")]
    proto = small(*nodes)
    proto.opset_import.append(helper.make_opsetid("mine", 1))
    half = to_fp16(proto, "m")
    assert {"Cast", "Neg", "Plugin"} == set(kinds(half))
    assert {o.domain for o in half.opset_import} == {"", "mine"}


@pytest.mark.long
def test_weights_that_do_not_fit_into_one_message_go_beside_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With the limit lowered, the same numbers come out of the same conversions by way of files."""
    own, frames = builtin.model_bytes("classifier"), frames_of(plan())
    x = frames[0]
    expected = [
        run(to_fp16(onnx.load_from_string(own), "m"), x),
        run(to_int8(onnx.load_from_string(own), frames, "m", narrow=saturates_int8()), x),
    ]
    monkeypatch.setattr("framepace.models.convert.optimised.LARGEST", 1 << 20)
    monkeypatch.setattr("framepace.models.convert.precision.LARGEST", 1 << 20)
    got = [
        run(to_fp16(onnx.load_from_string(own), "m"), x),
        run(to_int8(onnx.load_from_string(own), frames, "m", narrow=saturates_int8()), x),
    ]
    np.testing.assert_allclose(got[0], expected[0], atol=1e-4)
    np.testing.assert_allclose(got[1], expected[1], atol=1e-4)


def test_sides_of_minus_one_are_open_ones() -> None:
    """Older exporters write them so; onnx, which raises the opset, pools such a side to one of length zero."""
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [-1, 3, 8, -1])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    nodes = [
        onnx.helper.make_node("MaxPool", ["x"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        onnx.helper.make_node("Transpose", ["pooled"], ["columns"], perm=[3, 0, 1, 2]),
        onnx.helper.make_node("Reshape", ["columns", "rows"], ["y"]),
    ]
    rows = onnx.numpy_helper.from_array(np.array([0, 0, -1]), "rows")
    graph = onnx.helper.make_graph(nodes, "net", [x], [y], [rows])
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 11)], ir_version=8)
    before, after = (
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for model in (proto, raised(proto, 13))
    )
    picture = np.random.default_rng(0).random((2, 3, 8, 6), np.float32)
    assert np.array_equal(before.run(None, {"x": picture})[0], after.run(None, {"x": picture})[0])
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == -1


def test_sums_of_int8_products_saturate_on_x86_without_vnni(tmp_path: Path) -> None:
    """ARM adds them in 32 bits; where the kernel says nothing, nothing is known."""
    with_vnni = tmp_path / "with"
    without = tmp_path / "without"
    with_vnni.write_text("flags : avx2 avx512_vnni\n")
    without.write_text("flags : avx2\n")
    assert saturates("x86_64", without)
    assert not saturates("x86_64", with_vnni)
    assert not saturates("aarch64", without)
    assert not saturates("x86_64", tmp_path / "none")


def test_narrow_weights_keep_to_7_bits() -> None:
    """Sums of two of their products with 8 bits fit into 16."""
    model = plan("builtin:classifier@64x64")
    made = to_int8(load(model.model), frames_of(model)[:2], "m", narrow=True)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    pairs = [node for node in made.graph.node if node.op_type == "QuantizeLinear" and node.input[0] in arrays]
    largest = [np.abs(arrays[node.input[0]]).max() / arrays[node.input[1]].max() for node in pairs]
    assert len(largest) > 2
    assert max(largest) < 64.5
