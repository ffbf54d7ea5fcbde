"""Lower precision put into an ONNX file, by ONNX Runtime's own converters.

Both convert what ONNX Runtime's basic optimisation made of the model: constants folded, batch normalisations in the
convolutions. It matters: PP-OCRv4's text detector has a variance of 9.8e7 that FP16 cannot hold; converted as it is its
output is off by 804 % (relative L2 over frames of a real video), optimised by 0.5 %.

FP16: `onnxruntime.transformers.float16`. It gives the same numbers as onnxconverter-common 1.16, which is where it came
from, knows the operators whose inputs must stay float32 (Resize's scales) and comes with ONNX Runtime.

INT8: `onnxruntime.quantization`, Q/DQ pairs, symmetric, weights per channel, no quantised bias, as TensorRT takes it.
Only what multiplies is quantised. Relative L2 error on other frames of the calibrated video | on another video, in
percent:

    network                fp16          int8: min-max   entropy        99.99 %        99.99 %, and Add, pools
    builtin:classifier     0.07 | 0.07    3.8 |  3.1      4.9 |  4.6     4.0 |  3.4     4.7 |  4.4
    builtin:detector       0.05 | 0.05    4.6 |  4.6      4.6 |  4.5     4.0 |  4.1     4.0 |  4.1
    builtin:resnet50       0.04 | 0.04    2.2 |  2.1      2.2 |  2.1     2.2 |  2.1     2.4 |  2.3
    PP-OCR direction       0.55 | 0.15   21.4 | 20.5     22.4 | 15.0    12.9 | 16.2    14.7 | 21.5
    PP-OCRv4 recogniser    4.94 | 0.42   24.0 | 16.2     24.6 | 16.5    21.7 | 14.9    24.4 | 15.3

So ranges hold 99.99 % of the values. That is of a CPU with VNNI. On one without it (AMD EPYC, ONNX Runtime 1.32) the
answers of builtin:classifier are off by 68 % and of builtin:detector by 24 %, with weights of 7 bits by 4.1 and 2.9 %,
at the same speed. PP-OCRv4's text detector (hard sigmoids, squeeze and excitation) does not survive
INT8 with any of them (43 to 101 %).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from framepace.facts.plan import Calibration
from framepace.models.convert.int8ranges import activation_ranges, tensors_data
from framepace.models.convert.kept import check_names, name_nodes, weights_apart, with_movers, without_round_trips
from framepace.models.convert.optimised import LARGEST, inner_nodes, optimised_file, weight_bytes, weights
from framepace.models.convert.quiet import QUANTISED, quietly
from framepace.progress import Tell, silent

_PER_CHANNEL_OPSET = 13
_HALF_SCALE_OPSET = 19


def versions() -> tuple[str, str]:
    """Versions of the converters: another one may convert differently."""
    import onnx
    import onnxruntime

    return onnx.__version__, onnxruntime.__version__


def _has_half(proto: Any) -> bool:
    from onnx import TensorProto

    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in weights(proto))


def to_fp16(proto: Any, name: str, kept: Sequence[str] = ()) -> Any:
    """The model in float16, with inputs and outputs in their own dtypes.

    A model with float16 weights stays as it is: somebody has decided what is in float16 and what is not. Weights
    beyond float16's range become its largest number. Operators that lose too much in it (the converter's list:
    NonMaxSuppression, TopK, Min, Max, ...) stay in float32, between casts, and so do the nodes named in `kept`, with
    what only moves values between them (`framepace.models.convert.kept`).

    Raises ModelError: the converter cannot do it. UsageError: no node has a name in `kept`.
    """
    if _has_half(proto):
        return proto
    with quietly(name, "FP16") as folder:
        optimised = optimised_and_named(proto, folder)
        check_names(kept, optimised.graph, name)
        return _halved(optimised, kept)


def to_named(proto: Any, name: str, kept: Sequence[str]) -> Any:
    """The model in float32 with the nodes and names that `to_fp16` converts. Raises as that."""
    with quietly(name, "FP16") as folder:
        named = optimised_and_named(proto, folder)
        check_names(kept, named.graph, name)
        return named


def optimised_and_named(proto: Any, folder: Path) -> Any:
    """What is converted: the model after ONNX Runtime's basic optimisation, each node with a name of its own.

    `folder` is for files on the way.
    """
    import onnx

    optimised = onnx.load(optimised_file(proto, folder))
    name_nodes(optimised.graph)
    return optimised


def _halved(proto: Any, kept: Sequence[str] = ()) -> Any:
    from onnxruntime.transformers.float16 import convert_float_to_float16

    if _has_half(proto):
        return proto
    large = weight_bytes(proto) > LARGEST  # shapes were inferred, from a file
    block = with_movers(kept, proto.graph) if kept else []
    weights_apart(proto.graph, block)
    half = convert_float_to_float16(proto, keep_io_types=True, disable_shape_infer=large, node_block_list=block)
    if kept:
        without_round_trips(half.graph)
    return _in_order(half)


def to_int8(
    proto: Any,
    frames: Sequence[dict[str, Any]],
    name: str,
    tell: Tell = silent,
    *,
    half: bool = False,
    method: Calibration = "percentile",
    kept: Sequence[str] = (),
    unsigned: bool = False,
    narrow: bool = False,
) -> Any:
    """The model with Q/DQ pairs around what runs in int8, calibrated on `frames` (inputs by name).

    `method` says what of a tensor's values its range holds: all of them ('minmax'), 99.99 % ('percentile'), or what
    loses the least information ('entropy'). The nodes named in `kept` stay in float32. `unsigned` activations have a
    zero point of their own: it is what CPUs multiply fastest, and what no library of a GPU takes. `narrow` weights have
    7 bits, for CPUs on which sums of products saturate (`int8cpu`).

    `half` puts all the rest into float16 (which needs opset 19), for libraries that run what the file says: else the
    rest is float32. Such a file is for GPUs: on the CPU, ONNX Runtime up to 1.23 computes it wrong (30 % off, where
    1.31 and onnx's reference evaluator agree).

    Raises ModelError: what the converter cannot do, an earlier opset than 13 that cannot be raised, activations
    that are not finite. UsageError: no node has a name in `kept`.
    """
    opset = _PER_CHANNEL_OPSET
    if half or _has_half(proto):
        opset = _HALF_SCALE_OPSET
    with quietly(name, "INT8") as folder:
        model = optimised_and_named(raised(proto, opset), folder)
    check_names(kept, model.graph, name)
    ranges = activation_ranges(model, frames, method, tell, name)
    with quietly(name, "INT8"):
        quantised = _quantised(model, tensors_data(ranges, method, model.graph), kept, unsigned, narrow)
        if half:  # not through the optimisation again: it would fold the weights' Q/DQ pairs away
            quantised = _halved(quantised, kept)
        return quantised


def _quantised(model: Any, ranges: Any, kept: Sequence[str], unsigned: bool, narrow: bool) -> Any:
    """What `quantize_static` makes of ranges that are known; the head of this module says why these options."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    quantiser = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=narrow,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8 if unsigned else QuantType.QInt8,
        tensors_range=ranges,
        nodes_to_quantize=[],
        nodes_to_exclude=list(kept),
        op_types_to_quantize=list(QUANTISED),
        extra_options={
            "ActivationSymmetric": not unsigned,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
            "DedicatedQDQPair": False,
        },
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    return quantiser.model.model


def raised(proto: Any, needed: int) -> Any:
    """The model in an opset that has what is needed: scales per channel (13), scales in float16 (19), BF16 (13)."""
    from onnx import version_converter

    opset = next((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), 0)
    if opset >= needed:
        return proto
    return version_converter.convert_version(_open_sides(proto), needed)


def _open_sides(proto: Any) -> Any:
    """The model with sides of -1 left open: exporters write them so, and onnx computes with the number."""
    from onnx import ModelProto

    opened = ModelProto()
    opened.CopyFrom(proto)
    for value in (*opened.graph.input, *opened.graph.output, *opened.graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_value < 0:
                side.Clear()
    return opened


def _in_order(proto: Any) -> Any:
    """Nodes after what they read: the converter puts its casts at the end, which the ONNX standard forbids."""
    nodes = list(proto.graph.node)
    missing = {name for node in nodes for name in node.output}
    ordered: list[Any] = []
    while nodes:
        blocked = []
        for node in nodes:
            if any(name in missing for inner in inner_nodes(node) for name in inner.input):
                blocked.append(node)
                continue
            ordered.append(node)
            missing.difference_update(node.output)
        if len(blocked) == len(nodes):
            raise ValueError("the graph has a cycle")
        nodes = blocked
    del proto.graph.node[:]
    proto.graph.node.extend(ordered)
    return proto
