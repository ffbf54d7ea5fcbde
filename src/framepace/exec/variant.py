"""Variants of a model: the ONNX file as the plan wants it run, with preparation folded in or in another precision.

A variant is a file in the cache, named by the model's hash and what was changed; the model itself is never touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.errors import ModelError, UsageError
from framepace.exec import builtin, cache
from framepace.exec.backend import Tell, silent
from framepace.exec.calibration import calibration_key, prepared_inputs
from framepace.exec.fold import fold
from framepace.exec.models import Resolved, inspect, resolve
from framepace.exec.precision import to_fp16, to_int8, versions
from framepace.facts.plan import ModelPlan, Prepare

_PRECISIONS = ("fp16", "int8")


def variant(model: ModelPlan, precision: str | None = None, tell: Tell = silent) -> str:
    """Location of the ONNX file to load: `model.model` itself when nothing is changed, else a file of the cache.

    `model.prepare.place` 'graph' folds normalisation into the graph: the image input becomes uint8 (same name, layout
    and size), the values within float rounding of those that the host would have prepared.

    Args:
        precision: 'fp16' or 'int8' to put into the file; None leaves its own (libraries that convert themselves).
            Inputs and outputs keep their dtype. 'int8' is Q/DQ (symmetric, per channel), calibrated on frames of
            `model.calibration`.

    Raises:
        ModelError: the model cannot be converted. UsageError: no calibration data, or a precision that cannot be
            put into the file.
    """
    if precision is None and model.prepare.place == "host":
        return model.model
    if precision is not None and precision not in _PRECISIONS:
        fix = "use fp16, or a library that converts by itself: tensorrt 10, torch"
        raise UsageError("an ONNX file cannot be converted to that precision", got=precision, fix=fix)
    found = inspect(model.model)
    resolved = resolve(found, model)
    frames = _frames(model, resolved) if precision == "int8" else None
    name = _name(model, found.sha256, precision)
    path = cache.folder() / name
    if path.is_file():
        return str(path)
    tell(f"converting {model.name}: {' and '.join(_words(model, precision))}", None)
    return str(cache.put(name, _converted(model, resolved, precision, frames)))


def _converted(model: ModelPlan, resolved: Resolved, precision: str | None, frames: Any) -> bytes:
    proto = load(model.model)
    # Quantisation comes first: it is calibrated on the inputs that the host prepares.
    if precision == "int8":
        proto = to_int8(proto, frames, model.name)
    elif precision == "fp16":
        proto = to_fp16(proto, model.name)
    if model.prepare.place == "graph":
        proto = fold(proto, resolved, model)
    data: bytes = proto.SerializeToString()
    return data


def load(location: str) -> Any:
    """The ModelProto with all its weights."""
    import onnx

    if location.startswith("builtin:"):
        return onnx.load_model_from_string(builtin.model_bytes(location.removeprefix("builtin:")))
    try:
        return onnx.load(location)
    except Exception as error:  # damaged files, weights that are missing beside it: onnx raises many classes
        got = " ".join(str(error).split())
        fix = "put the complete weights file that the model names beside it"
        raise ModelError(f"{location} cannot be converted", got=got, fix=fix) from error


def _frames(model: ModelPlan, resolved: Resolved) -> Iterator[dict[str, Any]]:
    if model.calibration is None:
        fix = "--set calibration=VIDEO (frames of your own; 'synthetic' where only speed matters)"
        raise UsageError(f"precision int8 of {model.name!r} needs frames to calibrate on", got="none", fix=fix)
    return prepared_inputs(replace(model, prepare=_on_host(model.prepare)), resolved)


def _on_host(prepare: Prepare) -> Prepare:
    return replace(prepare, place="host")


def _name(model: ModelPlan, sha256: str, precision: str | None) -> str:
    prepare = model.prepare if precision == "int8" or model.prepare.place == "graph" else None
    frames = (calibration_key(model), model.size, model.batch.max) if precision == "int8" else None
    key = cache.key(sha256, precision, prepare, frames, sorted(model.shapes.items()), versions())
    return f"variants/{Path(model.name).name}-{'-'.join([precision or 'own', model.prepare.place])}-{key}.onnx"


def _words(model: ModelPlan, precision: str | None) -> Iterator[str]:
    if precision is not None:
        yield precision
    if model.prepare.place == "graph":
        yield "preparation into the graph"
