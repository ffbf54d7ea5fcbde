"""What to do about sizes, as it is told: pasted, it works."""

from __future__ import annotations

import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from framepace.errors import FramepaceError
from tests.serving.servers import served


def add_network(folder: Path, name: str, *shape: int | str) -> str:
    """A network of one picture of that shape."""
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["y"])], name, [picture], [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    path = folder / f"{name}.onnx"
    onnx.save(model, str(path))
    return str(path)


def advice(models: Any, settings: dict[str, str]) -> dict[str, str]:
    """The settings that a refusal names."""
    with pytest.raises(FramepaceError) as caught, served(models, settings):
        pass
    assert caught.value.fix is not None
    words = shlex.split(caught.value.fix)
    options = dict(pairwise(words))
    if "--set" in options:
        name, _, value = options["--set"].rpartition("=")
        return {name: value}
    return {"size": options["--size"]}


@pytest.mark.parametrize("size", [None, "native"])
@pytest.mark.parametrize("name", ["open", "my.open", "an open one", "a.b"])
def test_the_size_of_one_of_several_models_is_set_in_it_alone(tmp_path: Path, name: str, size: str | None) -> None:
    """The others may take no other size than theirs; whatever the model is called."""
    models = [add_network(tmp_path, name, "n", 3, "h", "w"), add_network(tmp_path, "a", "n", 3, 64, 64)]
    settings = {} if size is None else {f"{name}.size": size}
    told = advice(models, settings)
    assert told == {f"{name}.size": "640x480"}
    with served(models, told) as server:
        assert server.repository.find(name).interface.inputs[0].shape == (1, 3, 480, 640)


@pytest.mark.parametrize("size", [None, "native"])
def test_the_size_of_the_only_model_is_an_option_of_its_own(tmp_path: Path, size: str | None) -> None:
    """Which is shorter."""
    model = add_network(tmp_path, "open", "n", 3, "h", "w")
    told = advice(model, {} if size is None else {"size": size})
    assert told == {"size": "640x480"}
    with served(model, told) as server:
        assert server.repository.ready
