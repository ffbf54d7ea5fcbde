"""`framepace layers` for networks of text: what it asks for can be given to it."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from framepace import ModelError
from framepace.cli.app import app


@pytest.fixture
def text_network(tmp_path: Path) -> str:
    """An embedding of eight words and a product, whose batch and length are open."""
    weights = [
        numpy_helper.from_array(np.ones((8, 4), np.float32), "words"),
        numpy_helper.from_array(np.ones((4, 4), np.float32), "product"),
    ]
    nodes = [
        helper.make_node("Gather", ["words", "input_ids"], ["embedded"]),
        helper.make_node("MatMul", ["embedded", "product"], ["states"]),
    ]
    graph = helper.make_graph(
        nodes,
        "text",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "tokens"])],
        [helper.make_tensor_value_info("states", TensorProto.FLOAT, ["batch", "tokens", 4])],
        weights,
    )
    path = tmp_path / "text.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return str(path)


def test_the_answer_to_its_question_is_taken_as_it_stands(text_network: str) -> None:
    """--shape and --input as the error writes them, with which the layers are measured."""
    asked = CliRunner().invoke(app, ["layers", text_network, "--no-floors"])
    assert isinstance(asked.exception, ModelError)
    advice = str(asked.exception).partition("with your numbers: ")[2]
    assert "--shape input_ids=" in advice
    assert "--input input_ids=" in advice
    answered = CliRunner().invoke(app, ["layers", text_network, "--no-floors", *shlex.split(advice)])
    assert answered.exit_code == 0, answered.output
    assert "MatMul" in answered.output
