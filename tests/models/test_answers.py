"""From a model file to the reader of its outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from framepace.facts.answers import Detections
from framepace.facts.plan import ModelPlan, Prepare
from framepace.facts.postprocess import Post
from framepace.models.answers import answer_reader
from framepace.models.spec import inspect, metadata, resolve


def model_file(folder: Path, **texts: str) -> str:
    """A network that gives rows of six numbers, with texts in its file."""
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, 64, 96))
    rows = helper.make_tensor_value_info("output0", TensorProto.FLOAT, (1, 3, 64, 96))
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["output0"])], "g", [picture], [rows])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    helper.set_model_props(model, texts)
    path = folder / "net.onnx"
    onnx.save(model, path)
    return str(path)


def test_a_reader_knows_the_files_names_the_input_and_the_preparation(tmp_path: Path) -> None:
    """Boxes are taken back from the letterbox of the plan, with the names of the file."""
    path = model_file(tmp_path, names="{0: 'cat', 1: 'dog'}", task="detect", end2end="True")
    assert metadata(path)["task"] == "detect"
    plan = ModelPlan(name="net", model=path, prepare=Prepare(resize="letterbox"))
    notes: list[str] = []
    read = answer_reader(plan, resolve(inspect(path), plan), notes.append)
    rows = np.array([[[16.0, 0, 80, 64, 0.9, 1]]], np.float32)
    answer = read({"output0": rows}, (128, 128))
    assert isinstance(answer, Detections)
    assert answer.boxes.tolist() == [[0, 0, 128, 128]]
    assert answer.names == ("cat", "dog")
    assert [note for note in notes if "read as yolo10" in note] == notes
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("resize", "texts", "count"),
    [
        ("stretch", {"author": "Ultralytics", "task": "detect"}, 1),
        ("letterbox", {"author": "Ultralytics", "task": "detect"}, 0),
        ("stretch", {"author": "Ultralytics", "task": "classify"}, 0),
        ("stretch", {"author": "Ultralytics", "task": "detect", "head": "RTDETRDecoder"}, 0),
        ("stretch", {}, 0),
    ],
)
def test_a_yolo_with_stretched_pictures_is_told(tmp_path: Path, resize: str, texts: dict[str, str], count: int) -> None:
    """With the setting that letterboxes them; other networks are not."""
    path = model_file(tmp_path, **texts)
    plan = ModelPlan(name="net", model=path, prepare=Prepare(resize=resize), post=Post(read="none"))  # type: ignore[arg-type]
    notes: list[str] = []
    answer_reader(plan, resolve(inspect(path), plan), notes.append)
    assert len([note for note in notes if "--set resize=letterbox" in note]) == count


def test_files_without_texts_have_none() -> None:
    """Built-in networks, and what is no ONNX file."""
    assert metadata("builtin:detector") == {}
    assert metadata("null") == {}
