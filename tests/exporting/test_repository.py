"""Repositories for all kinds of models: what is written for each, and what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from framepace import api
from framepace.errors import StoreError, UsageError
from framepace.exporting.pbtxt import listed, loads
from framepace.exporting.repository import export
from framepace.facts.exported import Exported
from tests.cli.test_cli import framepace


def exported(folder: Path, model: str | list[str], settings: dict[str, Any] | None = None, **options: Any) -> Exported:
    """A repository of a model with settings."""
    runtime = options.pop("runtime", None)
    return export(api.make_case(model, settings=settings, **options).plan, folder, runtime=runtime)


def configuration(folder: Path, name: str) -> dict[str, Any]:
    """What a model's configuration says."""
    return loads((folder / name / "config.pbtxt").read_text())


def save(path: Path, inputs: dict[str, list[int | str]], weights: int = 4, beside: bool = False) -> str:
    """A network that adds a constant to its first input."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()]
    first, *others = inputs
    nodes = [helper.make_node("Add", [first, "w"], ["a"])]
    nodes += [helper.make_node("Identity", [name], [f"same_{name}"]) for name in others]
    outputs = [helper.make_tensor_value_info("a", TensorProto.FLOAT, inputs[first])]
    outputs += [helper.make_tensor_value_info(f"same_{name}", TensorProto.FLOAT, inputs[name]) for name in others]
    constant = numpy_helper.from_array(np.ones(weights, np.float32), "w")
    graph = helper.make_graph(nodes, "g", values, outputs, [constant])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path, save_as_external_data=beside, location="weights.bin", size_threshold=0)
    return str(path)


def test_a_model_of_several_inputs_is_one_model(tmp_path: Path) -> None:
    """Nothing is prepared there: clients send tensors."""
    model = save(tmp_path / "two.onnx", {"x": ["batch", 4], "y": ["batch", 2]})
    made = exported(tmp_path / "r", model, {"batch": 2})
    assert made.files == ("two/1/model.onnx", "two/config.pbtxt")
    said = configuration(tmp_path / "r", "two")
    assert [part["dims"] for part in listed(said, "input")] == [[4], [2]]
    assert said["max_batch_size"] == 2


def test_a_fixed_batch_is_written_as_it_is(tmp_path: Path) -> None:
    """The whole shape, without batches, and without a queue's policy."""
    model = save(tmp_path / "fixed.onnx", {"x": [1, 4]})
    exported(tmp_path / "r", model)
    said = configuration(tmp_path / "r", "fixed")
    assert (said["max_batch_size"], said["input"]["dims"]) == (0, [1, 4])
    assert "dynamic_batching" not in said


def test_weights_beside_a_file_are_copied(tmp_path: Path) -> None:
    """Under the name that the file has for them."""
    model = save(tmp_path / "big.onnx", {"x": ["batch", 4]}, beside=True)
    made = exported(tmp_path / "r", model)
    assert "big/1/weights.bin" in made.files
    assert onnx.load(tmp_path / "r" / "big" / "1" / "model.onnx").graph.initializer[0].raw_data


def test_torchscript_does_not_say_its_outputs(tmp_path: Path, scripted: str) -> None:
    """Triton has to know how many axes they have: nothing is guessed."""
    pytest.importorskip("torch")
    with pytest.raises(UsageError, match="how many axes output"):
        exported(tmp_path / "r", scripted, shapes={"picture": (1, 3, 32, 32)})


def test_several_models_stand_side_by_side(tmp_path: Path) -> None:
    """Each with its own answers."""
    made = exported(tmp_path / "r", ["builtin:classifier", "builtin:detector"], {"prepare-place": "graph"})
    assert made.models == ("classifier", "detector")
    assert {answer.model for answer in made.answers} == {"classifier", "detector"}


def test_states_and_values_are_the_clients(tmp_path: Path) -> None:
    """What a plan gives its inputs is said: a server has no such thing."""
    model = save(tmp_path / "state.onnx", {"x": [1, 4], "h": [1, 2]})
    made = exported(tmp_path / "r", model, states={"h": "same_h"}, inputs={"x": "1"})
    assert any("send h back" in note for note in made.notes)
    assert any("values of x" in note for note in made.notes)


@pytest.mark.parametrize(
    ("model", "settings", "runtime", "words"),
    [
        ("null", {"backend": "null"}, None, "no file to export"),
        ("builtin:classifier", {}, "tensorrt", "does not run such a file"),
        ("builtin:classifier", {}, "nix", "unknown runtime"),
        ("builtin:classifier", {"precision": "bf16", "backend": "torch"}, None, "runs no bf16"),
    ],
)
def test_what_cannot_be_exported_is_a_sentence(
    tmp_path: Path, model: str, settings: dict[str, Any], runtime: str | None, words: str
) -> None:
    """And nothing is written."""
    with pytest.raises(UsageError, match=words):
        exported(tmp_path / "r", model, settings, runtime=runtime)
    assert not (tmp_path / "r").exists()


def test_models_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    """Unless it is asked for."""
    plan = api.make_case("builtin:classifier").plan
    export(plan, tmp_path)
    with pytest.raises(StoreError, match="has that model already"):
        export(plan, tmp_path)
    export(plan, tmp_path, overwrite=True)


def test_the_command_shows_what_became_of_the_settings(tmp_path: Path) -> None:
    """Those that the plan changes, with their cost; Ctrl-C and pipes are those of every command."""
    command = ("export", "builtin:classifier", tmp_path / "r", "--to", "triton", "--set", "heartbeat-ms=5")
    ended = framepace(*command)
    assert ended.returncode == 0
    assert "not expressible" in ended.stdout
    assert framepace(*command).returncode == 2
