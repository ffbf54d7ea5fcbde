"""What an ONNX file asks for: published counts, precisions, batches, and one implementation for all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.facts.bounds import ModelWork
from framepace.models.operations import model_work, network
from framepace.simulate.network import estimate

RESNET = "builtin:resnet50"


def resnet(precision: str = "fp32", batch: int = 1) -> ModelWork:
    """ResNet-50 at its published size."""
    return model_work(RESNET, {"images": (batch, 3, 224, 224)}, precision, batch=batch)


def saved(path: Path, nodes: list[tuple[str, list[str], str]], constants: dict[str, Any], dtype: int = 1) -> str:
    """A file with the input x (1, 8, 16) of that type, and the output y."""
    from onnx import helper, numpy_helper, save

    made = [helper.make_node(op, given, [out], name=out) for op, given, out in nodes]
    given = [helper.make_tensor_value_info("x", dtype, ["n", 8, 16])]
    weights = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(made, "g", given, [helper.make_tensor_value_info("y", dtype, None)], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return str(path)


def work_of(location: str, precision: str = "fp32", batch: int = 1) -> ModelWork:
    """The work of such a file."""
    return model_work(location, {"x": (batch, 8, 16)}, precision)


def test_resnet50_has_the_published_operations_and_weights() -> None:
    """4.09 G multiply-adds at 224 x 224 and 25.5 M weights (torchvision's table; without batch normalisations)."""
    work = resnet()
    assert work.flops == pytest.approx(2 * 4.09e9, rel=0.005)
    assert work.weights == pytest.approx(4 * 25.5e6, rel=0.005)
    assert work.unknown == 0


@pytest.mark.parametrize(("precision", "part"), [("fp16", 2), ("bf16", 2), ("int8", 4)])
def test_lower_precision_moves_fewer_bytes_and_computes_as_much(precision: str, part: int) -> None:
    """Two and four times fewer; the operations are the same, in that precision."""
    whole, less = resnet(), resnet(precision)
    assert whole.bytes == part * less.bytes
    assert whole.flops == less.flops
    assert {node.precision for node in less.nodes} == {precision}


def test_a_batch_multiplies_operations_and_activations_but_reads_weights_once() -> None:
    """b items: b times the operations and the activations, the same weights."""
    one, four = resnet(), resnet(batch=4)
    assert four.flops == 4 * one.flops
    assert four.weights == one.weights
    assert four.bytes - four.weights == 4 * (one.bytes - one.weights)


def test_a_product_is_counted_by_hand(tmp_path: Path) -> None:
    """(1, 8, 16) x (16, 4): 2 * 8 * 4 * 16 operations; it reads 128 floats and 64 weights and writes 32."""
    path = saved(tmp_path / "m.onnx", [("MatMul", ["x", "w"], "y")], {"w": np.ones((16, 4), np.float32)})
    (node,) = work_of(path).nodes
    assert node.flops == 1024
    assert (node.reads, node.weights, node.writes) == ((("x", 512),), (("w", 256),), (("y", 128),))


@pytest.mark.parametrize(("kind", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_a_recurrent_layer_is_counted_by_hand(kind: str, gates: int, tmp_path: Path) -> None:
    """One step of 8 items, 16 numbers and a state of 4, for each gate: 2 * 8 * 4 * (16 + 4) operations."""
    weights = {"w": np.ones((1, 4 * gates, 16), np.float32), "r": np.ones((1, 4 * gates, 4), np.float32)}
    (node,) = work_of(saved(tmp_path / "m.onnx", [(kind, ["x", "w", "r"], "y")], weights)).nodes
    assert node.flops == gates * 2 * 8 * 4 * (16 + 4)


def test_activations_and_reshapes_are_no_kernels_and_share_their_memory(tmp_path: Path) -> None:
    """Relu and Identity between two products: two kernels, the second reads what the first wrote."""
    weights = {"w": np.ones((16, 16), np.float32)}
    nodes = [("MatMul", ["x", "w"], "a"), ("Relu", ["a"], "b"), ("Identity", ["b"], "c"), ("MatMul", ["c", "w"], "y")]
    work = work_of(saved(tmp_path / "m.onnx", nodes, weights))
    assert [node.name for node in work.nodes] == ["a", "y"]
    assert work.nodes[0].writes == work.nodes[1].reads
    assert work.weights == 1024  # shared, and counted once


def test_a_file_in_float16_computes_in_it_whatever_the_plan_says(tmp_path: Path) -> None:
    """The plan's fp32 leaves the file as it is: two bytes an element, at the peak of fp16."""
    path = saved(tmp_path / "h.onnx", [("MatMul", ["x", "w"], "y")], {"w": np.ones((16, 4), np.float16)}, dtype=10)
    (node,) = work_of(path).nodes
    assert (node.precision, node.bytes) == ("fp16", 2 * (128 + 64 + 32))


def test_a_product_between_quantisations_computes_in_int8(tmp_path: Path) -> None:
    """Q/DQ pairs are no kernels; what they feed reads one byte an element."""
    constants = {"w": np.ones((16, 4), np.int8), "s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    nodes = [
        ("QuantizeLinear", ["x", "s", "z"], "q"),
        ("DequantizeLinear", ["q", "s", "z"], "d"),
        ("DequantizeLinear", ["w", "s", "z"], "v"),
        ("MatMul", ["d", "v"], "y"),
    ]
    (node,) = work_of(saved(tmp_path / "q.onnx", nodes, constants)).nodes
    assert node.precision == "int8"
    assert (node.reads, node.weights) == ((("x", 128),), (("w", 64),))
    assert node.flops == 1024


@pytest.mark.parametrize(
    ("node", "dtype", "picked", "moved"),
    [(("Gather", ["table", "x"], "y"), 7, "table", 8 * 128 * 32), (("Slice", ["x", "zero", "one"], "y"), 1, "x", 4)],
)
def test_of_a_table_or_a_picture_only_what_is_picked_is_read(
    node: Any, dtype: int, picked: str, moved: int, tmp_path: Path
) -> None:
    """128 rows of 32 numbers from a table of 5,000 rows; one float of 128."""
    constants = {name: np.full(3, value, np.int64) for name, value in (("zero", 0), ("one", 1))}
    constants["table"] = np.ones((5000, 32), np.int64)
    (found,) = work_of(saved(tmp_path / "p.onnx", [node], constants, dtype)).nodes
    assert dict((*found.reads, *found.weights))[picked] == moved
    assert dict(found.writes) == {"y": moved}


def test_nodes_without_shapes_are_counted_as_not_known(tmp_path: Path) -> None:
    """NonZero has as many results as there are, which no file tells."""
    path = saved(tmp_path / "n.onnx", [("MatMul", ["x", "w"], "a"), ("NonZero", ["a"], "y")],
                 {"w": np.ones((16, 4), np.float32)})  # fmt: skip
    work = work_of(path)
    assert (work.unknown, work.flops) == (1, 1024)


def test_a_file_that_changed_is_read_again(tmp_path: Path) -> None:
    """The cache goes by the time of the last change."""
    import os

    path = tmp_path / "m.onnx"
    saved(path, [("MatMul", ["x", "w"], "y")], {"w": np.ones((16, 4), np.float32)})
    before = work_of(str(path)).flops
    saved(path, [("MatMul", ["x", "w"], "y")], {"w": np.ones((16, 8), np.float32)})
    os.utime(path, ns=(1, 1))
    assert work_of(str(path)).flops == 2 * before


def test_the_simulated_device_is_told_the_same_network() -> None:
    """One implementation: the estimate is that of the kernels here, and the detector's figures stay what they were."""
    shapes = {"images": (1, 3, 384, 640)}
    found, told = network("builtin:detector", shapes), estimate("builtin:detector", shapes)
    assert (told.kernels, told.gflops * 1e9) == (len(found.kernels), sum(kernel.flops for kernel in found.kernels))
    assert (told.kernels, told.gflops, told.mbytes, told.weights_mb) == (29, 0.41929728, 44.64384, 0.543904)
    assert told.blocks == pytest.approx(90.9993, rel=1e-5)


def test_a_network_without_products_has_no_arithmetic_on_the_simulated_device(tmp_path: Path) -> None:
    """What is known to be zero is not made up."""
    assert estimate(saved(tmp_path / "c.onnx", [("Neg", ["x"], "y")], {}), {"x": (1, 8, 16)}).gflops == 0
