"""TensorRT without a GPU: RTX builds for a device that is not here; the rest is decided by rules."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

from framepace.errors import BackendError, ModelError, UsageError
from framepace.exec.gpu import Slot
from framepace.exec.models import Resolved, inspect, resolve
from framepace.exec.variant import variant
from framepace.facts.model import Layer, TensorSpec
from framepace.facts.plan import Batching, ModelPlan, Prepare

try:
    from framepace.exec.backends import tensorrt as backend
    from framepace.exec.trt import api, build, engine
except ImportError:
    pytest.skip("no TensorRT is installed", allow_module_level=True)

LIB = api.library()
ABSENT = build.Target("a device that is not here", "8.6", absent=True)
needs_rtx = pytest.mark.skipif(LIB.name != "tensorrt-rtx", reason="only RTX builds without a GPU")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def plan(model: str = "builtin:classifier", **fields: Any) -> ModelPlan:
    """A plan of the model for this backend."""
    return ModelPlan(name="net", model=model, backend="tensorrt", **fields)


def built(model: ModelPlan, tell: Any = lambda text, share: None) -> Path:
    """Its engine for the absent device."""
    location = variant(model, backend.file_precision(LIB, model.precision))
    resolved = resolve(inspect(location), model)
    return build.engine_file(LIB, model, location, resolved, ABSENT, tell)


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


def test_an_engine_of_another_version_is_refused(tmp_path: Path) -> None:
    """Bytes that are no engine of this version: the error says so, with the path and the version."""
    path = tmp_path / "old.engine"
    path.write_bytes(b"ftrt" + bytes(100))
    with pytest.raises(BackendError) as error:
        engine.load(LIB, path)
    assert str(path) in str(error.value)
    assert LIB.version in str(error.value)


def test_an_empty_or_missing_engine_is_a_sentence(tmp_path: Path) -> None:
    """Neither reaches the library."""
    (tmp_path / "empty.engine").write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        engine.load(LIB, tmp_path / "empty.engine")
    with pytest.raises(ModelError, match="cannot be read"):
        engine.load(LIB, tmp_path / "none.engine")


def library(*flags: str) -> api.Library:
    """A library whose builder has these flags."""
    trt = SimpleNamespace(BuilderFlag=SimpleNamespace(**dict.fromkeys(flags, 1)))
    return api.Library(trt, "tensorrt", "10.0", api.Words(), None)


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
        build._precision(lib, SimpleNamespace(set_flag=given.append), precision)
        assert len(given) == wanted


def test_layers_are_read_from_the_inspectors_json_with_their_times() -> None:
    """Fused names give their operators, formats the precision; times are medians, by name."""
    detailed = {
        "Name": "Conv_0 + Relu_1",
        "LayerType": "CaskConvolution",
        "Outputs": [{"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
    }
    text = json.dumps({"Layers": [detailed, "PWN(Sigmoid_2, Mul_3)"], "Bindings": ["images"]})
    times = {"Conv_0 + Relu_1": [0.3, 0.1, 0.2], "Reformat": [0.05]}
    layers = engine.with_times(engine.described(text), times)
    assert layers == (
        Layer(name="Conv_0 + Relu_1", time=0.2e6, kind="CaskConvolution", precision="fp16", place="cuda",
              nodes=("Conv_0", "Relu_1")),
        Layer(name="PWN(Sigmoid_2, Mul_3)", place="cuda", nodes=("Sigmoid_2", "Mul_3")),
        Layer(name="Reformat", time=0.05e6, place="cuda", nodes=("Reformat",)),
    )  # fmt: skip
    assert engine.described("no json") == []


class Context:
    """An execution context that does what is scripted."""

    def __init__(self, enqueues: bool = True, takes: bool = True) -> None:
        self.enqueues, self.takes = enqueues, takes
        self.shapes: list[tuple[int, ...]] = []
        self.addresses: list[tuple[str, int]] = []

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        """Note the shape."""
        self.shapes.append(tuple(shape))
        return self.takes

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        """Note the address."""
        self.addresses.append((name, pointer))
        return True

    def execute_async_v3(self, stream: int) -> bool:
        """As scripted."""
        return self.enqueues

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        """An output whose last dimension the data decide."""
        return (4, -1)


RESOLVED = Resolved((TensorSpec(name="x", dtype="float32", shape=(4, 2)),), None, frozenset({"x"}))
STREAM: Any = SimpleNamespace(handle=1)


def slot(pointer: int) -> Slot:
    """A slot whose input is at `pointer`."""
    memory: Any = SimpleNamespace(pointer=pointer, size=32, close=lambda: None)
    return Slot({"x": np.zeros((4, 2))}, {"x": memory}, {}, [])


def test_an_enqueue_that_returns_false_is_a_failed_request() -> None:
    """The return value is checked, and what the library logged is in the error."""
    launch = backend._Launch(LIB, Context(enqueues=False), RESOLVED, 4)
    LIB.words.add("profile 0 is in use by another context")
    with pytest.raises(BackendError, match="profile 0 is in use"):
        launch(0, slot(16), 4, STREAM)


def test_shapes_and_addresses_are_set_when_they_change() -> None:
    """Two slots and two counts: an address for each change of slot, a shape for each change of count."""
    context = Context()
    launch = backend._Launch(LIB, context, RESOLVED, 4)
    slots = [slot(16), slot(32)]
    for index, count in ((0, 4), (0, 4), (1, 4), (1, 2), (0, 2)):
        launch(index, slots[index], count, STREAM)
    assert context.shapes == [(4, 2), (2, 2)]
    assert [pointer for _, pointer in context.addresses] == [16, 32, 16]


def test_a_shape_that_the_engine_does_not_take_is_a_sentence() -> None:
    """A count outside the profile is a BackendError, not a run with the shape of before."""
    with pytest.raises(BackendError, match="does not take"):
        backend._Launch(LIB, Context(takes=False), RESOLVED, 4)


def test_outputs_whose_size_the_data_decide_are_refused() -> None:
    """The error names the output and what to do."""
    launch = backend._Launch(LIB, Context(), RESOLVED, 4)
    with pytest.raises(ModelError, match="depends on the data"):
        launch.outputs(["boxes"], SimpleNamespace(get_tensor_dtype=lambda name: "FLOAT"), "net")


def test_an_engine_built_for_other_shapes_is_refused() -> None:
    """Batch 8 on a profile up to 4."""
    fake = SimpleNamespace(
        get_tensor_shape=lambda name: (-1, 2), get_tensor_profile_shape=lambda name, i: ((1, 2), (4, 2), (4, 2))
    )
    engine.check_profile(fake, plan(), {"x": (4, 2)})
    with pytest.raises(ModelError, match="other shapes"):
        engine.check_profile(fake, plan(), {"x": (8, 2)})


def test_options_are_checked() -> None:
    """A level above 5, an unknown verbosity and an unknown tactic source are sentences."""
    from framepace.exec.backends.options import checked

    for options in ({"level": 9}, {"verbosity": "loud"}):
        with pytest.raises(UsageError):
            checked("tensorrt", backend._Options, options)
    with pytest.raises(UsageError, match="tactic"):
        build._tactics(LIB.trt, "no_such_source")


@needs_rtx
def test_without_a_driver_the_backend_says_what_is_missing() -> None:
    """Loading a model where no GPU can be used is a sentence, before anything is built."""
    from framepace.exec.backend import get_backend
    from framepace.exec.clock import SystemClock
    from tests.gpus import has_gpu

    if has_gpu():
        pytest.skip("there is a GPU")
    with pytest.raises((BackendError, UsageError), match=r"CUDA|cuda"):
        get_backend("tensorrt").load(replace(plan(), device="cuda"), SystemClock())
