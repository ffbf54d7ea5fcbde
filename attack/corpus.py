"""Valid inputs of every kind, small, made by framepace itself; what attacks damage."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from attack.logs import logs
from attack.mutations import ADDRESSES, grown
from framepace.facts.plan import ModelPlan
from framepace.facts.primitives import ModelCost, Point, Primitives, comparable
from framepace.store import TraceWriter
from framepace.testing import make_trace
from framepace.units import NS_PER_MS

POOL = "grown.json"
SIMULATED = ("builtin:classifier", "--backend", "simulated", "--device", "t4")
COMMANDS = (
    ("sweep", *SIMULATED, "--count", "20", "--vary", "workers=1,2", "--out", "sweep"),
    ("capacity", *SIMULATED, "--fps", "30", "--max", "2", "--time-limit", "2", "--out", "capacity"),
    ("tune", *SIMULATED, "--fps", "30", "--vary", "workers=1", "--time-limit", "10", "--out", "tune"),
    ("explain", *SIMULATED, "--fps", "30", "--time-limit", "2", "--out", "explain"),
)
PLAN = {
    "format": "framepace.plan/2",
    "models": [
        {"name": "detector", "model": "builtin:detector", "size": [64, 64], "batch": {"max": 2}},
        {"name": "null", "model": "null", "backend": "null", "options": {"latency_us": 3}},
    ],
    "target": {"fps": 30.0, "p99_ms": 33.3},
    "engine": {"workers": 2, "gc": "off"},
}


def make(folder: Path, seed: int, commands: Sequence[tuple[str, ...]] = COMMANDS, values: int = 300) -> Path:
    """Fill `folder` with the corpus, and with `values` that Hypothesis makes of `seed`; returns it.

    `commands` make the tables and documents in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / POOL).write_text(json.dumps(grown(seed, values)))
    _onnx(folder / "model.onnx")
    _exported(folder / "model.pt2")
    for name in ("mp4", "ts", "avi", "mkv"):
        (folder / f"video.{name}").write_bytes(video(name))
    (folder / "plan.yaml").write_bytes(msgspec.yaml.encode(PLAN))
    for name, data in logs():
        (folder / name).write_bytes(data)
    _traces(folder)
    for command in commands:
        if not (folder / command[-1]).exists():
            _run(folder, command)
    if (folder / "tune").exists():
        _primitives(folder / "tune" / "primitives.json")
    return folder


def _primitives(path: Path) -> None:
    """What a tuning that measures its models alone would have written."""
    model = ModelPlan(name="m", model="null", threads=1)
    point = Point(batch=1, workers=1, gap_ms=0.0, rate=100.0, samples={"infer": (NS_PER_MS,) * 20})
    costs = (ModelCost(model=comparable(model), points=(point,)),)
    path.write_bytes(msgspec.json.encode(Primitives(cores=2, scope="pipeline", costs=costs)))


def _run(folder: Path, command: tuple[str, ...]) -> None:
    """The command, in this process."""
    from framepace.cli.app import app

    arguments = [*command[:-1], str(folder / command[-1])]
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), suppress(SystemExit):
        app(args=arguments, standalone_mode=False)


def _onnx(path: Path) -> None:
    """A network of one convolution with weights, a branch and a batch that is open."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = numpy_helper.from_array(np.ones((2, 3, 3, 3), np.float32), "weights")
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["edges"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["edges"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["means"]),
    ]
    shape = ["batch", 3, 16, 16]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("means", TensorProto.FLOAT, ["batch", 2, 1, 1])],
        [weights],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _exported(path: Path) -> None:
    """An exported program of one addition, as PyTorch writes it, without PyTorch."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/archive_format", "pt2")
        file.writestr("model/archive_version", "0")
        file.writestr("model/byteorder", "little")
        file.writestr("model/models/model.json", json.dumps(program()))
        file.writestr("model/data/weights/weight_0", bytes(16))


def program() -> dict[str, Any]:
    """The JSON of an exported program."""
    sizes = [{"as_int": 1}, {"as_int": 4}]
    meta = {
        "dtype": 7,
        "sizes": sizes,
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": 4}, {"as_int": 1}],
        "storage_offset": {"as_int": 0},
        "layout": 7,
    }
    node = {
        "target": "torch.ops.aten.add.Tensor",
        "inputs": [
            {"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1},
            {"name": "other", "arg": {"as_tensor": {"name": "x"}}, "kind": 1},
        ],
        "outputs": [{"as_tensor": {"name": "y"}}],
        "metadata": {},
    }
    signature = {
        "input_specs": [{"user_input": {"arg": {"as_tensor": {"name": "x"}}}}],
        "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "y"}}}}],
    }
    graph = {
        "inputs": [{"as_tensor": {"name": "x"}}],
        "outputs": [{"as_tensor": {"name": "y"}}],
        "nodes": [node],
        "tensor_values": {"x": meta, "y": meta},
    }
    return {
        "graph_module": {"graph": graph, "signature": signature, "module_call_graph": []},
        "opset_version": {"aten": 10},
        "range_constraints": {},
        "schema_version": {"major": 8, "minor": 20},
        "torch_version": "2.13.0",
    }


def video(format: str, frames: int = 6) -> bytes:
    """A few small pictures of noise in a container of that format."""
    from io import BytesIO

    import av

    file = BytesIO()
    names = {"ts": "mpegts", "mkv": "matroska"}
    noise = np.random.default_rng(0)
    with av.open(file, "w", format=names.get(format, format)) as container:
        stream: Any = container.add_stream("mpeg4", rate=30)
        stream.width = 64
        stream.height = 48
        stream.pix_fmt = "yuv420p"
        for _ in range(frames):
            picture = noise.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def _traces(folder: Path) -> None:
    """A trace that is whole, and one of a run that was killed; a source is an address with a secret."""
    trace = make_trace(np.full(40, 9 * NS_PER_MS), sources=(ADDRESSES[0],), stopped="running")
    for name in ("bench", "killed"):
        shutil.rmtree(folder / name, ignore_errors=True)
        writer = TraceWriter(folder / name, trace.meta)
        for table, columns in (("requests", trace.requests), ("telemetry", trace.telemetry)):
            writer.append(table, np.stack(list(columns.values()), axis=1).astype("<i8").tobytes())
        if name == "bench":
            writer.close(replace(trace.meta, stopped="finished"))
        writer.abort()
