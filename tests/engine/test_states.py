"""States: outputs that come back with the next frame of the same source, apart from all others and in order."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import framepace
from framepace.clock.system import SystemClock
from framepace.engine.engine import Engine
from framepace.errors import UsageError
from framepace.facts.workload import Closed, Input, Load, Paced, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.video.frame import Frame


def counter(path: Path, batch: int | str = "batch", axis: int = 0) -> str:
    """A network whose state counts the frames: 'count_out' is 'count' + 1; the batch is on `axis` of both."""
    shape = [batch, 1]
    if axis:
        shape = [1, batch]
    one = numpy_helper.from_array(np.ones(1, np.float32), "one")
    nodes = [helper.make_node("Add", ["count", "one"], ["count_out"]), helper.make_node("Shape", ["x"], ["size"])]
    given = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 8, 8]),
        helper.make_tensor_value_info("count", TensorProto.FLOAT, shape),
    ]
    made = [
        helper.make_tensor_value_info("count_out", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("size", TensorProto.INT64, [4]),
    ]
    proto = helper.make_model(
        helper.make_graph(nodes, "g", given, made, [one]), opset_imports=[helper.make_opsetid("", 17)]
    )
    proto.ir_version = 9
    onnx.save(proto, str(path))
    return str(path)


def counts(location: str, cameras: int, load: Load, **settings: Any) -> dict[int, list[float]]:
    """What the counter said of each source's frames, in the order in which they were delivered."""
    case = framepace.make_case(location, states={"count": "count_out"}, settings=settings)
    seen: dict[int, list[float]] = defaultdict(list)

    def outputs(name: str, values: Any, frame: Frame) -> None:
        assert len(values["size"]) == 4  # no batch axis: handed whole
        seen[frame.source].append(values["count_out"].item())

    workload = Workload(
        load=load,
        scope="pipeline",
        input=Input(cameras=cameras, frames=2),
        stop=Stop(count=40),
        warmup=Warmup(window=1),
    )
    engine = Engine(case.plan, SystemClock(), outputs=outputs)
    try:
        measure(case.plan, workload, engine=engine, telemetry=False)
    finally:
        engine.close()
    return seen


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("cameras", "settings"),
    [(1, {}), (1, {"batch": 4}), (2, {"workers": 2}), (3, {"batch": 2, "workers": 2}), (2, {"strategy": "threads"})],
)
def test_a_state_counts_the_frames_of_its_own_camera(
    tmp_path: Path, axis: int, cameras: int, settings: dict[str, Any]
) -> None:
    """1, 2, 3, ... for each source, whatever the batch, the workers and the axis: zero at first, none left out."""
    seen = counts(counter(tmp_path / "m.onnx", axis=axis), cameras, Closed(concurrency=4), **settings)
    assert len(seen) == cameras
    for values in seen.values():
        assert sorted(values) == [float(number + 1) for number in range(len(values))]


def test_frames_that_are_due_together_still_go_one_after_the_other(tmp_path: Path) -> None:
    """An open load faster than the workers: two workers never have one source's frames at once."""
    seen = counts(counter(tmp_path / "m.onnx"), 1, Paced(fps=5000), workers=2)
    assert sorted(seen[0]) == [float(number + 1) for number in range(len(seen[0]))]


def test_a_state_that_several_processes_would_need_is_refused(tmp_path: Path) -> None:
    """With the setting that works."""
    with pytest.raises(UsageError, match="strategy=workers"):
        framepace.make_case(
            counter(tmp_path / "m.onnx"),
            states={"count": "count_out"},
            settings={"strategy": "worker-processes", "workers": 2},
        )


def test_a_state_of_another_shape_is_a_sentence(tmp_path: Path) -> None:
    """The output has four numbers, the input one: the failed rows say which shapes."""
    case = framepace.make_case(
        counter(tmp_path / "m.onnx"), states={"count": "size"}, scope="pipeline", stop=Stop(count=5), fps=None
    )
    trace = framepace.bench(case)
    assert trace.meta.failure is not None
    assert "'size' does not fit input 'count'" in trace.meta.failure.reason
