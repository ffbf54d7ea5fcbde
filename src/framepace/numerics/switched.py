"""A network whose nodes can be switched to a lower precision one by one, loaded once (see `switchedgraph`)."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.backends.onnxruntime.fusion import fused_nodes, graph_nodes
from framepace.errors import BackendError, ModelError, UsageError
from framepace.facts.mending import NetworkNode
from framepace.facts.plan import ModelPlan
from framepace.models.convert.fixed import fix_shapes
from framepace.models.convert.lowformats import check_high
from framepace.models.convert.optimised import LARGEST, weight_bytes
from framepace.models.convert.precision import optimised_and_named, raised
from framepace.models.convert.variant import load
from framepace.models.spec import inspect, resolve
from framepace.numerics.neighbours import followers
from framepace.numerics.rounding import Rounding
from framepace.numerics.switchedgraph import SWITCH, has_branches, switched_graph

Outputs = dict[str, NDArray[Any]]
_NO_LOG = 4
_OPSETS = {"bf16": 13, "int8": 13}  # the first whose Cast has BF16, and whose Q/DQ pairs have scales per channel
_OFF = np.array(False)
_ON = np.array(True)


class Network:
    """A model as the converter sees it: optimised and named, with the names of the user's file beside those.

    Raises UsageError: no ONNX file, or one that is in low precision already, or without a node that takes floats.
    ModelError: too large, or ONNX Runtime cannot load it.
    """

    def __init__(self, model: ModelPlan, rounding: Rounding) -> None:
        self.plan = model
        self.rounding = rounding
        original = _raised(_original(model), rounding.precision)
        self.proto = _optimised(original)
        switched = switched_graph(self.proto, rounding)
        if not switched.switches:
            raise _nothing_to_lower(model, rounding, self.branches)
        origins = _Origins(original.graph, self.proto.graph)
        self.nodes = tuple(map(origins.described, switched.switches))
        self._session = _session(switched.proto, model.name)

    def run(self, inputs: Mapping[str, Any], low: Collection[str] = ()) -> Outputs:
        """The outputs with the nodes named in `low` in the lower precision, by name."""
        outputs = run(self._session, inputs, [node.name for node in self.nodes], low)
        names = [value.name for value in self.proto.graph.output]
        return dict(zip(names, outputs, strict=True))

    def watched(self, tensors: Sequence[str]) -> Watch:
        """The network with some of its tensors as outputs: loaded a second time."""
        return Watch(self, tensors)

    def sizes(self, inputs: Mapping[str, Any], tensors: Sequence[str]) -> dict[str, int]:
        """How many values each tensor has, by name."""
        if not tensors:  # a session without names of outputs gives all of them
            return {}
        counted = switched_graph(self.proto, self.rounding).proto
        outputs = _count_values(counted.graph, tensors)
        sizes = run(_session(counted, self.plan.name), inputs, self.names, (), outputs)
        return {tensor: int(size) for tensor, size in zip(tensors, sizes, strict=True)}

    @property
    def branches(self) -> int:
        """How many nodes have branches (If, Loop), which are left as they are."""
        return sum(map(has_branches, self.proto.graph.node))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes with a switch, in the order of the graph."""
        return tuple(node.name for node in self.nodes)


class _Origins:
    """Which nodes of the user's file became each node of the optimised graph."""

    def __init__(self, original: Any, optimised: Any) -> None:
        self._fused = fused_nodes(graph_nodes(original), graph_nodes(optimised))
        self._names = {node.name for node in original.node}
        self._operators = {node.name: node.op_type for node in optimised.node}
        self._after = followers(optimised)

    def described(self, name: str) -> NetworkNode:
        """A node of the optimised graph."""
        return NetworkNode(name=name, operator=self._operators[name], made_from=self._made_from(name))

    def _made_from(self, name: str) -> tuple[str, ...]:
        """The file's nodes that became one of a name that the file has not; where none is known those of a follower."""
        if name in self._names:
            return ()
        for candidate in (name, *sorted(self._after[name])):
            if candidate in self._names:
                return (candidate,)
            if candidate in self._fused:
                return self._fused[candidate]
        return ()


class Watch:
    """A network with tensors inside of it as outputs."""

    def __init__(self, network: Network, tensors: Sequence[str]) -> None:
        self._names = network.names
        self._tensors = list(tensors)
        watched = switched_graph(network.proto, network.rounding, tensors)
        self._session = _session(watched.proto, network.plan.name)

    def run(self, inputs: Mapping[str, Any], low: Collection[str] = ()) -> Outputs:
        """The tensors by name."""
        values = run(self._session, inputs, self._names, low, self._tensors)
        return dict(zip(self._tensors, values, strict=True))


def run(
    session: Any,
    inputs: Mapping[str, Any],
    names: Sequence[str],
    low: Collection[str],
    outputs: list[str] | None = None,
) -> list[Any]:
    """The outputs of a session of a switched graph."""
    switches = {SWITCH + name: _OFF for name in names}
    switches.update({SWITCH + name: _ON for name in low})
    try:
        return list(session.run(outputs, {**inputs, **switches}))
    except Exception as error:  # ONNX Runtime raises classes of its own
        got = " ".join(str(error).split())
        fix = "check that the network takes inputs of that size: framepace bench MODEL with the same --size and --shape"
        raise BackendError("ONNX Runtime cannot run the network with switches", got=got, fix=fix) from error


def converted_graph(model: ModelPlan, precision: str) -> Any:
    """The network as the converter to a precision sees it: a ModelProto. Raises as `Network`."""
    return _optimised(_raised(_original(model), precision))


def _optimised(original: Any) -> Any:
    with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
        return optimised_and_named(original, Path(folder))


def _raised(proto: Any, precision: str) -> Any:
    """The network in an opset that has the type of the precision. Raises ModelError where it cannot be raised."""
    needed = _OPSETS.get(precision, 0)
    try:
        return raised(proto, needed)
    except Exception as error:  # onnx's converter raises classes of its own
        got = " ".join(str(error).split())
        fix = f"export it with opset {needed} or later"
        raise ModelError(f"{precision} needs another opset than the file has", got=got, fix=fix) from error


def _nothing_to_lower(model: ModelPlan, rounding: Rounding, branches: int) -> UsageError:
    problem = f"no node of {model.name!r} can be tried in {rounding.precision}"
    if branches:
        got = "all its float nodes are inside of branches (If, Loop), which are left as they are"
        return UsageError(problem, got=got, fix="export it without branches, for one size and mode")
    fix = "check a network that computes in float32; one in float64 is exported in float32 first"
    return UsageError(problem, got="no nodes that compute in float32", fix=fix)


def _count_values(graph: Any, tensors: Sequence[str]) -> list[str]:
    """Give a graph an output for the size of each tensor; their names."""
    from onnx import helper

    outputs = [f"{SWITCH}size/{place}" for place in range(len(tensors))]
    for tensor, output in zip(tensors, outputs, strict=True):
        graph.node.append(helper.make_node("Size", [tensor], [output]))
        graph.output.add().name = output
    return outputs


def _original(model: ModelPlan) -> Any:
    """The file's network. Raises where its precision cannot be lowered."""
    spec = inspect(model.model)
    if spec.format != "onnx":
        problem = "only the nodes of an ONNX file can be lowered one by one"
        raise UsageError(problem, got=model.model, expected=".onnx", fix="name the ONNX file that it was made from")
    proto = load(model.model)
    check_high(model.model)
    if weight_bytes(proto) > LARGEST // 2:
        got = f"{weight_bytes(proto) >> 20} MiB of weights"
        expected = f"at most {LARGEST >> 21} MiB"
        raise ModelError(f"{model.name!r} is too large to be tried node by node", got=got, expected=expected)
    if model.graph_shapes == "fixed":
        proto = fix_shapes(proto, resolve(spec, model).shapes)
    return proto


def _session(proto: Any, name: str) -> Any:
    """A session that computes what the graph says: ONNX Runtime's optimiser could take casts out."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = _NO_LOG
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may need the cores
    try:
        return onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises classes of its own
        got = " ".join(str(error).split())
        raise ModelError(f"ONNX Runtime cannot load {name!r} with switches", got=got) from error
