"""Accuracy as a question: two ways to run a model, held against each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from framepace import ModelError, StoreError, UsageError, accuracy
from framepace.models.builtin import model_bytes
from framepace.reporting.views.accuracy import accuracy_view


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The classifier with one weight of its last layer turned round."""
    model = onnx.load_from_string(model_bytes("classifier"))
    weights = [tensor for tensor in model.graph.initializer if len(tensor.dims) > 1][-1]
    weights.CopyFrom(numpy_helper.from_array(-2 * numpy_helper.to_array(weights), weights.name))
    path = tmp_path_factory.mktemp("accuracy") / "wrong.onnx"
    onnx.save(model, path)
    return path


def test_a_setting_that_changes_no_arithmetic_gives_the_same_answers() -> None:
    """Each frame has an error of its own, and the worst of them is one of those."""
    check = accuracy("builtin:classifier", versus={"threads": 1}, frames=4)
    assert check.agreement.passed
    assert check.reference.threads != check.candidate.threads == 1
    for output in check.agreement.outputs:
        assert len(output.frames_l2) == check.agreement.frames == 4
        assert output.worst_l2 == max(error for error in output.frames_l2 if error is not None)


def test_another_file_with_other_answers_does_not_pass(wrong: Path) -> None:
    """The first is the reference; every sentence names the output and the number that fell short."""
    check = accuracy("builtin:classifier", wrong, frames=4)
    assert not check.agreement.passed
    assert (check.reference.model, check.candidate.model) == ("builtin:classifier", str(wrong))
    assert all(reason.startswith("output '") for reason in check.agreement.why)
    assert np.isclose(check.agreement.outputs[0].worst_l2 or 0, max(filter(None, check.agreement.outputs[0].frames_l2)))


def test_what_cannot_be_compared_is_a_sentence() -> None:
    """A model with itself, several models at once, no frames."""
    with pytest.raises(UsageError, match="nothing to compare"):
        accuracy("builtin:classifier")
    with pytest.raises(UsageError, match="one model is checked at a time"):
        accuracy(["builtin:classifier", "builtin:detector"], versus={"threads": 1})
    with pytest.raises(UsageError, match="frames"):
        accuracy("builtin:classifier", versus={"threads": 1}, frames=0)


def _overflowing(folder: Path, opset: int = 17) -> str:
    """A network whose square FP16 does not hold."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy")
    scale = numpy_helper.from_array(np.array(500.0, np.float32), "scale")
    nodes = [
        onnx.helper.make_node("Mul", ["x", "scale"], ["large"], name="large"),
        onnx.helper.make_node("Mul", ["large", "large"], ["square"], name="square"),
        onnx.helper.make_node("Sqrt", ["square"], ["y"], name="root"),
    ]
    graph = onnx.helper.make_graph(nodes, "net", [x], [y], [scale])
    path = folder / f"overflowing{opset}.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8), path)
    return str(path)


def test_fp16_is_emulated_where_no_device_computes_in_it(tmp_path: Path) -> None:
    """On a CPU: what overflows there is seen, and with the nodes that it needs in FP32 it passes."""
    model = _overflowing(tmp_path)
    check = accuracy(model, frames=2, worst=1, settings={"precision": "fp16"})
    assert not check.agreement.passed
    assert check.agreement.outputs[0].nonfinite > 0
    assert check.emulation is not None
    assert (check.emulation.node, check.emulation.largest) == ("square", 65504.0)
    assert check.emulation.reach is not None
    assert check.emulation.reach > 65504
    kept = accuracy(model, frames=2, settings={"precision": "fp16", "fp32-nodes": ["square", "root"]})
    assert kept.agreement.passed
    assert kept.emulation is not None
    assert kept.emulation.node == "large"
    with pytest.raises(UsageError, match="--first needs a device"):
        accuracy(model, frames=2, first=True, settings={"precision": "fp16"})


def test_what_is_nan_in_fp32_already_is_not_blamed_on_a_precision(tmp_path: Path) -> None:
    """Neither where it is emulated nor where two ways run: the model is fed wrong, or broken."""
    model = onnx.load(_overflowing(tmp_path))
    model.graph.node[1].CopyFrom(onnx.helper.make_node("Sub", ["scale", "large"], ["minus"], name="minus"))
    model.graph.node[2].CopyFrom(onnx.helper.make_node("Log", ["minus"], ["y"], name="log"))
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.array(-1.0, np.float32), "scale"))
    onnx.save(model, tmp_path / "nan.onnx")
    with pytest.raises(ModelError, match="NaN in FP32 already"):
        accuracy(str(tmp_path / "nan.onnx"), frames=2, settings={"precision": "fp16"})
    check = accuracy(str(tmp_path / "nan.onnx"), versus={"threads": 1}, frames=2)
    assert any("in the reference already" in reason for reason in check.agreement.why)


def test_bf16_is_emulated_for_files_older_than_its_cast(tmp_path: Path) -> None:
    """Opset 11 has no BF16; numbers as large as FP32's pass."""
    check = accuracy(_overflowing(tmp_path, opset=11), frames=2, settings={"precision": "bf16"})
    assert check.agreement.passed
    assert check.emulation is not None


def test_another_device_or_library_is_run_and_not_emulated(tmp_path: Path) -> None:
    """A second setting changes what is compared; the emulation answers for the precision alone."""
    assert accuracy(_overflowing(tmp_path), versus={"threads": 1}, frames=2).emulation is None
    with pytest.raises(UsageError, match="gains nothing"):
        accuracy(_overflowing(tmp_path), versus={"threads": 1, "precision": "fp16"}, frames=2)


def test_a_file_in_low_precision_is_not_held_against_itself(tmp_path: Path) -> None:
    """By its weights, or by Q/DQ pairs: run in FP32 it would be the same file."""
    half = onnx.load_from_string(model_bytes("classifier"))
    for tensor in half.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    onnx.save(half, tmp_path / "half.onnx")
    pairs = onnx.load_from_string(model_bytes("classifier"))
    pairs.graph.node.append(onnx.helper.make_node("DequantizeLinear", ["q", "s"], ["d"]))
    onnx.save(pairs, tmp_path / "int8.onnx")
    settings = {"precision": "int8", "calibration": "synthetic"}
    dynamic = onnx.load_from_string(model_bytes("classifier"))
    dynamic.graph.node.append(onnx.helper.make_node("MatMulInteger", ["q", "s"], ["d"]))
    onnx.save(dynamic, tmp_path / "dynamic.onnx")
    for name, format in (("half", "FP16"), ("int8", "INT8"), ("dynamic", "INT8")):
        with pytest.raises(UsageError, match="low precision already") as error:
            accuracy(str(tmp_path / f"{name}.onnx"), settings=settings)
        assert format in str(error.value)


def test_the_worst_frames_are_pictures_and_a_page(wrong: Path, tmp_path: Path) -> None:
    """As many as were asked for, the worst first, each a PNG of the frame's size; the page holds them all."""
    check = accuracy("builtin:classifier", wrong, frames=4, worst=2, out=tmp_path / "out")
    errors = [frame.error or 0.0 for frame in check.worst]
    assert errors == sorted(check.agreement.outputs[0].frames_l2, reverse=True, key=lambda error: error or 0.0)[:2]
    for frame in check.worst:
        start = Path(frame.picture or "").read_bytes()[:24]
        assert start.startswith(b"\x89PNG")
        assert (int.from_bytes(start[16:20]), int.from_bytes(start[20:24])) == (640, 360)
        assert frame.seconds == pytest.approx(frame.frame / 30, abs=0.05)
    page = Path(check.page or "").read_text()
    assert page.count("data:image/png;base64,") == 2
    assert f"frame {check.worst[0].frame} " in page


def test_a_file_of_other_origin_is_not_replaced_by_the_page(wrong: Path, tmp_path: Path) -> None:
    """Refused before anything is compared."""
    (tmp_path / "worst.html").write_text("mine")
    with pytest.raises(StoreError, match="already there"):
        accuracy("builtin:classifier", wrong, frames=1, worst=1, out=tmp_path)


def test_a_metric_decides(wrong: Path) -> None:
    """By the least that was asked for: the same scores pass and do not pass."""
    names = ("builtin:classifier", wrong)
    checks = [accuracy(*names, frames=4, metric="top5", least=least) for least in (1.0, 0.0)]
    assert [check.agreement.passed for check in checks] == [False, True]
    metric = checks[0].agreement.metric
    assert metric is not None
    assert len(metric.scores) == 4


def test_a_node_that_is_not_there_cannot_stay_in_fp32(tmp_path: Path) -> None:
    """A name that is mistyped would change nothing, and pass for the precision itself."""
    with pytest.raises(UsageError, match="no node of 'overflowing17' is called that") as error:
        accuracy(_overflowing(tmp_path), frames=2, settings={"precision": "fp16", "fp32-nodes": ["squares"]})
    assert error.value.fix == "did you mean 'square'?"


def test_a_model_without_pictures_sees_none_of_the_video(tmp_path: Path) -> None:
    """It is said to get values, and which of them are made up."""
    x, y = (onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 7]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Exp", ["x"], ["y"], name="exp")], "net", [x], [y])
    path = tmp_path / "exp.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)
    check = accuracy(str(path), videos=["never opened.mp4"], frames=2, settings={"precision": "fp16"})
    assert (check.pictures, check.videos) == (False, ())
    assert check.notes == ("x holds made-up values (0 to 1), for nobody gave any: --input x=VALUE",)


def test_ctrl_c_keeps_the_frames_that_were_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Emulated, and where both ways run; what is not whole does not go into the cache."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    stopped = _StopAt(2)
    emulated = accuracy(_overflowing(tmp_path), frames=4, tell=stopped, settings={"precision": "fp16"})
    assert (emulated.agreement.frames, emulated.agreement.complete) == (2, False)
    part = accuracy("builtin:classifier", versus={"threads": 1}, frames=4, tell=_StopAt(3))
    assert (part.agreement.frames, part.agreement.complete) == (3, False)
    assert "stopped before all frames were compared" in accuracy_view(part).notes
    whole = accuracy("builtin:classifier", versus={"threads": 1}, frames=4)
    assert (whole.agreement.frames, whole.agreement.complete) == (4, True)
    with pytest.raises(KeyboardInterrupt):
        accuracy("builtin:classifier", versus={"threads": 2}, frames=4, tell=_StopAt(0))


class _StopAt:
    """Ctrl-C after a number of frames."""

    def __init__(self, frames: int) -> None:
        self._left = frames

    def __call__(self, text: str, share: float | None) -> None:
        if text == "comparing outputs" or not self._left:
            self._left -= 1
            if self._left <= 0:
                raise KeyboardInterrupt


def test_a_converted_file_with_other_names_is_compared_in_the_order_of_its_outputs(tmp_path: Path) -> None:
    """A note says which is held against which; more outputs than the reference has are another model."""
    model = onnx.load_from_string(model_bytes("classifier"))
    for node in model.graph.node:
        node.input[:] = ["data" if name == model.graph.input[0].name else name for name in node.input]
        node.output[:] = ["scores" if name == model.graph.output[0].name else name for name in node.output]
    before = model.graph.output[0].name
    model.graph.input[0].name = "data"
    model.graph.output[0].name = "scores"
    onnx.save(model, tmp_path / "converted.onnx")
    check = accuracy("builtin:classifier", str(tmp_path / "converted.onnx"), frames=2)
    assert check.agreement.passed
    assert check.agreement.outputs[0].max_abs == 0
    assert check.agreement.notes == (
        f"outputs have other names, and are compared in their order: scores with {before}",
    )
    with pytest.raises(ModelError, match="not those of the reference") as error:
        accuracy("builtin:classifier", "builtin:detector", frames=2)
    assert error.value.fix


def test_two_files_for_pictures_of_other_sizes_are_told_to_be(tmp_path: Path) -> None:
    """They see other pixels, so that an error is of that, too; of one size there is nothing to say."""
    small = "builtin:classifier@64x64"
    assert accuracy(small, small, frames=1).notes == ()
    assert accuracy(small, "builtin:classifier@96x64", frames=1).notes == (
        "they take pictures of other sizes (64x64 and 96x64), so that they see other pixels: an error is of that, too",
    )
