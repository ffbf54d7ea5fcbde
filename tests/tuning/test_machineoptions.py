"""What a machine and its models offer a tuning."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from framepace import api
from framepace.models.builtin import model_bytes
from framepace.tuning.machineoptions import machine_options


@pytest.mark.parametrize(("fixed", "batches"), [(False, True), (True, False)])
def test_whether_frames_can_be_batched_is_read_from_the_file(tmp_path: Path, fixed: bool, batches: bool) -> None:
    """An open first dimension of the input takes batches, a fixed one does not."""
    model = onnx.load_model_from_string(model_bytes("classifier"))
    if fixed:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "m.onnx")
    assert machine_options(api.make_case(str(tmp_path / "m.onnx")).plan).batches is batches
