"""What a model file may declare: sizes, names and places that no real network has are refused before they cost.

The libraries that load models would allocate what a file declares, open what it names, or end with an exception of
their own. What is checked here is what can be known without loading weights.
"""

from __future__ import annotations

import math
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from framepace.errors import ModelError
from framepace.facts.model import TensorSpec
from framepace.inputfile import InputKind, memory_bytes, read_file, shown
from framepace.units import format_bytes

ONNX_FILE = InputKind(
    "the model",
    ModelError,
    expected="an .onnx file, a PyTorch program (.pt2, .pt), an engine, or builtin:NAME",
    fix="check the path; `framepace bench builtin:detector` measures a built-in network",
)
_ONNX_BYTES = (1 << 31) - 1  # the largest message that protobuf reads; larger models have their weights beside them
_LONGEST_NAME = 1024  # letters of an input or output
_MOST_ELEMENTS = 1 << 40  # of one weight: four terabytes in float32
_EXTERNAL = 1  # onnx.TensorProto.EXTERNAL
_DIGITS = re.compile(r"\d+")


def read_onnx(location: str) -> bytes:
    """The bytes of an ONNX file. Raises ModelError for what is no file, cannot be read, or is over 2 GiB."""
    return read_file(location, ONNX_FILE, _ONNX_BYTES)


def check_graph(location: str, graph: Any) -> None:
    """Raises ModelError where an ONNX graph declares what cannot be: see this module's first sentence."""
    for value in (*graph.input, *graph.output):
        _check_name(location, value.name)
    for tensor in _weights(graph):
        _check_weight(location, tensor)


def check_memory(model: str, tensors: Iterable[TensorSpec]) -> None:
    """Raises ModelError where inputs alone, every dimension known, need more memory than there is."""
    needed = 0
    for tensor in tensors:
        needed += math.prod(int(size) for size in tensor.shape) * _item_bytes(tensor.dtype)
    there = memory_bytes()
    if needed > there:
        message = f"one set of inputs of model {model!r} does not fit into memory"
        fix = "give a smaller size, shape or batch"
        raise ModelError(message, got=format_bytes(needed), expected=f"at most {format_bytes(there)}", fix=fix)


def _check_name(location: str, name: Any) -> None:
    if not isinstance(name, str):  # what is no UTF-8 comes as bytes
        got = f"{shown(location)}: {name[:40]!r}"
        fix = "give its inputs and outputs names of plain letters when it is exported"
        raise ModelError("a name in the model is no text", got=got, expected="UTF-8", fix=fix)
    if len(name) > _LONGEST_NAME:
        got = f"{shown(location)}: {name[:40]!r}... ({len(name)} letters)"
        fix = "give its inputs and outputs short names when it is exported"
        expected = f"at most {_LONGEST_NAME} letters"
        raise ModelError("a name in the model is too long", got=got, expected=expected, fix=fix)


def _weights(graph: Any) -> Iterator[Any]:
    """The constant tensors of a graph and of the graphs in its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _weights(inner)


def _check_weight(location: str, tensor: Any) -> None:
    if any(size < 0 for size in tensor.dims) or math.prod(tensor.dims) > _MOST_ELEMENTS:
        got = f"{shown(location)}: {tensor.name[:40]!r} of shape {list(tensor.dims)[:8]}"
        expected = f"sizes of 0 or more, at most {_MOST_ELEMENTS:,} elements"
        raise ModelError(
            "a weight of the model has an impossible size", got=got, expected=expected, fix="export it again"
        )
    if tensor.data_location == _EXTERNAL:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        _check_beside(location, entries.get("location", ""))


def _check_beside(location: str, name: str) -> None:
    """Raises ModelError for weights outside of the model's folder, or in what is no file; missing ones may be."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive or "\0" in name
    if not name or outside:
        got = f"{shown(location)}: {name[:80]!r}"
        message = "the model's weights are outside of its folder"
        fix = "put the weights file beside the model, and export it again with that name"
        raise ModelError(message, got=got, expected="a file in the folder of the model", fix=fix)
    beside = Path(location).parent / name
    try:
        mode = os.stat(beside).st_mode
    except OSError:
        return
    if not stat.S_ISREG(mode):
        got = f"{shown(location)}: {shown(beside)}"
        raise ModelError(
            "the model's weights are not in a regular file", got=got, expected="a file", fix="export it again"
        )


def _item_bytes(dtype: str) -> int:
    """Bytes of an element, from the digits in its dtype's name; strings are pointers."""
    digits = _DIGITS.search(dtype)
    if digits is None:
        return {"bool": 1}.get(dtype, 8)
    return max(1, int(digits[0]) // 8)
