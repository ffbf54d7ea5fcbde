"""Layers that stay in FP32 where precision is a flag of TensorRT's builder."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
from msgspec.structs import replace

from framepace.backends.tensorrt.keeping import keep_in_fp32
from framepace.models.convert.variant import variant
from tests.numerics.networks import Network

TRT = SimpleNamespace(float32="f32", BuilderFlag=SimpleNamespace(OBEY_PRECISION_CONSTRAINTS="obey"))


class Layer:
    """A layer that makes tensors of some types."""

    def __init__(self, name: str, *dtypes: str) -> None:
        self.name = name
        self.precision = ""
        self.types: dict[int, str] = {}
        self._dtypes = dtypes
        self.num_outputs = len(dtypes)

    def get_output(self, place: int) -> Any:
        """One of the tensors."""
        return SimpleNamespace(dtype=self._dtypes[place])

    def set_output_type(self, place: int, dtype: str) -> None:
        """What it is held to."""
        self.types[place] = dtype


def _kept(*layers: Layer, names: list[str]) -> tuple[int, list[str]]:
    flags: list[str] = []
    network = SimpleNamespace(num_layers=len(layers), get_layer=layers.__getitem__)
    count = keep_in_fp32(TRT, network, SimpleNamespace(set_flag=flags.append), names)
    return count, flags


def test_layers_of_the_named_nodes_and_no_others_are_held_to_fp32() -> None:
    """A node that becomes several layers is kept in all of them; what makes no floats is left alone."""
    square, again, other, shape = (
        Layer("/norm/Pow", "f32"), Layer("/norm/Pow_12", "f32", "int64"), Layer("/norm/Powder", "f32"),
        Layer("/norm/Shape", "int64"),
    )  # fmt: skip
    count, flags = _kept(square, again, other, shape, names=["/norm/Pow", "/norm/Shape"])
    assert (count, flags) == (2, ["obey"])
    assert [layer.precision for layer in (square, again, other, shape)] == ["f32", "f32", "", ""]
    assert again.types == {0: "f32"}


def test_without_a_layer_to_keep_the_builder_is_free() -> None:
    """The flag costs speed, so it is set only where something is to be obeyed."""
    assert _kept(Layer("conv", "f32"), names=[]) == (0, [])


def test_the_file_for_such_a_builder_has_the_names_that_the_plan_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In FP32, with nodes as the converter names them: those that exporters left without a name too."""
    monkeypatch.setenv("FRAMEPACE_CACHE", str(tmp_path / "cache"))
    network = Network()
    network.conv("first", "x", 3, 4)
    network.add("HardSwish", "bent", "first")
    network.nodes[1].name = ""
    plan = network.plan(tmp_path, "bent")
    nodes = {node.name for node in onnx.load(variant(replace(plan, precision="fp16"), "named")).graph.node}
    assert "first" in nodes
    assert "Mul:bent" in nodes
    graph = onnx.load(variant(replace(plan, precision="fp16", fp32_nodes=("Mul:bent",)), "named")).graph
    assert {weight.data_type for weight in graph.initializer} == {onnx.TensorProto.FLOAT}
