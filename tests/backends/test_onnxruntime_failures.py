"""What ONNX Runtime says when an inference fails: caught, in one line, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx import TensorProto, helper, save

from framepace import api
from framepace.backends.onnxruntime.failures import advice, reason
from framepace.errors import FramepaceError, NothingSucceeded
from framepace.facts.settings import Case, apply
from framepace.facts.workload import Stop
from framepace.lab.lab import Lab

RESHAPE = (
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running If node. Name:'' Status Message: "
    "Non-zero status code returned while running Reshape node. Name:'to_rows' Status Message: "
    "/onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 onnxruntime::ReshapeHelper(const "
    "onnxruntime::TensorShape&, bool) input_shape_size == requested_shape_size was false. The input tensor cannot be "
    "reshaped to the requested shape. Input shape:{1,512}, requested shape:{7,11}\n"
)


def network(path: Path, batch: int | str = 1) -> str:
    """Reshapes its input to a single row of 8, whatever batch it says it takes."""
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"], name="to_row")]
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [1, 8 if batch != 1 else 7])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "network", [x], [y], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, path)
    return str(path)


def case(path: str, batch: int = 1) -> Case:
    """The model alone, as often as it runs."""
    made = api.make_case(path, scope="model", stop=Stop(count=50))
    return apply(made, {"batch": batch, "window-ms": 1000})  # batches are always full


def test_the_reason_is_that_of_the_innermost_node() -> None:
    """Neither the nodes around it nor the place in the library's source are of use to anybody."""
    words = "The input tensor cannot be reshaped to the requested shape. Input shape:{1,512}, requested shape:{7,11}"
    assert reason(RESHAPE) == f"Reshape node 'to_rows': {words}"
    assert reason("[ONNXRuntimeError] : 2 : INVALID_ARGUMENT : Got invalid dimensions") == "Got invalid dimensions"
    assert reason("anything else") == "anything else"


def test_a_batch_is_blamed_where_one_item_runs() -> None:
    """Otherwise the inputs are that nobody gave."""
    assert "batch=1" in advice(4, lambda: True, ["rate"])
    assert "--input NAME=VALUE" in advice(4, lambda: False, ["rate"])
    assert "rate" in advice(1, lambda: True, ["rate"])


def test_a_model_that_always_fails_ends_after_a_few_with_its_reason(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ten inferences, not fifty; the library's own log stays out of the terminal."""
    trace = api.bench(case(network(tmp_path / "n.onnx")), out=tmp_path / "trace")
    assert trace.meta.stopped == "failed"
    assert len(trace) == 10
    assert trace.meta.failure is not None
    assert trace.meta.failure.reason.startswith("ONNX Runtime cannot run it: Reshape node 'to_row': ")
    assert "--input NAME=VALUE" in trace.meta.failure.advice
    assert api.summary(trace).failed == 1.0
    assert capfd.readouterr() == ("", "")


def test_every_question_gets_the_reason_and_the_advice(tmp_path: Path) -> None:
    """The lab raises them, for all verbs: a batch that cannot run is one error, with the batch that can."""
    path = network(tmp_path / "n.onnx", "n")
    with Lab() as lab:
        with pytest.raises(FramepaceError, match="batches above 1 fail") as error:
            lab.run(case(path, batch=2))
        assert "Reshape node 'to_row'" in str(error.value)
        assert "--set batch=1" in (error.value.fix or "")
        with pytest.raises(NothingSucceeded, match="every inference failed: ONNX Runtime cannot run it: Reshape node"):
            lab.run(case(network(tmp_path / "never.onnx")))
        assert lab.run(case(path)).meta.failure is None
    assert NothingSucceeded.exit_code == 1
