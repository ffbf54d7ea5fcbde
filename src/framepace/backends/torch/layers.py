"""The layers of a network in PyTorch: the nodes of its graph, under the profiler; or its operators, without a graph.

A node is run by itself, as an interpreter does, inside a range of the profiler that has its name: what the operators
and kernels in the range took is the node's time. Operations are counted by PyTorch's own formulas.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from framepace.facts.model import Layer
from framepace.units import NS_PER_US

_PROFILED = 10  # runs under the profiler
_KINETO_SILENT = "6"  # the level above its probes, which it writes to stderr whatever happens
_COMPUTING = ("call_function", "call_method", "call_module")
_PRECISIONS = {
    torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.int8: "int8", torch.uint8: "int8",
    torch.int32: "int32", torch.int64: "int64", torch.bool: "bool",
}  # fmt: skip
_RANGE = "framepace: "  # before a node's name: PyTorch's operators have names such as 'aten::add'

Tensor = Any  # torch.Tensor: PyTorch's types are not checked here
Run = Callable[[Sequence[Tensor]], list[tuple[str, Tensor]]]


@dataclass
class _Described:
    """What one node did in a run: the operations of its arithmetic, the bytes of its tensors, its first output."""

    flops: float
    bytes: int
    shape: tuple[int, ...] = ()
    precision: str = ""


@dataclass
class _Describing:
    """A run of the graph that looks at what each node reads and writes."""

    nodes: dict[str, _Described] = field(default_factory=dict)

    def run(self, node: fx.Node, step: Callable[[], Any], arguments: Any) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = step()
        written = list(_tensors(result))
        described = _Described(float(counter.get_total_flops()), _bytes([*_tensors(arguments), *written]))
        if written:
            described.shape = tuple(written[0].shape)
            described.precision = _PRECISIONS.get(written[0].dtype, "")
        self.nodes[node.name] = described
        return result


def _in_range(node: fx.Node, step: Callable[[], Any], arguments: Any) -> Any:
    with torch.profiler.record_function(_RANGE + node.name):
        return step()


class _Interpreter(fx.Interpreter):  # type: ignore[misc]
    """Runs a graph node by node, each through `around`."""

    def __init__(self, module: Any, around: Callable[[fx.Node, Callable[[], Any], Any], Any]) -> None:
        super().__init__(module)
        self._around = around

    def run_node(self, n: fx.Node) -> Any:
        if n.op not in _COMPUTING:
            return super().run_node(n)
        return self._around(n, lambda: super(_Interpreter, self).run_node(n), self.fetch_args_kwargs_from_env(n))


def node_layers(module: Any, run_of: Callable[[Any], Run], inputs: Sequence[Tensor], device: str) -> tuple[Layer, ...]:
    """The nodes of a graph that compute, in their order: mean time of ten runs, operations, bytes, tensors.

    `run_of` makes the inference of something that is called as the module is.
    """
    describing = _Describing()
    run_of(_Interpreter(module, describing.run).run)(inputs)
    times = _range_times(run_of(_Interpreter(module, _in_range).run), inputs, device)
    names = set(describing.nodes)
    return tuple(
        _layer(node, describing.nodes[node.name], times.get(node.name), names, device)
        for node in module.graph.nodes
        if node.name in names
    )


def _range_times(run: Run, inputs: Sequence[Tensor], device: str) -> dict[str, float]:
    """Time of one run of each node, ns, by name."""
    ranges = [event for event in _profiled(run, inputs, device) if event.key.startswith(_RANGE)]
    return {event.key.removeprefix(_RANGE): _range_ns(event, device) for event in ranges}


def _layer(node: fx.Node, described: _Described, time: float | None, names: set[str], device: str) -> Layer:
    return Layer(
        name=node.name,
        kind=_operator(node),
        time=time,
        precision=described.precision,
        place=_place(device),
        nodes=tuple(node.meta.get("onnx", ())),
        inputs=tuple(other.name for other in node.all_input_nodes if other.name in names or other.op == "placeholder"),
        outputs=(node.name,),
        shape=described.shape,
        flops=described.flops or None,
        bytes=described.bytes,
    )


def _operator(node: fx.Node) -> str:
    """'conv2d', 'add': the name of what a node calls, without its package and variant."""
    name = str(getattr(node.target, "__name__", node.target))
    return name.partition(".")[0]


def operator_layers(run: Run, inputs: Sequence[Tensor], device: str) -> tuple[Layer, ...]:
    """Self time of each operator in one inference, the longest first; kernels count for what launched them."""
    key = {"cuda": "self_device_time_total", "cpu": "self_cpu_time_total"}[_place(device)]  # us
    run(inputs)
    events = [(getattr(event, key), event.key) for event in _profiled(run, inputs, device)]
    return tuple(
        Layer(name=name, time=us * NS_PER_US / _PROFILED, kind="operator", place=_place(device))
        for us, name in sorted(events, reverse=True)
        if us > 0
    )


def _place(device: str) -> str:
    return device.partition(":")[0]


def _profiled(run: Run, inputs: Sequence[Tensor], device: str) -> list[Any]:
    """The host's events of several runs, summed by name."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if _place(device) == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with _quiet(), torch.profiler.profile(activities=activities) as profile:
        for _ in range(_PROFILED):
            run(inputs)
        if _place(device) == "cuda":
            torch.cuda.current_stream(device).synchronize()
    return [event for event in profile.key_averages() if event.device_type == torch.autograd.DeviceType.CPU]


@contextmanager
def _quiet() -> Iterator[None]:
    """PyTorch 2.11 warns that a second profile forgets the events of the first, which is what is wanted; 2.13 writes to
    stderr that a profile began and ended.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", _KINETO_SILENT)  # read when the first profile begins
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Profiler clears events", category=UserWarning)
        yield


def _range_ns(event: Any, device: str) -> float:
    """Time of one run of a range: of the kernels that were launched in it, or of the host."""
    us = event.cpu_time_total
    if _place(device) == "cuda":
        us = event.device_time_total
    return float(us) * NS_PER_US / _PROFILED


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))


def _bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
