"""Models: what a file is, and the shapes it runs with; nothing is guessed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from framepace.errors import FramepaceError, ModelError, UsageError
from framepace.exec import builtin
from framepace.exec.backend import get_backend
from framepace.exec.clock import SystemClock
from framepace.exec.models import inspect, resolve
from framepace.facts.plan import Batching, ModelPlan, Prepare


def model(path: Path, shape: list[int | str | None], opset: int = 17) -> str:
    """An ONNX file with one float input 'x' of that shape and a ReLU."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [given], [made])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    proto.ir_version = 8
    onnx.save(proto, str(path))
    return str(path)


def plan(location: str, **changes: object) -> ModelPlan:
    """A plan of the model."""
    return ModelPlan(name="m", model=location, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shape", "layout", "size"),
    [
        ([1, 3, 48, 64], "nchw", (48, 64)),
        ([1, 48, 64, 3], "nhwc", (48, 64)),
        (["n", 1, 48, 64], "nchw", (48, 64)),
        ([None, 3, "h", "w"], "nchw", (32, 96)),
    ],
)
def test_layout_and_size_follow_from_the_channels(
    tmp_path: Path, shape: list[int | str | None], layout: str, size: tuple[int, int]
) -> None:
    """One, three or four channels on one side decide; a size that is open is taken from the plan."""
    location = model(tmp_path / "m.onnx", shape)
    found = resolve(inspect(location), plan(location, size=None if 48 in shape else (32, 96))).image
    assert found is not None
    assert (found.layout, (found.height, found.width)) == (layout, size)


@pytest.mark.parametrize(
    ("shape", "changes", "asks"),
    [
        ([1, 3, 64, 3], {}, "--layout"),
        ([1, 48, 64, 7], {}, "--layout"),
        ([1, 3, "h", "w"], {}, "--size"),
        (["n", "k"], {}, "--shape"),
        ([1, 3, 48, 64], {"size": (32, 32)}, "fixed size"),
        ([1, 3, 48, 64], {"batch": Batching(max=4)}, "batch"),
        ([1, 3, 48, 64], {"shapes": {"z": (1, 3, 48, 64)}}, "no input 'z'"),
    ],
)
def test_what_is_not_clear_is_asked_not_guessed(
    tmp_path: Path, shape: list[int | str | None], changes: dict[str, object], asks: str
) -> None:
    """Each error names the option that answers it."""
    location = model(tmp_path / "m.onnx", shape)
    with pytest.raises(ModelError) as error:
        resolve(inspect(location), plan(location, **changes))
    assert asks in str(error.value)


def test_a_layout_that_is_given_is_taken(tmp_path: Path) -> None:
    """Three on both sides, and the user says nhwc."""
    location = model(tmp_path / "m.onnx", [1, 3, 64, 3])
    found = resolve(inspect(location), plan(location, prepare=Prepare(layout="nhwc"))).image
    assert found is not None
    assert (found.channels, found.height, found.width) == (3, 3, 64)


def test_an_opset_that_the_runtime_does_not_know_is_a_sentence(tmp_path: Path) -> None:
    """Opset 999 cannot be loaded; the error says which opset and what to do."""
    location = model(tmp_path / "m.onnx", [1, 3, 48, 64], opset=999)
    with pytest.raises(ModelError) as error:
        get_backend("onnxruntime").load(plan(location), SystemClock())
    assert "999" in str(error.value)


def test_a_precision_that_the_backend_cannot_make_is_refused() -> None:
    """fp16 on the CPU backend says to convert the file."""
    with pytest.raises(UsageError, match="precision"):
        get_backend("onnxruntime").load(plan("builtin:detector", precision="fp16"), SystemClock())


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x08\x08\x12\x05torch"])
def test_what_is_no_model_is_a_sentence(tmp_path: Path, content: bytes) -> None:
    """Empty, text, and a header without a graph."""
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(FramepaceError):
        inspect(str(path))


@pytest.mark.parametrize("name", builtin.names())
def test_a_built_in_model_is_valid_and_the_same_everywhere(name: str) -> None:
    """The checker accepts it, and its bytes are those that were published."""
    data = builtin.model_bytes(name)
    onnx.checker.check_model(onnx.load_model_from_string(data), full_check=True)
    assert hashlib.sha256(data).hexdigest()[:16] == PUBLISHED[name]


PUBLISHED = {
    "classifier": "98fe1bee044af807",
    "detector": "0a45aff9a953db68",
    "manykernels": "94fc70aafe6b87a9",
    "membound": "31391506b30631a4",
}
