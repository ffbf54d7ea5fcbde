"""Preparation folded into the graph: the same values as the host's, on real pictures, for any setting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from onnx import ModelProto, TensorProto, checker, helper

from framepace.errors import ModelError, PlanError
from framepace.facts.plan import ModelPlan, Prepare
from framepace.models import builtin
from framepace.models.convert.fold import fold
from framepace.models.spec import Resolved, inspect, resolve
from framepace.video.prepare import Preparer
from framepace.video.source import decode_all

KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}
HEIGHT, WIDTH = 24, 40


def network(
    shape: list[Any], kind: int = TensorProto.FLOAT, nodes: list[Any] | None = None, opset: int = 17
) -> ModelProto:
    """A model with an image input 'x'; without other nodes its output 'y' is the input."""
    made = nodes or [helper.make_node("Identity", ["x"], ["y"])]
    values = [helper.make_tensor_value_info(name, kind, shape) for name in "xy"]
    graph = helper.make_graph(made, "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    return model


def described(proto: ModelProto, model: ModelPlan, folder: Path) -> Resolved:
    """What the plan makes of the model."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return resolve(inspect(str(path)), model)


def plan(prepare: Prepare | None = None) -> ModelPlan:
    """A plan with that preparation."""
    return ModelPlan(name="m", model="model.onnx", prepare=prepare or Prepare())


def folded(proto: ModelProto, model: ModelPlan, folder: Path) -> ModelProto:
    """A copy of the model with its preparation folded in; checked by ONNX."""
    copy = ModelProto()
    copy.CopyFrom(proto)
    result = fold(copy, described(proto, model, folder), model)
    checker.check_model(result, full_check=True)
    return result


def run(proto: ModelProto, x: Any) -> Any:
    """First output of ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@st.composite
def settings_of(draw: Any) -> tuple[Prepare, int, str]:
    """A preparation, the channels and the dtype of the model's input."""
    channels = draw(st.sampled_from([1, 3]))
    each = st.floats(0.1, 2)
    per_channel = st.sampled_from([0, 1, channels])
    prepare = Prepare(
        scale=draw(st.sampled_from([1 / 255, 1.0, 1 / 127.5])),
        mean=tuple(draw(each) for _ in range(draw(per_channel))),
        std=tuple(draw(each) for _ in range(draw(per_channel))),
        resize=draw(st.sampled_from(["stretch", "letterbox"])),
        colour="gray" if channels == 1 else draw(st.sampled_from(["rgb", "bgr"])),
        layout=draw(st.sampled_from(["nchw", "nhwc"])),
    )
    return prepare, channels, draw(st.sampled_from(list(KINDS)))


@pytest.fixture(scope="module")
def pictures(bikes: Path) -> list[Any]:
    """Frames of a real video, and noise."""
    noise = np.random.default_rng(0).integers(0, 256, (36, 64, 3), dtype=np.uint8)
    return [*decode_all(str(bikes), 100)[::33], noise]


@settings(max_examples=60, deadline=None)
@given(case=settings_of(), which=st.integers(0, 3))
def test_a_folded_model_computes_what_the_host_would_have_prepared(
    pictures: list[Any], tmp_path_factory: pytest.TempPathFactory, case: tuple[Prepare, int, str], which: int
) -> None:
    """uint8 pixels through the graph are the host's values to one rounding of the model's dtype, for any setting."""
    prepare, channels, dtype = case
    layout = prepare.layout or "nchw"
    shape = [1, channels, HEIGHT, WIDTH] if layout == "nchw" else [1, HEIGHT, WIDTH, channels]
    proto = folded(network(shape, KINDS[dtype]), plan(prepare), tmp_path_factory.mktemp("m"))
    host, pixels = np.empty(shape, dtype), np.empty(shape, np.uint8)
    for array in (host, pixels):
        Preparer(prepare, (HEIGHT, WIDTH), layout, channels, str(array.dtype))(pictures[which], array[0])
    got = run(proto, pixels)
    assert got.dtype == host.dtype
    rounding = max(float(np.finfo(dtype).eps), 1e-15) * float(np.abs(host).max() + 40)
    np.testing.assert_allclose(got.astype(np.float64), host.astype(np.float64), rtol=0, atol=rounding)


def test_the_input_keeps_name_shape_and_place_and_becomes_bytes(tmp_path: Path) -> None:
    """Only its dtype changes; outputs and weights are as they were."""
    own = ModelProto.FromString(builtin.model_bytes("detector"))
    model = replace(plan(), size=(384, 640))
    result = folded(own, model, tmp_path)
    changed = result.graph.input[0]
    assert changed.type.tensor_type.elem_type == TensorProto.UINT8
    changed.type.tensor_type.elem_type = TensorProto.FLOAT
    assert changed == own.graph.input[0]
    assert list(result.graph.output) == list(own.graph.output)
    assert list(result.graph.initializer)[: len(own.graph.initializer)] == list(own.graph.initializer)


def test_arithmetic_that_does_nothing_is_left_out(tmp_path: Path) -> None:
    """Plain pixels need a cast; the default scale a product; only a mean a sum."""
    cases = {
        ("Cast",): Prepare(scale=1.0),
        ("Cast", "Mul"): Prepare(),
        ("Cast", "Add"): Prepare(scale=1.0, mean=(5.0,)),
        ("Cast", "Mul", "Add"): Prepare(mean=(0.5,)),
    }
    for kinds, prepare in cases.items():
        proto = folded(network([1, 3, 8, 8]), plan(prepare), tmp_path)
        assert tuple(node.op_type for node in proto.graph.node) == (*kinds, "Identity")


def test_readers_within_branches_are_rewired_too(tmp_path: Path) -> None:
    """Both branches of an If read the picture: each gets the prepared one, as the original does from the host."""
    shape = [1, 3, 8, 8]
    value = [helper.make_tensor_value_info("b", TensorProto.FLOAT, shape)]
    branches = [helper.make_graph([helper.make_node(kind, ["x"], ["b"])], kind, [], value) for kind in ("Neg", "Exp")]
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "sum"], ["no"]),
        helper.make_node("If", ["no"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    own = network(shape, nodes=nodes)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    got = run(folded(own, plan(), tmp_path), pixels)
    np.testing.assert_allclose(got, run(own, pixels.astype(np.float32) / np.float32(255)), rtol=1e-5)


def test_what_a_file_says_about_the_inner_tensor_stays_true(tmp_path: Path) -> None:
    """An exporter that lists the input among the inner values: its float type does not contradict the bytes."""
    own = network([1, 3, 8, 8])
    own.graph.value_info.append(own.graph.input[0])
    assert run(folded(own, plan(), tmp_path), np.full((1, 3, 8, 8), 255, np.uint8)).max() == pytest.approx(1)


def test_bytes_are_left_alone(tmp_path: Path) -> None:
    """A model that takes uint8 has nothing to fold."""
    own = network([1, 3, 8, 8], TensorProto.UINT8)
    assert folded(own, plan(), tmp_path) == own


@pytest.mark.parametrize(
    ("proto", "says"),
    [
        (network([1, 8]), "no image input"),
        (network([1, 3, 8, 8], TensorProto.INT32), "int32"),
        (network([1, 3, 8, 8], opset=6), "opset 6"),
    ],
)
def test_a_model_that_cannot_be_folded_says_why(proto: ModelProto, says: str, tmp_path: Path) -> None:
    """No picture, whole numbers, an opset without broadcasting: a sentence each."""
    with pytest.raises(ModelError, match=says):
        fold(proto, described(proto, plan(), tmp_path), plan())


def test_an_input_that_is_an_output_cannot_change(tmp_path: Path) -> None:
    """Its dtype is the output's as well."""
    own = network([1, 3, 8, 8])
    own.graph.output.append(own.graph.input[0])
    with pytest.raises(ModelError, match="output as well"):
        fold(own, described(own, plan(), tmp_path), plan())


def test_wrong_numbers_are_refused_as_on_the_host(tmp_path: Path) -> None:
    """Two means for three channels are a PlanError in both places."""
    prepare = Prepare(mean=(0.1, 0.2))
    own = network([1, 3, 8, 8])
    with pytest.raises(PlanError, match="one per channel"):
        fold(own, described(own, plan(prepare), tmp_path), plan(prepare))
    with pytest.raises(PlanError, match="one per channel"):
        Preparer(prepare, (8, 8), "nchw", 3, "float32")
