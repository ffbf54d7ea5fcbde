"""Models: what a file is, and the shapes it runs with; nothing is guessed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.errors import FramepaceError, ModelError, UsageError
from framepace.facts.plan import Batching, ModelPlan, Prepare
from framepace.models import builtin
from framepace.models.spec import inspect, operators, resolve


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
        ([1, 3, "h", "w"], {}, "--size"),
        (["n", "k"], {}, "--shape"),
        ([1, 3, 48, 64], {"size": (32, 32)}, "fixed size"),
        ([1, 3, 48, 64], {"batch": Batching(max=4)}, "batch"),
        ([4, 3, 48, 64], {}, "use batch 4"),
        (["n", 3, 48, 64], {"shapes": {"x": (2, 3, 48, 64)}}, "use batch 2"),
        ([1, 3, 48, 64], {"shapes": {"x": (1, 3, 32, 64)}}, "cannot have that shape"),
        ([1, 3, 48, 64], {"shapes": {"x": (1, 3)}}, "cannot have that shape"),
        (["n", 3, "h", "w"], {"shapes": {"x": (1, 3, 48, 64)}, "size": (32, 32)}, "contradict"),
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


def test_a_layout_that_is_not_clear_is_asked_for_where_pictures_go_in(tmp_path: Path) -> None:
    """Three on both sides: the model alone runs, and for pictures the question has an answer that works."""
    location = model(tmp_path / "m.onnx", [1, 3, 64, 3])
    found = resolve(inspect(location), plan(location))
    assert found.image is None
    assert "--layout nchw" in found.question
    assert resolve(inspect(location), plan(location, prepare=Prepare(layout="nchw"))).image is not None


def inputs(path: Path, **shapes: list[int | str | None] | None) -> str:
    """An ONNX file with these float inputs; the first goes through a ReLU."""
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Relu", [next(iter(shapes))], ["y"])], "g", given, [made])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    onnx.save(proto, str(path))
    return str(path)


def test_a_shape_for_one_frame_takes_any_batch(tmp_path: Path) -> None:
    """The shape says 1, the batch is swept: a leading 1 over an open dimension is the batch."""
    location = model(tmp_path / "m.onnx", ["n", 3, "h", "w"])
    found = resolve(inspect(location), plan(location, shapes={"x": (1, 3, 8, 8)}, batch=Batching(max=4)))
    assert found.shapes == {"x": (4, 3, 8, 8)}
    assert found.batched == {"x"}


def test_dimensions_of_one_name_have_one_size(tmp_path: Path) -> None:
    """A length given for one input holds for the other that names it."""
    location = inputs(tmp_path / "m.onnx", tokens=["n", "length"], mask=["n", "length"])
    found = resolve(inspect(location), plan(location, shapes={"tokens": (1, 5)}, batch=Batching(max=2)))
    assert found.shapes == {"tokens": (2, 5), "mask": (2, 5)}


def test_operators_inside_branches_count(tmp_path: Path) -> None:
    """A network's operators are those of its branches too."""
    value = [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)]
    branches = [helper.make_graph([helper.make_node(kind, ["x"], ["b"])], kind, [], value) for kind in ("Neg", "Exp")]
    given = [helper.make_tensor_value_info("c", TensorProto.BOOL, []),
             helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]  # fmt: skip
    choice = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    onnx.save(helper.make_model(helper.make_graph([choice], "g", given, [made])), str(tmp_path / "m.onnx"))
    assert operators(str(tmp_path / "m.onnx")) == {"If", "Neg", "Exp"}


def test_operators_inside_functions_count(tmp_path: Path) -> None:
    """A network's own functions are written out when it runs, so their operators are its own."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    block = helper.make_function("own", "Block", ["a"], ["b"], [helper.make_node("Conv", ["a", "a"], ["b"])], opset[:1])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 3, 3]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Block", ["x"], ["y"], domain="own")], "g", ends[:1], ends[1:])
    location = str(tmp_path / "m.onnx")
    onnx.save(helper.make_model(graph, functions=[block], opset_imports=opset), location)
    assert operators(location) == {"Block", "Conv"}
    on_device = plan(location, device="cuda", graph=True, batch=Batching(max=8))
    assert get_backend("onnxruntime").batch_sizes(on_device) == (8,)


def test_onnx_runtime_runs_convolutions_at_one_size_on_a_gpu(tmp_path: Path) -> None:
    """Its convolutions keep cuDNN's plan of one size, and so do graphs of them: full batches only."""
    sizes = get_backend("onnxruntime").batch_sizes
    without = model(tmp_path / "m.onnx", ["n", 3, 8, 8])
    asked = {"device": "cuda", "batch": Batching(max=8)}
    assert sizes(plan("builtin:classifier", **asked)) == (8,)
    assert sizes(plan("builtin:classifier", graph=True, **asked)) == (8,)
    assert sizes(plan("builtin:classifier", graph=True, device="cuda", batch=Batching(max=8, sizes=(2, 4)))) == (8,)
    assert sizes(plan(without, graph=True, **asked)) == (1, 2, 4, 8)
    assert sizes(plan(without, **asked)) == (1, 2, 4, 8)
    assert sizes(plan("builtin:classifier", batch=Batching(max=8))) == ()


def test_a_side_input_need_not_follow_the_batch(tmp_path: Path) -> None:
    """A threshold of shape [1] beside a picture: two of four staged items run, the threshold whole."""
    location = inputs(tmp_path / "m.onnx", x=["n", 3, 8, 8], threshold=[1])
    worker = get_backend("onnxruntime").load(plan(location, batch=Batching(max=4)), SystemClock()).worker()
    worker.enqueue(0, 2)
    assert worker.staging(0)["threshold"].shape == (1,)
    assert worker.wait(0)["y"].shape == (2, 3, 8, 8)


def test_an_input_of_unknown_rank_is_asked_about(tmp_path: Path) -> None:
    """A file that does not say how many dimensions an input has gets no scalar, but a question."""
    location = inputs(tmp_path / "m.onnx", x=None)
    with pytest.raises(ModelError, match="--shape x="):
        resolve(inspect(location), plan(location))
    assert resolve(inspect(location), plan(location, shapes={"x": (1, 7)})).shapes == {"x": (1, 7)}


def test_weights_that_are_missing_are_named(tmp_path: Path) -> None:
    """The model's second file is gone: the error names it, and does not speak of opsets."""
    weights = onnx.numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [given], [made], [weights])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    location = str(tmp_path / "m.onnx")
    onnx.save(proto, location, save_as_external_data=True, location="m.data", size_threshold=0)
    get_backend("onnxruntime").load(plan(location), SystemClock()).close()
    (tmp_path / "m.data").unlink()
    with pytest.raises(ModelError, match=r"m\.data") as error:
        get_backend("onnxruntime").load(plan(location), SystemClock())
    assert error.value.fix is not None
    assert "weights" in error.value.fix


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("null", {"latency_us": "abc"}),
        ("null", {"outlier_share": 2.0}),
        ("null", {"seed": -1}),
        ("onnxruntime", {"inter_threads": "abc"}),
        ("onnxruntime", {"arena": "maybe"}),
    ],
)
def test_an_option_of_the_wrong_type_is_a_sentence(backend: str, options: dict[str, object]) -> None:
    """The error names the option; nothing is loaded, nothing is taken for true."""
    with pytest.raises(UsageError, match=next(iter(options))):
        get_backend(backend).load(plan("builtin:manykernels", backend=backend, options=options), SystemClock())


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
    "resnet18": "1097c9e0f240e2b3",
    "resnet50": "e567413bb0ed59f9",
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("m.tflite", "tf2onnx"),
        ("m.safetensors", "torch.onnx.export"),
        ("m.XML", "OpenVINO"),
        ("m.onnx", "export it again"),
    ],
)
def test_a_file_of_another_library_says_what_to_do_with_it(tmp_path: Path, name: str, answer: str) -> None:
    """The advice is one for that kind of file."""
    (tmp_path / name).write_bytes(b"\xff" * 100)
    with pytest.raises(ModelError, match=answer):
        inspect(str(tmp_path / name))


def test_a_value_that_is_no_tensor_says_what_to_export_in_its_place(tmp_path: Path) -> None:
    """A sequence of tensors, one of maps as scikit-learn's classifiers have it, and an optional: each its own."""
    tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [1, 3])
    sequence = onnx.helper.make_sequence_type_proto
    values = {
        "ConcatFromSequence": sequence(tensor),
        "zipmap": sequence(onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, tensor)),
        "optional": onnx.helper.make_optional_type_proto(tensor),
    }
    for words, kind in values.items():
        value = onnx.helper.make_value_info("x", kind)
        graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["x"])], "g", [], [value])
        onnx.save(onnx.helper.make_model(graph), tmp_path / "m.onnx")
        with pytest.raises(ModelError) as error:
            inspect(str(tmp_path / "m.onnx"))
        assert words in str(error.value.fix)
