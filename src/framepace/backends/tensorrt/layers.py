"""The layers of an engine as its inspector describes them, with the times that its profiler measures."""

from __future__ import annotations

import json
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
    )


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
