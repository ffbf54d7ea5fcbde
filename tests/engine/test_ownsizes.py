"""size=native: every picture is run at its own size, batched with its like."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import onnx
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper

import framepace
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.engine.engine import Engine
from framepace.errors import ModelError, UsageError
from framepace.facts.settings import Case, apply, checked
from framepace.facts.workload import Burst, Input, Stop, Warmup, Workload
from framepace.measure.session import measure
from framepace.models.spec import inspect, resolve
from framepace.numerics.gate import agreement
from framepace.video.frame import Frame
from framepace.video.source import synthetic_video

SIZES = ((48, 64), (32, 80))


def network(path: Path, height: int | str = "h", width: int | str = "w") -> str:
    """A network that says how many items it got, and of which size."""
    picture = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, height, width])
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
    ]
    outputs = [
        helper.make_tensor_value_info("shape", TensorProto.INT64, [4]),
        helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["n"]),
    ]
    graph = helper.make_graph(nodes, "g", [picture], outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return str(path)


def cameras(folder: Path) -> tuple[str, ...]:
    """A video of each size."""
    paths = [folder / f"{width}x{height}.mkv" for height, width in SIZES]
    for path, size in zip(paths, SIZES, strict=True):
        path.write_bytes(synthetic_video(size))
    return tuple(map(str, paths))


def shapes(case: Case, folder: Path) -> tuple[dict[int, set[tuple[int, ...]]], framepace.Trace]:
    """The shapes that the model saw with frames of each source, and the trace."""
    seen: dict[int, set[tuple[int, ...]]] = defaultdict(set)

    def outputs(name: str, values: Any, frame: Frame) -> None:
        seen[frame.source].add(tuple(values["shape"].tolist()))
        assert values["mean"].shape == (1,)

    workload = Workload(
        load=Burst(fps=2000, size=4),
        scope="pipeline",
        input=Input(videos=cameras(folder), frames=2),
        stop=Stop(count=24),
        warmup=Warmup(window=1),
    )
    engine = Engine(case.plan, SystemClock(), outputs=outputs)
    try:
        return seen, measure(case.plan, workload, engine=engine, telemetry=False)
    finally:
        engine.close()


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (4, 1), (2, 2)])
def test_pictures_keep_their_size_and_share_batches_with_their_like(tmp_path: Path, batch: int, workers: int) -> None:
    """Two cameras of two sizes: each picture at its camera's, in batches with its like; the trace says so."""
    case = framepace.make_case(
        network(tmp_path / "m.onnx"), settings={"size": "native", "batch": batch, "workers": workers}
    )
    seen, trace = shapes(case, tmp_path)
    assert {source: {shape[2:] for shape in each} for source, each in seen.items()} == {0: {SIZES[0]}, 1: {SIZES[1]}}
    if batch == 4:
        assert max(shape[0] for each in seen.values() for shape in each) >= 2
    assert trace.meta.models[0].inputs[0].shape[2:] in SIZES
    assert any("pictures of 80x32, 64x48" in note for note in trace.meta.notes)
    assert trace.meta.plan.models[0].size == "native"


def test_the_model_alone_runs_at_the_size_of_the_first_picture(tmp_path: Path) -> None:
    """Scope model: the inputs are those of one picture, not of an example's size."""
    case = framepace.make_case(
        network(tmp_path / "m.onnx"),
        videos=cameras(tmp_path)[:1],
        scope="model",
        settings={"size": "native"},
        stop=framepace.Stop(count=5),
    )
    trace = framepace.bench(replace(case, workload=replace(case.workload, warmup=Warmup(window=1))))
    assert trace.meta.models[0].inputs[0].shape == (1, 3, *SIZES[0])


@pytest.mark.parametrize(("height", "width", "answer"), [(64, 64, None), (32, "w", "640x32")])
def test_a_model_of_fixed_size_says_what_to_do_instead(
    tmp_path: Path, height: int | str, width: int | str, answer: str | None
) -> None:
    """The sentence is an option that runs when it is followed."""
    location = network(tmp_path / "m.onnx", height, width)
    case = framepace.make_case(location, settings={"size": "native"})
    with pytest.raises(ModelError) as error:
        resolve(inspect(location), case.plan.models[0])
    assert ("leave out --size" if answer is None else f"--size {answer}") in str(error.value)
    followed = apply(case, {"size": answer or "none"})
    assert resolve(inspect(location), followed.plan.models[0]).image is not None


@pytest.mark.parametrize("settings", [{"shapes": "fixed"}, {"strategy": "processes"}, {"strategy": "worker-processes"}])
def test_what_needs_one_size_contradicts_native(tmp_path: Path, settings: dict[str, str]) -> None:
    """Said before anything is loaded, with the setting to change."""
    case = framepace.make_case(network(tmp_path / "m.onnx"))
    with pytest.raises(UsageError, match="set s"):
        checked(apply(case, {"size": "native", **settings}))


def test_a_backend_of_one_size_says_so_when_it_loads(tmp_path: Path) -> None:
    """A library that loads a model for one size names the option that gives it one."""
    case = framepace.make_case(network(tmp_path / "m.onnx"), settings={"size": "native", "backend": "simulated"})
    with pytest.raises(UsageError, match="--size 640x480"):
        get_backend("simulated").load(case.plan.models[0], SystemClock())


def test_the_answers_are_compared_at_each_size(tmp_path: Path) -> None:
    """The check of the answers runs pictures of both sizes, one after the other, on both sides."""
    settings = {"size": "native", "batch": 2}
    case = framepace.make_case(network(tmp_path / "m.onnx"), videos=cameras(tmp_path), settings=settings)
    model = case.plan.models[0]
    numbers = agreement(model, case.workload.input, reference=replace(model, threads=1), frames=4)
    assert numbers.frames == 4
    assert {output.name for output in numbers.outputs} == {"shape", "mean"}
