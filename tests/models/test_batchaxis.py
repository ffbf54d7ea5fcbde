"""The batch axis: found by its name and place, checked by running two sizes, and the only one outputs are cut along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import framepace
from framepace.backends.base import Session, get_backend
from framepace.clock.system import SystemClock
from framepace.errors import BatchesFail
from framepace.facts.model import TensorSpec
from framepace.facts.plan import Batching, ModelPlan
from framepace.models.batchaxis import divided, input_axes, measured_axes
from framepace.tuning.machineoptions import machine_options

Shape = list[int | str]


def spec(name: str, *shape: int | str) -> TensorSpec:
    """An input or output of float32."""
    return TensorSpec(name=name, dtype="float32", shape=shape)


def save(path: Path, nodes: list[onnx.NodeProto], outputs: dict[str, Shape | None], **constants: object) -> str:
    """A network on pictures of any batch, 'x', and a state with the batch on its second axis, 'h'."""
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8]),
             helper.make_tensor_value_info("h", TensorProto.FLOAT, [2, "n", 4])]  # fmt: skip
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()]
    weights = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", given, made, weights)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 9
    onnx.save(proto, str(path))
    return str(path)


def loaded(location: str, batch: int) -> Session:
    """The network, loaded for that batch."""
    return get_backend("onnxruntime").load(
        ModelPlan(name="m", model=location, batch=Batching(max=batch)), SystemClock()
    )


def mixed(path: Path) -> str:
    """Outputs with the batch first, on the second axis, without one, and of all numbers in one."""
    nodes = [
        helper.make_node("Identity", ["x"], ["first"]),
        helper.make_node("Identity", ["h"], ["second"]),
        helper.make_node("Identity", ["table"], ["none"]),
        helper.make_node("ReduceMean", ["x"], ["scalar"], keepdims=0),
    ]
    outputs: dict[str, Shape | None] = {"first": None, "second": None, "none": [4, 2], "scalar": []}
    return save(path, nodes, outputs, table=np.zeros((4, 2), np.float32))


def test_a_state_with_the_batch_on_its_second_axis_runs_in_batches(tmp_path: Path) -> None:
    """A part of the batch too: two items of four."""
    session = loaded(mixed(tmp_path / "m.onnx"), 4)
    assert session.resolved.shapes == {"x": (4, 3, 8, 8), "h": (2, 4, 4)}
    worker = session.worker()
    worker.enqueue(0, 2)
    assert {name: np.shape(value) for name, value in worker.wait(0).items()} == {
        "first": (2, 3, 8, 8), "second": (2, 2, 4), "none": (4, 2), "scalar": (),
    }  # fmt: skip


def test_outputs_are_cut_along_their_batch_only(tmp_path: Path) -> None:
    """A table of four rows in a batch of four is handed whole, and so is a single number."""
    session = loaded(mixed(tmp_path / "m.onnx"), 4)
    assert session.output_axes == {"first": 0, "second": 1}
    worker = session.worker()
    worker.staging(0)["h"][:, 3] = 7
    worker.enqueue(0, 4)
    parts = divided(worker.wait(0), 3, session.output_axes)
    assert {name: np.shape(value) for name, value in parts.items()} == {
        "first": (1, 3, 8, 8), "second": (2, 1, 4), "none": (4, 2), "scalar": (),
    }  # fmt: skip
    assert (parts["second"] == 7).all()


def test_single_frames_get_every_output_whole(tmp_path: Path) -> None:
    """Nothing has to be run at loading for that."""
    assert loaded(mixed(tmp_path / "m.onnx"), 1).output_axes == {}


def fixed_inside(path: Path) -> str:
    """The file says any batch; a Reshape in it says one."""
    return save(path, [helper.make_node("Reshape", ["x", "one"], ["y"], name="to_one")], {"y": [1, 192]}, one=[1, 192])


def test_batches_that_the_file_promises_and_cannot_run_are_refused(tmp_path: Path) -> None:
    """With the node, the library's reason, and the batch that works."""
    location = fixed_inside(tmp_path / "m.onnx")
    with pytest.raises(BatchesFail, match="Reshape node 'to_one'") as error:
        loaded(location, 4)
    assert "--set batch=1" in str(error.value.fix)
    assert loaded(location, 1).output_axes == {}


def test_tune_offers_no_batches_that_cannot_run(tmp_path: Path) -> None:
    """And says why, once."""
    options = machine_options(framepace.make_case(fixed_inside(tmp_path / "m.onnx")).plan)
    assert not options.batches
    assert len(options.notes) == 1
    assert "to_one" in options.notes[0]
    assert machine_options(framepace.make_case(mixed(tmp_path / "n.onnx")).plan).batches


@pytest.mark.parametrize(
    ("inputs", "pictures", "axes"),
    [
        ([spec("x", "batch", 3, 8, 8), spec("h", 1, "batch", 16)], {"x": 0}, {"x": 0, "h": 1}),
        ([spec("x", "b", 3, 8, 8), spec("boxes", "boxes", 4)], {"x": 0}, {"x": 0}),
        ([spec("x", "unk__1", 3, 8, 8), spec("s", "unk__2", 2)], {"x": 0}, {"x": 0, "s": 0}),
        ([spec("sound", "?", "?"), spec("state", 2, "?", 128), spec("rate")], {}, {"sound": 0, "state": 1}),
        ([spec("x", 1, 3, 8, 8), spec("h", 1, 1, 16)], {"x": 0}, {"x": 0}),
        ([spec("x", 96, 96, 3)], {"x": None}, {}),
        ([spec("t", 20, "batch", 37)], {}, {"t": 1}),
        ([spec("mel", 1, "?", 80)], {}, {}),
    ],
)
def test_the_batch_axis_is_where_its_name_is(
    inputs: list[TensorSpec], pictures: dict[str, int | None], axes: dict[str, int]
) -> None:
    """Names that exporters make up say nothing; a name of its own says that an axis is something else."""
    assert input_axes(inputs, pictures, 1)[0] == axes


def test_rows_that_are_no_pictures_are_not_the_batch() -> None:
    """One box in one picture and two in two: the file calls the axis otherwise."""
    declared = [spec("boxes", "K", 3), spec("scores", "n", 5), spec("rows", "?", 4)]
    one = {"boxes": (1, 3), "scores": (1, 5), "rows": (8400, 4)}
    two = {"boxes": (2, 3), "scores": (2, 5), "rows": (16800, 4)}
    assert measured_axes(one, two, declared, "n") == {"scores": 0}


def test_names_that_an_exporter_made_up_say_nothing_of_an_axis() -> None:
    """Paddle2ONNX calls each open axis 'p2o.DynamicDimension.N', its own N: the one that doubled is the batch."""
    declared = [spec("text", "p2o.DynamicDimension.2", "p2o.DynamicDimension.3", 6625)]
    shapes = ({"text": (1, 40, 6625)}, {"text": (2, 40, 6625)})
    assert measured_axes(*shapes, declared, "p2o.DynamicDimension.0") == {"text": 0}
