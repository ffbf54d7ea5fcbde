"""The nodes that ONNX Runtime runs, with the times of its profiler and the graph that it made of the file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from msgspec.structs import replace

from framepace.backends.onnxruntime.fusion import Node, fused_nodes, graph_nodes
from framepace.facts.model import Layer
from framepace.models.builtin import model_bytes
from framepace.units import NS_PER_US

INFERENCES = 10
RUN_GRAPH = "run.onnx"  # the graph that a session with profiling runs, in the folder of its profile
_WARM = 2
_KERNEL = "_kernel_time"
_INFERENCE = "model_run"
_PLACES = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda"}
_DTYPES = {
    "float": "fp32", "float16": "fp16", "bfloat16": "bf16", "int8": "int8", "uint8": "int8", "int32": "int32",
    "int64": "int64", "double": "fp64", "bool": "bool",
}  # fmt: skip
_QUANTISED = ("int8",)
_SIZES = ("activation_size", "parameter_size", "output_size")


def profile(session: Any, run: Callable[[], object]) -> tuple[Layer, ...]:
    """The layers of a session that was made with profiling, over a few inferences; the file of the profile goes."""
    for _ in range(_WARM + INFERENCES):
        run()
    file = Path(session.end_profiling())
    events = json.loads(file.read_bytes())
    file.unlink(missing_ok=True)
    return layers(events)


def layers(events: Iterable[Mapping[str, Any]]) -> tuple[Layer, ...]:
    """Layers in the order in which they run, with the median of their times per inference; the first ones do not count.

    `events` are those of the profile: a node's are of the category 'Node', in us, named 'NODE_kernel_time'. A node that
    runs others, as If and Loop do, counts without them; one that a loop runs counts with all of its turns. On a GPU the
    time is that of the launch; the kernels are events of their own where the library was built to see them, and name
    the node's event as their parent. Without them a layer of a GPU has no time.
    """
    known = list(events)
    runs: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    for nodes in _inferences(known):
        for node in nodes:
            runs[_name(node)].append(node)
        for name, time in _own_times(nodes).items():
            times[name].append(time * NS_PER_US)
    kernels = _kernel_times(known)
    return tuple(_layer(name, nodes, times[name], kernels) for name, nodes in runs.items())


def _inferences(events: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """The events of the nodes of each inference, whose own event is the last."""
    nodes: list[Mapping[str, Any]] = []
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_KERNEL):
            nodes.append(event)
        elif event["name"] == _INFERENCE:
            yield nodes
            nodes = []


def _own_times(nodes: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
    """What each node took in us, without the nodes that ran inside of it, in the order of the events."""
    own = dict.fromkeys(map(_name, nodes), 0.0)
    around: list[Mapping[str, Any]] = []
    # What is around others began first, or with them and took longer; or as long, and was written after them.
    ordered = list(reversed(nodes))
    ordered.sort(key=lambda each: (each["tid"], each["ts"], -each["dur"]))
    for node in ordered:
        while around and not _is_inside(node, around[-1]):
            around.pop()
        if around:
            own[_name(around[-1])] -= node["dur"]
        own[_name(node)] += node["dur"]
        around.append(node)
    return own


def _is_inside(node: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(node["tid"] == other["tid"] and node["ts"] + node["dur"] <= other["ts"] + other["dur"])


def _name(node: Mapping[str, Any]) -> str:
    return str(node["name"]).removesuffix(_KERNEL)


def _kernel_times(events: Iterable[Mapping[str, Any]]) -> Mapping[str, float]:
    """What the kernels of each node took in all inferences, in ns."""
    kernels: dict[str, float] = defaultdict(float)
    for event in events:
        if event.get("cat") == "Kernel":
            kernels[str(event["args"].get("parent_name", "")).removesuffix(_KERNEL)] += event["dur"] * NS_PER_US
    return kernels


def _layer(name: str, runs: Sequence[Mapping[str, Any]], times: Sequence[float], kernels: Mapping[str, float]) -> Layer:
    described = runs[-1]["args"]
    provider = described["provider"]
    return Layer(
        name=name,
        kind=described["op_name"],
        precision=_precision(described),
        place=_PLACES.get(provider, provider),
        time=_time(name, provider, times, kernels),
        shape=_shape(described),
        bytes=_bytes(described, turns=round(len(runs) / len(times))),
    )


def _time(name: str, provider: str, times: Sequence[float], kernels: Mapping[str, float]) -> float | None:
    """Median of the host's times in ns; of a GPU's node the mean of what its kernels took."""
    if provider == "CPUExecutionProvider":
        return float(median(times[_WARM:] or times))
    if name not in kernels:
        return None
    return kernels[name] / len(times)


def _precision(described: Mapping[str, Any]) -> str:
    """Of what it reads where that is quantised, else of what it writes."""
    read, written = (_dtype(described.get(side)) for side in ("input_type_shape", "output_type_shape"))
    return read if read in _QUANTISED else written


def _dtype(tensors: Any) -> str:
    """The precision of the first of the tensors, each described as {dtype: shape}."""
    first: Mapping[str, Any] = next(iter(tensors or ()), {})
    return _DTYPES.get(next(iter(first), ""), "")


def _shape(described: Mapping[str, Any]) -> tuple[int, ...]:
    first: Mapping[str, Any] = next(iter(described.get("output_type_shape") or ()), {})
    return tuple(next(iter(first.values()), ()))


def _bytes(described: Mapping[str, Any], turns: int) -> int | None:
    """What it reads, weights included, and writes in all turns; None where the profile does not say."""
    sizes = [str(described.get(key, "")) for key in _SIZES]
    if not all(size.isdigit() for size in sizes):
        return None
    return turns * sum(map(int, sizes))


def with_graph(layers: Iterable[Layer], location: str, run: Path) -> tuple[Layer, ...]:
    """Layers with their tensors and the nodes of the file (a path or 'builtin:NAME') that were fused into them.

    `run` is the graph that the session wrote. Layers stay as they are where it, or the file, cannot be read.
    """
    import onnx

    try:
        ran = graph_nodes(onnx.load(str(run), load_external_data=False).graph)
        original = graph_nodes(_file_graph(location))
    except Exception:  # not written, of another format, or by a version that writes something else
        return tuple(layers)
    fused = fused_nodes(original, ran)
    nodes = {node.name: node for node in ran}
    return tuple(_joined(layer, nodes.get(layer.name), fused.get(layer.name, ())) for layer in layers)


def _file_graph(location: str) -> Any:
    import onnx

    if location.startswith("builtin:"):
        return onnx.load_model_from_string(model_bytes(location.removeprefix("builtin:"))).graph
    return onnx.load(location, load_external_data=False).graph


def _joined(layer: Layer, node: Node | None, fused: tuple[str, ...]) -> Layer:
    if node is None:
        return layer
    return replace(layer, inputs=node.inputs, outputs=node.outputs, nodes=fused or layer.nodes)
