"""What a machine and its models offer a tuning."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from framepace import api
from framepace.models.builtin import model_bytes
from framepace.tuning.machineoptions import machine_options
from framepace.tuning.space import axes


@pytest.mark.parametrize(("fixed", "batches"), [(False, True), (True, False)])
def test_whether_frames_can_be_batched_is_read_from_the_file(tmp_path: Path, fixed: bool, batches: bool) -> None:
    """An open first dimension of the input takes batches, a fixed one does not."""
    model = onnx.load_model_from_string(model_bytes("classifier"))
    if fixed:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "m.onnx")
    assert machine_options(api.make_case(str(tmp_path / "m.onnx")).plan).batches is batches


@pytest.mark.parametrize(
    ("kind", "size", "offered"), [("Shape", None, True), ("Relu", None, False), ("Shape", "native", False)]
)
def test_fixed_shapes_are_offered_where_a_file_computes_shapes(
    tmp_path: Path, kind: str, size: str | None, offered: bool
) -> None:
    """A node that computes a shape, and one size: the axis is there, from the plan's own value; else it is not."""
    picture = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    dtype = TensorProto.INT64 if kind == "Shape" else TensorProto.FLOAT
    output = helper.make_tensor_value_info("y", dtype, None)
    graph = helper.make_graph([helper.make_node(kind, ["x"], ["y"])], "g", [picture], [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    case = api.make_case(str(tmp_path / "m.onnx"), settings={"size": size or "64x64"})
    machine = machine_options(case.plan)
    assert machine.computes_shapes is offered
    found = [axis for axis in axes(case, machine) if axis.name == "shapes"]
    assert [(axis.values, axis.first) for axis in found] == [(("exported", "fixed"), ("exported",))] * offered
