"""ONNX Runtime in full: any option of a session or provider, layers from its profiler, its own file format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, save

from framepace import api
from framepace.backends.base import backend_for, get_backend
from framepace.backends.onnxruntime.entries import KNOWN, provider_entries, session_entries, unknown_entries
from framepace.backends.onnxruntime.layers import layers
from framepace.backends.onnxruntime.sizes import unused_sizes
from framepace.clock.system import SystemClock
from framepace.errors import UsageError
from framepace.facts.model import Layer
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Stop
from tests.gpus import missing


def network(path: Path) -> str:
    """A product and its positive part."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["p"], name="product"), helper.make_node("Relu", ["p"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("x", "y")]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 4], [1.0] * 16)
    graph = helper.make_graph(nodes, "network", values[:1], values[1:], [weights])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return str(path)


def test_any_entry_is_handed_on_in_the_words_of_the_library() -> None:
    """With or without its 'session.'; on and off are 1 and 0."""
    options: dict[str, str | int | float | bool] = {
        "session.set_denormal_as_zero": True,
        "session.optimization.enable_gelu_approximation": 0,
        "session.session.disable_prepacking": "1",
        "provider.arena_extend_strategy": "kSameAsRequested",
        "execution": "parallel",
    }
    assert session_entries(options) == {
        "session.set_denormal_as_zero": "1",
        "optimization.enable_gelu_approximation": "0",
        "session.disable_prepacking": "1",
    }
    assert provider_entries(options) == {"arena_extend_strategy": "kSameAsRequested"}
    assert list(unknown_entries(options)) == []
    assert "session.typo is not one" in next(unknown_entries({"session.typo": 1}))


def test_the_known_ones_have_a_line_of_help() -> None:
    """In the table of the backend's options, with its own."""
    assert KNOWN.items() <= get_backend("onnxruntime").options.items()


def test_an_optimisation_that_is_off_is_read_as_the_word(tmp_path: Path) -> None:
    """`--set option.optimisation=off` reads as a truth value, and is a level as in the help; true is none."""
    check = api.accuracy(network(tmp_path / "a.onnx"), settings={"option.optimisation": False}, versus={"threads": 1})
    assert check.agreement.passed
    with pytest.raises(UsageError, match="optimisation"):
        api.bench(network(tmp_path / "a.onnx"), settings={"option.optimisation": True}, stop=Stop(count=1))


def test_an_unknown_entry_is_a_note_and_an_unknown_option_an_error(tmp_path: Path) -> None:
    """ONNX Runtime itself takes any key without a word."""
    path = network(tmp_path / "n.onnx")
    session = get_backend("onnxruntime").load(
        ModelPlan(name="n", model=path, options={"session.typo": 1}), SystemClock()
    )
    assert "session.typo" in session.notes[0]
    session.close()
    with pytest.raises(UsageError, match="unknown option"):
        get_backend("onnxruntime").load(ModelPlan(name="n", model=path, options={"typo": 1}), SystemClock())


RAN = {"cat": "Session", "name": "model_run", "ts": 0, "dur": 9}


def event(name: str, kind: str, ts: int, dur: int) -> dict[str, Any]:
    """What the profile says of a node that ran on the CPU, in us."""
    sizes = dict.fromkeys(("activation_size", "parameter_size", "output_size"), "8")
    args = {"op_name": kind, "provider": "CPUExecutionProvider", **sizes}
    return {"cat": "Node", "name": f"{name}_kernel_time", "tid": 1, "ts": ts, "dur": dur, "args": args}


def test_layers_are_medians_without_the_first_inferences() -> None:
    """Of events of nodes, in ns; an inference ends with an event of the session."""
    events = [each for dur in (500, 400, 10, 12, 11) for each in (event("a", "Conv", 0, dur), RAN)]
    assert layers(events) == (Layer(name="a", kind="Conv", place="cpu", time=11_000.0, bytes=24),)


def test_a_loop_takes_what_its_nodes_leave_and_they_take_all_of_their_turns() -> None:
    """Times add up to the inference's: the loop's 100 us hold three turns of 30 us, and a node follows at once."""
    turns = [event("inner", "MatMul", start, 30) for start in (10, 45, 70)]
    nodes = [*turns, event("loop", "Loop", 10, 100), event("after", "Relu", 110, 5), RAN]
    told = layers(nodes + nodes)
    assert {layer.name: layer.time for layer in told} == {"inner": 90_000, "loop": 10_000, "after": 5_000}
    assert {layer.name: layer.bytes for layer in told} == {"inner": 72, "loop": 24, "after": 24}


def test_on_a_gpu_a_layer_takes_what_its_kernels_take() -> None:
    """A node's event is its launch there; kernels name it as their parent. Without kernels there is no time."""
    shape = [{"float16": [1, 8]}]
    described = {
        "op_name": "Conv", "provider": "CUDAExecutionProvider", "output_type_shape": shape, "input_type_shape": shape,
        "activation_size": "16", "parameter_size": "4", "output_size": "16",
    }  # fmt: skip
    node = {"cat": "Node", "name": "a_kernel_time", "tid": 1, "ts": 0, "dur": 900, "args": described}
    kernel = {"cat": "Kernel", "name": "sm90_conv", "dur": 3, "args": {"parent_name": "a_kernel_time"}}
    expected = Layer(name="a", kind="Conv", place="cuda", precision="fp16", shape=(1, 8), bytes=36)
    assert layers([node, RAN, node, RAN]) == (expected,)
    assert layers([node, kernel, kernel, RAN, node, RAN, kernel, kernel]) == (replace(expected, time=6_000.0),)


def test_what_was_fused_is_told_by_the_nodes_of_the_file() -> None:
    """Every operator of a built-in network belongs to one layer, and tensors lead from the input to the output."""
    session = get_backend("onnxruntime").load(ModelPlan(name="n", model="builtin:classifier", threads=1), SystemClock())
    told = session.layers()
    session.close()
    fused = [node for layer in told for node in layer.nodes]
    assert len(fused) == len(set(fused)) == 40
    assert any(("Relu" in node for node in layer.nodes) for layer in told if layer.kind == "Conv")
    assert told[0].inputs == ("images",)
    assert all(layer.bytes and layer.shape and layer.precision == "fp32" for layer in told)
    assert set(told[-1].inputs) <= {name for layer in told for name in layer.outputs}


@pytest.mark.skipif(missing("onnxruntime", "cuda") is not None, reason="no GPU for ONNX Runtime")
def test_layers_on_a_gpu_have_the_nodes_fused_into_them() -> None:
    """And the times of their kernels, all or none: a library without CUDA's profiling interface sees none."""
    plan = ModelPlan(name="n", model="builtin:classifier", device="cuda", graph=True)
    session = get_backend("onnxruntime").load(plan, SystemClock())
    told = [layer for layer in session.layers() if layer.place == "cuda"]
    session.close()
    assert {"Conv_0", "Conv_2"} <= {node for layer in told for node in layer.nodes}
    assert all(layer.bytes for layer in told if "Conv" in layer.kind)
    timed = [layer.time is not None for layer in told if "Conv" in layer.kind]
    assert all(timed) or not any(timed)


def test_the_profiler_tells_the_nodes_as_they_run(tmp_path: Path) -> None:
    """On the CPU, in a session of its own; no file of it stays."""
    session = get_backend("onnxruntime").load(ModelPlan(name="n", model=network(tmp_path / "n.onnx")), SystemClock())
    told = session.layers()
    session.close()
    assert {"MatMul", "Relu"} & {layer.kind for layer in told} or told[0].kind == "FusedMatMul"
    assert all(layer.time is not None and layer.time > 0 and layer.place == "cpu" for layer in told)
    assert [file.name for file in tmp_path.iterdir()] == ["n.onnx"]


def test_a_file_in_the_librarys_own_format_runs(tmp_path: Path) -> None:
    """Its inputs are read from it; nothing can be converted in it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.optimized_model_filepath = str(tmp_path / "n.ort")
    onnxruntime.InferenceSession(network(tmp_path / "n.onnx"), options, providers=["CPUExecutionProvider"])
    assert get_backend("onnxruntime").load(ModelPlan(name="n", model=str(tmp_path / "n.ort")), SystemClock()).layers()
    case = api.make_case(str(tmp_path / "n.ort"), scope="model")
    model = case.plan.models[0]
    assert model.name == "n"
    session = get_backend(model.backend).load(model, SystemClock())
    assert session.resolved.shapes == {"x": (1, 4)}
    session.worker().enqueue(0, 1)
    session.close()


@pytest.mark.parametrize(
    ("location", "backend"),
    [
        ("a.onnx", "onnxruntime"),
        ("a.ort", "onnxruntime"),
        ("builtin:detector", "onnxruntime"),
        ("a.pt2", "torch"),
        ("a.engine", "tensorrt"),
    ],
)
def test_the_backend_follows_from_the_kind_of_file(location: str, backend: str) -> None:
    """Where nobody names one."""
    assert backend_for(location) == backend


def test_int8_may_store_activations_unsigned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that is run is another one; any other word is refused."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path))
    plan = ModelPlan(name="n", model=network(tmp_path / "n.onnx"), precision="int8", calibration="synthetic")
    backend = get_backend("onnxruntime")
    for activations in ("int8", "uint8"):
        backend.load(replace(plan, options={"activations": activations}), SystemClock()).close()
    assert len(list((tmp_path / "variants").iterdir())) == 2
    with pytest.raises(UsageError):
        backend.load(replace(plan, options={"activations": "int16"}), SystemClock())


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({"sizes": (2, 4)}, True),
        ({"sizes": (8,)}, False),
        ({}, False),
    ],
)
def test_batch_sizes_that_are_not_run_are_told(fields: dict[str, Any], is_told: bool) -> None:
    """Where a convolution keeps one size on a GPU; that size is no surprise, and a CPU runs any."""
    model = ModelPlan(name="m", model="builtin:classifier", batch=Batching(max=8, **fields))
    assert bool(unused_sizes(model, "cuda")) == is_told
    assert not unused_sizes(model, "cpu")
