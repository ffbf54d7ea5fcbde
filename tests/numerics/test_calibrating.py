"""Calibrations of INT8, judged on frames that none of them has seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from framepace import CalibrationStudy, ModelError, UsageError, calibrate
from framepace.facts.workload import Input
from framepace.numerics.calibrating import divided_frames
from framepace.numerics.quantisedgraph import quantised_nodes
from framepace.video.stills import png

value = helper.make_tensor_value_info


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four noisy pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(4):
        (folder / f"{number}.png").write_bytes(png(rng.integers(0, 256, (32, 32, 3), np.uint8)))
    return folder


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A convolution of a picture of 32x32."""
    weight = numpy_helper.from_array(np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], name="conv"), helper.make_node("Sigmoid", ["a"], ["y"])]
    graph = helper.make_graph(
        nodes, "g", [value("x", TensorProto.FLOAT, [1, 3, 32, 32])], [value("y", TensorProto.FLOAT, None)], [weight]
    )
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return str(path)


@pytest.fixture(scope="module")
def study(network: str, pictures: Path) -> CalibrationStudy:
    """Two methods on the folder alone."""
    return calibrate(network, pictures, methods=["minmax", "percentile"])


def test_every_second_picture_is_held_out(study: CalibrationStudy) -> None:
    """Each method on all that remain, then the best on fewer."""
    assert (study.available, study.held_out) == (2, 2)
    best = study.points[study.best].method
    assert [(point.method, point.frames) for point in study.points] == [("minmax", 2), ("percentile", 2), (best, 1)]
    assert study.passed
    assert study.speed is not None
    assert study.speed.int8_ns > 0


def test_no_picture_is_calibrated_on_and_judged_by(pictures: Path, tmp_path: Path) -> None:
    """Other videos judge where they are named; of one source the pictures are divided; one picture is refused."""
    alone = divided_frames(str(pictures), Input(), 32, 0)
    images = [[frame.to_ndarray().tobytes() for frame in part] for part in (alone.calibrated, alone.held_out)]
    assert not set(images[0]) & set(images[1])
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.png").write_bytes((pictures / "0.png").read_bytes())
    assert len(divided_frames(str(pictures), Input(videos=(str(other),)), 32, 0).calibrated) == 4
    with pytest.raises(UsageError, match="one frame"):
        divided_frames(str(other), Input(), 32, 0)


def test_what_cannot_be_calibrated_is_a_sentence(network: str, pictures: Path, tmp_path: Path) -> None:
    """No frames, an unknown method, a file that is in a low precision already."""
    with pytest.raises(UsageError, match="needs frames"):
        calibrate(network)
    with pytest.raises(UsageError, match="unknown method"):
        calibrate(network, pictures, methods=["median"])  # type: ignore[list-item]
    model = onnx.load(network)
    model.graph.node.append(helper.make_node("DequantizeLinear", ["q", "s"], ["d"]))
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.zeros(1, np.int8), "q"), numpy_helper.from_array(np.float32(1), "s")]
    )
    quantised = tmp_path / "quantised.onnx"
    onnx.save(model, quantised)
    with pytest.raises(UsageError, match="low precision already"):
        calibrate(str(quantised), pictures)
    del model.graph.node[:]
    model.graph.node.append(helper.make_node("Sigmoid", ["x"], ["y"]))
    onnx.save(model, quantised)
    with pytest.raises(ModelError, match="cannot be calibrated") as error:
        calibrate(str(quantised), pictures, methods=["percentile"])
    assert "no float node" in str(error.value)


def test_a_method_that_fails_is_a_note(pictures: Path, tmp_path: Path) -> None:
    """A histogram of a tensor that is the same everywhere cannot be made; the other methods go on."""
    constant = numpy_helper.from_array(np.full((1, 4, 8), 1e-30, np.float32), "c")
    shape = numpy_helper.from_array(np.array([1, 8, 384]), "s")
    made = [
        helper.make_node("Reshape", ["x", "s"], ["r"]),
        helper.make_node("Mul", ["r", "z"], ["n"]),
        helper.make_node("Add", ["n", "b"], ["flat"]),
        helper.make_node("MatMul", ["c", "flat"], ["y"]),
    ]
    weights = [
        constant,
        shape,
        numpy_helper.from_array(np.float32(0), "z"),
        numpy_helper.from_array(np.float32(1e8), "b"),
    ]
    graph = helper.make_graph(
        made, "g", [value("x", TensorProto.FLOAT, [1, 3, 32, 32])], [value("y", TensorProto.FLOAT, None)], weights
    )
    path = tmp_path / "flat.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    study = calibrate(str(path), pictures, methods=["percentile", "minmax"])
    assert [point.method for point in study.points] == ["minmax", "minmax"]
    assert "percentile failed" in study.notes[0]
    with pytest.raises(ModelError, match="cannot be calibrated"):
        calibrate(str(path), pictures, methods=["percentile"])


def nodes(*rows: tuple[str, str, str]) -> Any:
    """A graph of nodes (operator, input, output), each called as its output."""
    made = [helper.make_node(kind, [source], [target], name=target) for kind, source, target in rows]
    return helper.make_graph(made, "g", [], [])


def test_a_product_between_pairs_is_not_fused() -> None:
    """It reads a DequantizeLinear; integer kernels and what never was quantised are not meant."""
    graph = nodes(
        ("DequantizeLinear", "q", "a"), ("FusedConv", "a", "b"), ("QuantizeLinear", "b", "c"),
        ("QLinearConv", "c", "d"), ("DequantizeLinear", "d", "e"), ("Relu", "e", "f"), ("MatMul", "f", "g"),
    )  # fmt: skip
    counted = quantised_nodes(graph)
    assert (counted.integer, counted.unfused, counted.converting) == (1, ("b",), 3)
