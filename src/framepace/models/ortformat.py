"""Files in ONNX Runtime's own format (.ort): only ONNX Runtime reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

from framepace.errors import ModelError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.models.limits import read_onnx

SUFFIX = ".ort"
FORMAT = "ort"
_DTYPES = {"float": "float32", "double": "float64", "string": "object"}
_NO_LOG = 4  # severity: what fails comes as an exception too


@lru_cache(maxsize=64)
def inspect(location: str, modified: int) -> ModelSpec:
    """Identity and interface; ONNX Runtime loads the whole file. Raises ModelError."""
    import onnxruntime as ort

    data = read_onnx(location)
    options = ort.SessionOptions()
    options.log_severity_level = _NO_LOG
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many classes of its own, none of them public
        got = f"{location}: {' '.join(str(error).split())}"
        fix = f"convert it again with onnxruntime {ort.__version__}: onnxruntime.tools.convert_onnx_models_to_ort"
        raise ModelError("ONNX Runtime cannot read its own format", got=got, fix=fix) from error
    return ModelSpec(
        name=Path(location).stem,
        location=location,
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=_tensors(session.get_inputs()),
        outputs=_tensors(session.get_outputs()),
        format=FORMAT,
        size_bytes=len(data),
    )


def _tensors(values: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=v.name, dtype=_dtype(v.type), shape=tuple(map(_dimension, v.shape))) for v in values)


def _dtype(kind: str) -> str:
    """NumPy's name for 'tensor(float)'."""
    inner = kind.removeprefix("tensor(").removesuffix(")")
    return _DTYPES.get(inner, inner)


def _dimension(size: Any) -> int | str:
    if isinstance(size, int):
        return size
    return str(size or "?")
