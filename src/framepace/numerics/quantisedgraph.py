"""How ONNX Runtime runs a file of Q/DQ pairs on the CPU: which nodes in INT8, which still in FP32 between pairs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from framepace.facts.calibrating import QuantisedNodes, QuantisedSpeed

_PAIR = ("QuantizeLinear", "DequantizeLinear")
_INTEGER = ("QLinear", "QGemm", "QAttention", "ConvInteger", "MatMulInteger", "DynamicQuantize")
_PRODUCTS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_NO_LOG = 4
_INFERENCES = 8


def quantised_nodes(graph: Any) -> QuantisedNodes:
    """Of the graph that a session runs: integer nodes, products that read a DequantizeLinear, pairs that are left."""
    writers = {output: node.op_type for node in graph.node for output in node.output}
    return QuantisedNodes(
        integer=sum(node.op_type.startswith(_INTEGER) for node in graph.node),
        unfused=tuple(_name(node) for node in graph.node if _is_unfused(node, writers)),
        converting=sum(node.op_type in _PAIR for node in graph.node),
    )


def _is_unfused(node: Any, writers: Mapping[str, str]) -> bool:
    kind = node.op_type.removeprefix("Fused")
    return kind in _PRODUCTS and any(writers.get(name) == "DequantizeLinear" for name in node.input)


def _name(node: Any) -> str:
    return node.name or next(iter(node.output), "")


def quantised_speed(
    plain: str, quantised: str, unsigned: str, inputs: Mapping[str, Any], threads: int = 0
) -> QuantisedSpeed:
    """FP32 and INT8 files on the CPU, one inference after the other in turn.

    Args:
        plain: path of the FP32 file.
        quantised: path of the one with Q/DQ pairs, whose nodes are counted.
        unsigned: path of the one with unsigned activations.
        inputs: of one frame, by name.
        threads: of each session; 0 leaves the number to ONNX Runtime.
    """
    import onnx

    with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
        graph = Path(folder) / "run.onnx"
        sessions = (_session(plain, threads), _session(quantised, threads, graph), _session(unsigned, threads))
        nodes = quantised_nodes(onnx.load(str(graph), load_external_data=False).graph)
        fp32, int8, uint8 = _timed(sessions, inputs)
    return QuantisedSpeed(fp32_ns=fp32, int8_ns=int8, uint8_ns=uint8, nodes=nodes)


def _session(path: str, threads: int, graph: Path | None = None) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = _NO_LOG
    options.intra_op_num_threads = threads
    if graph is not None:
        options.optimized_model_filepath = str(graph)
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _timed(sessions: Sequence[Any], inputs: Mapping[str, Any]) -> list[float]:
    """The shortest time of each session, in ns: what other programs take is not its own."""
    times: list[list[int]] = [[] for _ in sessions]
    for _ in range(_INFERENCES):
        for session, measured in zip(sessions, times, strict=True):
            begin = perf_counter_ns()
            session.run(None, dict(inputs))
            measured.append(perf_counter_ns() - begin)
    return [float(min(measured)) for measured in times]
