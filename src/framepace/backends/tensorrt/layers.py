"""The layers of an engine as its inspector describes them, with the times that its profiler measures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from msgspec.structs import replace

from framepace.backends.tensorrt.api import Library
from framepace.facts.model import Layer
from framepace.units import NS_PER_MS

# Formats as inspectors write them: 'Channel major FP16 format where C % 8 == 0' (8.6), 'Half' (from 10 on).
_FORMATS = {
    "bfloat16": "bf16", "bf16": "bf16", "int8": "int8", "fp8": "fp8", "int4": "int4", "fp4": "fp4", "half": "fp16",
    "float16": "fp16", "fp16": "fp16", "float": "fp32", "fp32": "fp32", "int32": "int32", "int64": "int64",
    "bool": "bool", "uint8": "uint8",
}  # fmt: skip
_ELEMENT_BYTES = {
    "bf16": 2, "fp16": 2, "fp32": 4, "int8": 1, "uint8": 1, "bool": 1, "fp8": 1, "int32": 4, "int64": 8, "int4": 0.5,
    "fp4": 0.5,
}  # fmt: skip
_QUANTISED = ("int8", "fp8", "int4", "fp4")
# From 8.6 on the parser notes of each layer which operators it stands for.
_OPERATOR = re.compile(r"\[ONNX Layer: (.*?)\](?=[\x1e\x1f\[]|\s|$)")


def inspected(lib: Library, engine: Any, context: Any, times: Mapping[str, Sequence[float]]) -> tuple[Layer, ...]:
    """The engine's layers with median times; `times` are ms by name. `context` gives dynamic shapes their values."""
    inspector = engine.create_engine_inspector()
    if context is not None:
        inspector.execution_context = context
    return with_times(described(inspector.get_engine_information(lib.trt.LayerInformationFormat.JSON)), times)


def described(text: str) -> list[Layer]:
    """Layers from the inspector's JSON: objects where the engine was built with detail, else names alone."""
    try:
        entries = json.loads(text).get("Layers") or []
    except (ValueError, AttributeError):
        return []
    return [_layer(entry) for entry in entries]


def _layer(entry: Any) -> Layer:
    if not isinstance(entry, dict):
        return Layer(name=str(entry), place="cuda", nodes=nodes_of(str(entry)))
    name = str(entry.get("Name", ""))
    operators = _OPERATOR.findall(str(entry.get("Metadata", "")))
    return Layer(
        name=name,
        kind=str(entry.get("LayerType", "")),
        precision=_precision(entry),
        place="cuda",
        nodes=tuple(dict.fromkeys(operators)) or nodes_of(name),
        inputs=tuple(str(tensor["Name"]) for tensor in _tensors(entry, "Inputs")),
        outputs=tuple(str(tensor["Name"]) for tensor in _tensors(entry, "Outputs")),
        shape=next((_dimensions(tensor) for tensor in _tensors(entry, "Outputs")), ()),
        bytes=_bytes(entry),
    )


def _tensors(entry: Mapping[str, Any], side: str) -> list[Mapping[str, Any]]:
    """The tensors on one side of a layer that have a name."""
    tensors = entry.get(side)
    if not isinstance(tensors, list):
        return []
    return [tensor for tensor in tensors if isinstance(tensor, dict) and "Name" in tensor]


def _dimensions(tensor: Mapping[str, Any]) -> tuple[int, ...]:
    """The shape of a tensor; () where it is not described, or is open."""
    sizes = tensor.get("Dimensions")
    if not isinstance(sizes, list) or not all(isinstance(size, int) and size >= 0 for size in sizes):
        return ()
    return tuple(sizes)


def _bytes(entry: Mapping[str, Any]) -> int | None:
    """What a layer reads and writes, with the weights and biases that it names; None where a tensor's size is open."""
    tensors = [*_tensors(entry, "Inputs"), *_tensors(entry, "Outputs")]
    sizes = [_tensor_bytes(tensor) for tensor in tensors]
    if not tensors or None in sizes:
        return None
    return round(sum(size or 0.0 for size in sizes) + sum(_weight_bytes(entry.get(key)) for key in ("Weights", "Bias")))


def _tensor_bytes(tensor: Mapping[str, Any]) -> float | None:
    shape = _dimensions(tensor)
    width = _ELEMENT_BYTES.get(_format([tensor]))
    if not shape or width is None:
        return None
    return math.prod(shape) * width


def _weight_bytes(weights: Any) -> float:
    """Bytes of weights that are described as {"Type": "Half", "Count": 9408}; 0 of anything else."""
    if not isinstance(weights, dict) or not isinstance(weights.get("Count"), int):
        return 0.0
    width = _ELEMENT_BYTES.get(_FORMATS.get(str(weights.get("Type", "")).lower(), ""), 0)
    return float(weights["Count"] * width)


def _precision(entry: Mapping[str, Any]) -> str:
    """Of the output, but of the input where that is quantised: such a layer computes in it, whatever it writes."""
    read, written = (_format(entry.get(side)) for side in ("Inputs", "Outputs"))
    return read if read in _QUANTISED else written


def _format(tensors: Any) -> str:
    words = ""
    if isinstance(tensors, list) and tensors and isinstance(tensors[0], dict):
        words = str(tensors[0].get("Format/Datatype", "")).lower()
    return next((name for word, name in _FORMATS.items() if re.search(rf"\b{word}\b", words)), "")


def nodes_of(name: str) -> tuple[str, ...]:
    """Names of the operators that a layer is named after: 'Conv_0 + PWN(Sigmoid_1, Mul_2)'; none of a copy's."""
    if name.startswith(("Reformatting CopyNode", "__myl")):
        return ()
    inner = re.sub(r"\{ForeignNode\[(.*)\]\}", r"\1", name).replace("PWN(", "(")
    parts = re.split(r"\s\+\s|,\s|\|\||\.{3}|[()]", inner)
    return tuple(part.strip() for part in parts if part.strip(" +,"))


def with_times(layers: Iterable[Layer], times: Mapping[str, Sequence[float]]) -> tuple[Layer, ...]:
    """Layers with the medians of their times (`times`: ms); layers that only the profiler knows come last."""
    medians = {name: median(values) * NS_PER_MS for name, values in times.items() if values}
    timed = [replace(layer, time=medians.get(layer.name)) for layer in layers]
    names = {layer.name for layer in timed}
    unlisted = [
        Layer(name=name, time=time, place="cuda", nodes=nodes_of(name))
        for name, time in medians.items()
        if name not in names
    ]
    return (*timed, *unlisted)


def profiler(lib: Library) -> Any:
    """An IProfiler whose `times` collects the ms of each layer by name."""
    base: Any = lib.trt.IProfiler

    class Times(base):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.times: dict[str, list[float]] = {}

        def report_layer_time(self, name: str, ms: float) -> None:
            self.times.setdefault(name, []).append(ms)

    return Times()
