"""Variants: preparation folded into the graph, FP16 and INT8, kept in the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, checker, helper, load, load_model_from_string

from framepace.errors import ModelError, UsageError
from framepace.exec import builtin, cache
from framepace.exec.calibration import prepared_inputs
from framepace.exec.models import inspect, resolve
from framepace.exec.prepare import Preparer
from framepace.exec.variant import variant
from framepace.facts.plan import ModelPlan, Prepare


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("FRAMEPACE_CACHE", str(folder))
    return folder


def plan(model: str = "builtin:classifier", **fields: Any) -> ModelPlan:
    """A plan of the model."""
    return ModelPlan(name="m", model=model, **fields)


def run(location: str, inputs: dict[str, Any]) -> Any:
    """First output of ONNX Runtime on the CPU."""
    source = builtin.model_bytes(location.removeprefix("builtin:")) if location.startswith("builtin:") else location
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def identity(tmp_path: Path, shape: list[Any], dtype: int = TensorProto.FLOAT) -> str:
    """A model that gives its input back, so that what preparation does is seen exactly."""
    node = helper.make_node("Identity", ["x"], ["y"], name="same")
    graph = helper.make_graph(
        [node],
        "identity",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info("y", dtype, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = tmp_path / "identity.onnx"
    path.write_bytes(model.SerializeToString())
    return str(path)


def test_nothing_to_change_is_the_model_itself(own_cache: Path) -> None:
    """Without a fold and another precision the model's own location comes back, and nothing is written."""
    assert variant(plan()) == "builtin:classifier"
    assert list(own_cache.rglob("*")) == []


prepares = st.builds(
    Prepare,
    scale=st.sampled_from([1 / 255, 1.0, 1 / 127.5]),
    mean=st.sampled_from([(), (0.5,), (0.485, 0.456, 0.406)]),
    std=st.sampled_from([(), (0.5,), (0.229, 0.224, 0.225)]),
    resize=st.sampled_from(["stretch", "letterbox"]),
    colour=st.sampled_from(["rgb", "bgr"]),
    layout=st.sampled_from(["nchw", "nhwc"]),
)


@settings(max_examples=20, deadline=None)
@given(prepare=prepares, seed=st.integers(0, 100))
def test_a_folded_model_gets_the_values_that_the_host_would_prepare(
    tmp_path_factory: pytest.TempPathFactory, prepare: Prepare, seed: int
) -> None:
    """uint8 pixels through the folded arithmetic are the host's floats within rounding, for any preparation."""
    shape = [1, 3, 24, 40] if prepare.layout == "nchw" else [1, 24, 40, 3]
    model = plan(identity(tmp_path_factory.mktemp("m"), shape), prepare=prepare)
    picture = np.random.default_rng(seed).integers(0, 256, (36, 64, 3), dtype=np.uint8)
    host = np.empty(shape, np.float32)
    Preparer(prepare, (24, 40), prepare.layout or "nchw", 3, "float32")(picture, host[0])
    from msgspec.structs import replace

    folded = replace(model, prepare=replace(prepare, place="graph"))
    location = variant(folded)
    image = resolve(inspect(location), folded).image
    assert image is not None
    assert image.dtype == "uint8"
    pixels = np.empty(shape, np.uint8)
    Preparer(prepare, (24, 40), prepare.layout or "nchw", 3, "uint8")(picture, pixels[0])
    np.testing.assert_allclose(run(location, {"x": pixels}), host, rtol=1e-5, atol=1e-5)


def test_a_folded_network_gives_the_same_answers() -> None:
    """The built-in classifier on the same pixels: probabilities equal to 1e-5, its other parts untouched."""
    location = variant(plan(prepare=Prepare(place="graph")))
    checker.check_model(load(location), full_check=True)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224), dtype=np.uint8)
    expected = run("builtin:classifier", {"images": pixels.astype(np.float32) / np.float32(255)})
    np.testing.assert_allclose(run(location, {"images": pixels}), expected, atol=1e-5)


def test_a_model_that_takes_bytes_is_left_alone(tmp_path: Path) -> None:
    """An input of uint8 has nothing to fold: the input stays as it is."""
    location = variant(plan(identity(tmp_path, [1, 3, 8, 8], TensorProto.UINT8), prepare=Prepare(place="graph")))
    assert inspect(location).inputs[0].dtype == "uint8"
    assert [node.op_type for node in load(location).graph.node] == ["Identity"]


def test_a_model_without_a_picture_cannot_be_folded(tmp_path: Path) -> None:
    """A rank-2 input is no image: an error that says so."""
    with pytest.raises(ModelError, match="no image input"):
        variant(plan(identity(tmp_path, [1, 8]), prepare=Prepare(place="graph")))


def test_fp16_keeps_inputs_and_outputs_and_halves_the_file() -> None:
    """The same interface, half of the bytes, answers within FP16's rounding."""
    location = variant(plan(), "fp16")
    own = builtin.model_bytes("classifier")
    assert inspect(location).inputs == inspect("builtin:classifier").inputs
    assert Path(location).stat().st_size < 0.6 * len(own)
    x = np.random.default_rng(1).random((1, 3, 224, 224), np.float32)
    expected, got = run("builtin:classifier", {"images": x}), run(location, {"images": x})
    assert got.dtype == np.float32
    assert np.abs(got - expected).max() < 0.01
    assert not np.array_equal(got, expected)


def test_int8_is_calibrated_on_frames_and_close() -> None:
    """Q/DQ pairs, no quantised bias; on the frames of the video answers are within a tenth, and the class stays."""
    model = plan("builtin:classifier", calibration="synthetic")
    location = variant(model, "int8")
    graph = load(location).graph
    kinds = [node.op_type for node in graph.node]
    assert "QuantizeLinear" in kinds
    assert not any(t.data_type == TensorProto.INT32 and t.dims and len(t.dims) == 1 and t.dims[0] > 1
                   and t.name.endswith("_quantized") for t in graph.initializer)  # fmt: skip
    for frame in list(prepared_inputs(model, resolve(inspect(model.model), model)))[::8]:
        expected, got = run(model.model, frame), run(location, frame)
        assert np.linalg.norm(got - expected) < 0.1 * np.linalg.norm(expected)
        assert got.argmax() == expected.argmax()


def test_int8_without_frames_says_how_to_give_them() -> None:
    """No calibration data: the setting that names it is in the error."""
    with pytest.raises(UsageError, match="calibration=VIDEO"):
        variant(plan(), "int8")


def test_bf16_cannot_be_put_into_a_file() -> None:
    """The error names what can."""
    with pytest.raises(UsageError, match="tensorrt 10"):
        variant(plan(), "bf16")


def test_a_variant_is_made_once_and_again_when_something_changes(own_cache: Path) -> None:
    """The second time the file is found; another mean, or another model, is another file."""
    told: list[str] = []
    tell = lambda text, share: told.append(text)  # noqa: E731
    first = variant(plan(prepare=Prepare(place="graph")), tell=tell)
    assert variant(plan(prepare=Prepare(place="graph")), tell=tell) == first
    assert len(told) == 1
    assert variant(plan(prepare=Prepare(place="graph", mean=(0.5,))), tell=tell) != first
    assert variant(plan("builtin:detector", prepare=Prepare(place="graph")), tell=tell) != first
    assert len(list(own_cache.rglob("*.onnx"))) == 3


def test_a_file_that_is_half_written_is_never_seen(own_cache: Path) -> None:
    """What fails while it is made leaves nothing in the cache."""

    def broken() -> bytes:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.cached("variants/x.onnx", broken)
    assert list(own_cache.rglob("*.onnx")) == []


def test_fold_and_fp16_together() -> None:
    """uint8 in, FP16 inside, float32 out: answers as FP16's."""
    location = variant(plan(prepare=Prepare(place="graph")), "fp16")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 224, 224), dtype=np.uint8)
    expected = run("builtin:classifier", {"images": pixels.astype(np.float32) / np.float32(255)})
    assert np.abs(run(location, {"images": pixels}) - expected).max() < 0.01
    assert load_model_from_string(Path(location).read_bytes()).graph.input[0].type.tensor_type.elem_type == 2
