"""TensorRT without a GPU: RTX builds for a device that is not here; the rest is decided by rules."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from framepace.errors import BackendError, ModelError, UsageError
from framepace.facts.model import Layer
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models.convert.variant import variant
from framepace.models.spec import inspect, resolve
from framepace.testing import FakeClock

try:
    from framepace.backends.tensorrt import backend, build, layers
    from framepace.backends.tensorrt.api import Library, Words, find_library
except ImportError:
    pytest.skip("no TensorRT is installed", allow_module_level=True)

LIB = find_library()
ABSENT = build.Target("a device that is not here", "8.6", absent=True)
needs_rtx = pytest.mark.skipif(LIB.name != "tensorrt-rtx", reason="only RTX builds without a GPU")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))


def plan(model: str = "builtin:classifier", **fields: Any) -> ModelPlan:
    """A plan of the model for this backend."""
    return ModelPlan(name="net", model=model, backend="tensorrt", **fields)


def built(model: ModelPlan, tell: Any = lambda text, share: None) -> Path:
    """Its engine for the absent device."""
    location = variant(model, backend.file_precision(LIB, model.precision))
    resolved = resolve(inspect(location), model)
    return build.engine_file(LIB, model, location, resolved, ABSENT, tell)


@pytest.mark.long
@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_for_a_device_that_is_not_here(precision: str) -> None:
    """Each precision that RTX has gives an engine; FP16 and INT8 ones are other files than FP32's."""
    path = built(plan(precision=precision, calibration="synthetic"))
    assert path.stat().st_size > 100_000
    assert path != built(plan()) or precision == "fp32"


@needs_rtx
def test_a_folded_model_builds() -> None:
    """A uint8 input with its arithmetic in the graph is accepted."""
    assert built(plan(prepare=Prepare(place="graph"), batch=Batching(max=4))).is_file()


@needs_rtx
def test_a_second_build_is_taken_from_the_cache_until_a_setting_changes() -> None:
    """The same plan is found; another batch, precision or builder option is built."""
    told: list[str] = []

    def tell(text: str, share: float | None) -> None:
        told.append(text)

    first = built(plan(), tell)
    count, made = len(told), first.stat().st_mtime_ns
    assert built(plan(), tell) == first
    assert (len(told), first.stat().st_mtime_ns) == (count, made)
    others = {built(plan(batch=Batching(max=2))), built(plan(options={"level": 1})), built(plan(precision="fp16"))}
    assert len(others | {first}) == 4


@needs_rtx
def test_progress_is_told_and_never_falls() -> None:
    """Shares of the build come in order, between 0 and 1."""
    shares: list[float | None] = []
    built(plan(), lambda text, share: shares.append(share))
    known = [share for share in shares if share is not None]
    assert known == sorted(known)
    assert 0 < known[0] <= known[-1] <= 1


@needs_rtx
@pytest.mark.parametrize("raises", ["tell", "signal"])
def test_a_build_is_ended_by_what_is_raised_meanwhile(raises: str) -> None:
    """Ctrl-C, and an error of whoever is told, end the build and arrive as what they are; nothing is kept."""

    def tell(text: str, share: float | None) -> None:
        told.append(text)
        if share is None:
            return
        if raises == "tell":
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGINT)

    told: list[str] = []
    # A process that was started in the background ignores Ctrl-C; here it is Python's own again.
    outside = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            built(plan(), tell)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, outside)
    assert len(told) == 2
    built(plan(), lambda text, share: told.append(text))
    assert len(told) > 3


@needs_rtx
def test_the_profile_reaches_from_one_frame_to_the_largest_batch() -> None:
    """As the builder holds it: least batch 1, optimal and largest that of the plan. The options are set too."""
    model = plan(batch=Batching(max=6), options={"level": 1, "aux_streams": 2, "workspace_mb": 64, "tf32": False,
                                                "verbosity": "names", "tactics": "jit_convolutions"})  # fmt: skip
    trt, builder = LIB.trt, build.builder_of(LIB)
    network = builder.create_network(LIB.network_flags)
    build._parse(LIB, trt.OnnxParser(network, LIB.logger), model.model, model.name)
    config = builder.create_builder_config()
    build.configure(LIB, config, model, ABSENT)
    resolved = resolve(inspect(model.model), model)
    made = build.profile(builder, config, network, resolved, model.name)
    (name, shape) = next(iter(resolved.shapes.items()))
    assert [tuple(s) for s in made.get_shape(name)] == [(1, *shape[1:]), shape, shape]
    assert shape[0] == 6
    assert (config.builder_optimization_level, config.max_aux_streams) == (1, 2)
    assert config.get_memory_pool_limit(trt.MemoryPoolType.WORKSPACE) == 64 << 20
    assert not config.get_flag(trt.BuilderFlag.TF32)
    assert config.profiling_verbosity == trt.ProfilingVerbosity.LAYER_NAMES_ONLY
    assert config.get_tactic_sources() == 1 << int(trt.TacticSource.JIT_CONVOLUTIONS)
    assert config.get_compute_capability(0) == trt.ComputeCapability.SM86


@needs_rtx
def test_other_weights_in_a_file_beside_the_model_are_another_engine(tmp_path: Path) -> None:
    """The ONNX file is the same; the key is not."""
    weights = helper.make_tensor("w", TensorProto.FLOAT, [64, 64], np.ones((64, 64), np.float32).tobytes(), raw=True)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:], [weights])
    path = tmp_path / "net.onnx"
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    first, text = built(plan(str(path))), path.read_bytes()
    data = tmp_path / "net.data"
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\0")
    assert path.read_bytes() == text
    assert built(plan(str(path))) != first


@needs_rtx
def test_the_node_that_cannot_be_parsed_is_named(tmp_path: Path) -> None:
    """An operator that does not exist: the error has the node, the operator and what to do instead."""
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], name="odd_7")
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelError) as error:
        built(plan(str(tmp_path / "odd.onnx")))
    assert all(word in str(error.value) for word in ("odd_7", "NoSuchOperator", "onnxruntime"))


def library(*flags: str, version: str = "10.0", name: str = "tensorrt", **parts: Any) -> Library:
    """A library whose builder has these flags."""
    trt = SimpleNamespace(BuilderFlag=SimpleNamespace(**dict.fromkeys(flags, 1)), **parts)
    return Library(trt, name, version, Words(), None)


def test_precision_is_a_flag_where_there_are_flags_and_in_the_file_elsewhere() -> None:
    """8.6 has FP16 and INT8, 10 has BF16 too; 11 has none. INT8 is in the file everywhere, as Q/DQ."""
    old, newer, typed = library("FP16", "INT8"), library("FP16", "BF16", "INT8"), library("TF32")
    assert old.precisions() == ("fp32", "fp16", "int8")
    assert newer.precisions() == ("fp32", "fp16", "bf16", "int8")
    assert typed.precisions() == ("fp32", "fp16", "int8")
    asked = ("fp32", "fp16", "int8")
    assert [backend.file_precision(old, p) for p in asked] == [None, None, "int8"]
    assert [backend.file_precision(typed, p) for p in asked] == [None, "fp16", "int8"]
    with pytest.raises(UsageError, match="bf16"):
        build.refuse(old, "bf16")


def test_flags_are_set_for_the_precision_that_is_asked_for() -> None:
    """INT8 sets FP16 too, for what is not quantised; without flags none is set."""
    for lib, precision, wanted in (
        (library("FP16", "INT8"), "int8", 2),
        (library("FP16", "INT8"), "fp16", 1),
        (library("FP16", "INT8"), "fp32", 0),
        (library("TF32"), "fp16", 0),
    ):
        given: list[Any] = []
        build.set_precision(lib, SimpleNamespace(set_flag=given.append), precision)
        assert len(given) == wanted


def test_profiles_are_shared_by_a_preview_feature_in_8_6_alone() -> None:
    """From 10 on it is always on; the name is there and deprecated."""
    feature = SimpleNamespace(PROFILE_SHARING_0806="sharing")
    assert library(version="8.6.0", PreviewFeature=feature).profile_sharing == "sharing"
    assert library(version="10.3.0", PreviewFeature=feature).profile_sharing is None
    assert library(version="8.6.0").profile_sharing is None


def test_tactic_sources_are_bits_and_a_name_twice_is_one() -> None:
    """As the builder takes them."""
    trt = SimpleNamespace(TacticSource=SimpleNamespace(__members__={"CUBLAS": 0, "EDGE_MASK_CONVOLUTIONS": 3}))
    assert build.tactics(trt, "edge_mask_convolutions, cublas,cublas") == 0b1001


def test_an_error_of_8_6_names_the_node_by_its_number() -> None:
    """8.6 has no node_name: name and operator come from the graph; without a number the words are all there is."""
    nodes = [helper.make_node("Relu", ["x"], ["y"], name="first"), helper.make_node("Odd", ["y"], ["z"], name="second")]
    error = SimpleNamespace(node=lambda: 1, desc=lambda: "no importer\n registered")
    assert build.described(error, nodes) == "node second (Odd): no importer registered"
    assert build.described(SimpleNamespace(node=lambda: -1, desc=lambda: "bad file"), nodes) == "node -1: bad file"


def test_errors_and_warnings_of_the_library_are_kept_apart() -> None:
    """What was said before `take` explains no later failure."""
    words = Words()
    words.add("an\nerror")
    words.warn("Using an engine plan file across different models of devices is not recommended")
    assert len(words.warnings("different models")) == 1
    assert words.take() == "an error"
    assert words.take() == "TensorRT gave no reason"
    assert words.warnings("different models") == ()


def test_layers_are_read_from_the_inspectors_json_with_their_times() -> None:
    """Fused names give their operators, formats the precision; times are medians, by name."""
    half = "Channel major FP16 format where channel % 8 == 0"
    old = {"Name": "Conv_0 + Relu_1", "LayerType": "CaskConvolution", "Outputs": [{"Format/Datatype": half}]}
    new = {
        "Name": "__myl_ConvAdd_0x1",
        "LayerType": "fusion",
        "Inputs": [{"Format/Datatype": "Int8"}],
        "Outputs": [{"Format/Datatype": "Half"}],
        "Metadata": "[ONNX Layer: /a/Conv]\x1e[ONNX Layer: /b/Add[1]]\x1f[ONNX Layer: /a/Conv]",
    }
    text = json.dumps({"Layers": [old, "/c/Conv + PWN(Sigmoid_2, Mul_3)", new], "Bindings": ["images"]})
    copy = "Reformatting CopyNode for Input Tensor 0 to Conv_0 + Relu_1"
    times = {"Conv_0 + Relu_1": [0.3, 0.1, 0.2], copy: [0.05], "never": []}
    assert layers.with_times(layers.described(text), times) == (
        Layer(name="Conv_0 + Relu_1", time=0.2e6, kind="CaskConvolution", precision="fp16", place="cuda",
              nodes=("Conv_0", "Relu_1")),
        Layer(name="/c/Conv + PWN(Sigmoid_2, Mul_3)", place="cuda", nodes=("/c/Conv", "Sigmoid_2", "Mul_3")),
        Layer(name="__myl_ConvAdd_0x1", kind="fusion", precision="int8", place="cuda", nodes=("/a/Conv", "/b/Add[1]")),
        Layer(name=copy, time=0.05e6, place="cuda"),
    )  # fmt: skip
    named = {
        "Name": "conv",
        "Inputs": [{"Name": "x", "Dimensions": [1, 3, 8, 8], "Format/Datatype": "Half"}],
        "Outputs": [{"Name": "y", "Dimensions": [1, 4, 8, 8], "Format/Datatype": "Half"}],
        "Weights": {"Type": "Half", "Count": 12},
    }
    (conv,) = layers.described(json.dumps({"Layers": [named]}))
    assert (conv.inputs, conv.outputs, conv.shape, conv.bytes) == (("x",), ("y",), (1, 4, 8, 8), 384 + 512 + 24)
    named["Outputs"] = [{"Name": "y", "Dimensions": [-1, 4], "Format/Datatype": "Half"}]
    assert layers.described(json.dumps({"Layers": [named]}))[0].bytes is None
    assert layers.described("no json") == layers.described("[]") == layers.described('{"Layers": null}') == []
    assert layers.nodes_of("{ForeignNode[Transpose_0...Add_9]}") == ("Transpose_0", "Add_9")
    words = ("Row major linear FP32", "BFloat16", "Half", "Thirty-two wide channel vectorized row major Int8 format.")
    read = [layers._format([{"Format/Datatype": text}]) for text in words]
    assert read == ["fp32", "bf16", "fp16", "int8"]


def test_options_are_checked() -> None:
    """Texts become numbers; a level above 5, an unknown word, tactic source or option is a sentence."""
    from framepace.backends.options import checked

    assert checked("tensorrt", backend._Options, {"level": "4", "tf32": "false"}) == {"level": 4, "tf32": False}
    for options in ({"level": 9}, {"verbosity": "loud"}, {"module": "tensorflow"}, {"workspace_mb": 0}):
        with pytest.raises(UsageError):
            checked("tensorrt", backend._Options, options)
    with pytest.raises(UsageError, match="tactic"):
        build.tactics(LIB.trt, "no_such_source")
    with pytest.raises(UsageError, match="levels"):
        backend.TensorRTBackend().load(plan(options={"levels": 3}), FakeClock())


@needs_rtx
def test_a_library_that_is_not_installed_is_a_sentence() -> None:
    """Only RTX is here."""
    with pytest.raises(UsageError, match="'tensorrt' cannot be used"):
        backend.TensorRTBackend().load(plan(options={"module": "tensorrt"}), FakeClock())


@needs_rtx
def test_without_a_driver_the_backend_says_what_is_missing() -> None:
    """Loading a model where no GPU can be used is a sentence, before anything is built."""
    from tests.gpus import has_gpu

    if has_gpu():
        pytest.skip("there is a GPU")
    with pytest.raises((BackendError, UsageError), match=r"CUDA|cuda"):
        backend.TensorRTBackend().load(plan(device="cuda"), FakeClock())
