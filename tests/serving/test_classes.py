"""What a served model says of its classes and pictures, beside shapes and datatypes."""

from __future__ import annotations

from pathlib import Path

import grpc
import onnx
import pytest
from onnx import TensorProto, helper

from framepace.openinference.protos import INFERENCE, message
from framepace.serving.server import Server
from tests.serving.servers import add_model, ask, numbers, served

INFER = "/v2/models/simple/infer"
FIRST = {**numbers("INPUT0", 0), "data": [1.0, 4.0, 2.0, 3.0]}


@pytest.mark.parametrize(("names", "expected"), [(4, ["4.000000:1:b:1"]), (3, ["4.000000:1"]), (5, ["4.000000:1"])])
def test_classes_have_their_names_where_the_plan_has_as_many(tmp_path: Path, names: int, expected: list[str]) -> None:
    """A list of another length is one of something else."""
    file = tmp_path / "names.txt"
    file.write_text("\n".join(f"{letter}:{place}" for place, letter in enumerate("abcde"[:names])))
    outputs = [{"name": "OUTPUT0", "parameters": {"classification": 1}}]
    with served(add_model(tmp_path), {"batch": 4, "names": str(file)}) as named:
        answer = ask(named, "POST", INFER, {"inputs": [FIRST, numbers("INPUT1", 0)], "outputs": outputs})[1]
    assert answer["outputs"][0]["data"] == expected


def test_classes_have_the_names_in_the_models_file(tmp_path: Path) -> None:
    """As an exporter writes them."""
    path = add_model(tmp_path)
    model = onnx.load(path)
    helper.set_model_props(model, {"names": "{0: 'car', 1: 'dog', 2: 'cat', 3: 'bus'}"})
    onnx.save(model, path)
    outputs = [{"name": "OUTPUT1", "parameters": {"classification": 1}}]
    with served(path) as named:
        answer = ask(named, "POST", INFER, {"inputs": [FIRST, numbers("INPUT1", 0)], "outputs": outputs})[1]
    assert answer["outputs"][0]["data"] == ["4.000000:1:dog"]


def add_pictures(folder: Path, size: tuple[int, ...]) -> str:
    """A file of a model that takes pictures."""
    path = folder / "pictures.onnx"
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *size]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "pictures", tensors[:1], tensors[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return str(path)


def format_over_grpc(server: Server) -> str:
    """What the configuration says of the first input."""
    assert server.grpc is not None
    asked = message("ModelConfigRequest")(name="pictures").SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc.port}") as channel:
        answer = channel.unary_unary(f"/{INFERENCE}/ModelConfig")(asked, timeout=20)
    tensor = message("ModelConfigResponse").FromString(answer).config.input[0]
    return str(tensor.Format.Name(tensor.format))


@pytest.mark.parametrize(("name", "size"), [("FORMAT_NCHW", (3, 8, 8)), ("FORMAT_NHWC", (8, 8, 3))])
def test_the_configuration_says_where_a_picture_has_its_channels(
    tmp_path: Path, name: str, size: tuple[int, ...]
) -> None:
    """As Triton's programs for pictures ask it, over HTTP and gRPC; where the batch is one of its sizes, it cannot."""
    path = add_pictures(tmp_path, size)
    with served(path, {"batch": 2}, grpc_port=0) as batched:
        assert ask(batched, "GET", "/v2/models/pictures/config")[1]["input"][0]["format"] == name
        assert format_over_grpc(batched) == name
    with served(path) as single:
        assert "format" not in ask(single, "GET", "/v2/models/pictures/config")[1]["input"][0]
