"""Which low number formats a model's file has already."""

from __future__ import annotations

from typing import Any

from framepace import values
from framepace.errors import UsageError
from framepace.models.convert.optimised import weights
from framepace.models.convert.variant import INTEGER, load

_FLOAT16 = 10  # of onnx.TensorProto, which is imported where it is needed
_BFLOAT16 = 16
_NAMES = {_FLOAT16: "FP16", _BFLOAT16: "BF16"}


def check_high(location: str, fix: str = "name the FP32 file that it was made from") -> None:
    """Raise UsageError for an ONNX file that is in a low precision: run in FP32 it would be held against itself."""
    formats = low_formats(location)
    if formats:
        got = f"{values.shown(location)}: {', '.join(formats)}"
        raise UsageError("the model is in low precision already", got=got, fix=fix)


def low_formats(location: str) -> list[str]:
    """Names of the low precisions of an ONNX file: 'FP16' and 'BF16' of weights, 'INT8' of integer nodes.

    Raises ModelError for a file that cannot be read.
    """
    proto: Any = load(location)
    formats = sorted({_NAMES[tensor.data_type] for tensor in weights(proto) if tensor.data_type in _NAMES})
    if any(node.op_type in INTEGER for node in proto.graph.node):
        formats.append("INT8")
    return formats
