"""Variants of a model: the ONNX file as the plan wants it run, with preparation folded in or in another precision.

A variant is a file in the cache, named by what it was made from: the model and the weights beside it, what was changed,
the converters' versions, the frames of the calibration. The model itself is never touched.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.errors import ModelError, UsageError
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.models import builtin
from framepace.models.convert.calibration import calibration_key, prepared_inputs
from framepace.models.convert.fixed import check_same, fix_shapes
from framepace.models.convert.fold import fold, folds
from framepace.models.convert.int8cpu import is_narrow
from framepace.models.convert.optimised import LARGEST, weight_bytes
from framepace.models.convert.precision import to_fp16, to_int8, to_named, versions
from framepace.models.inputs import staged
from framepace.models.spec import Resolved, inspect, operators, resolve, stem
from framepace.progress import Tell, silent
from framepace.store import cache

_PRECISIONS = ("fp16", "int8", "int8+fp16", "int8+uint8", "named")
# Operators of networks in INT8: Q/DQ pairs, integer products, and products that quantise what comes at run time.
INTEGER = frozenset(
    [
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLSTM",
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
    ],
)
_REVISION = 2  # to be raised when the same model would be converted differently


def _is_done(model: ModelPlan, spec: ModelSpec, precision: str | None) -> bool:
    """Whether the file has the Q/DQ pairs already that `precision` asks for."""
    return _quantises(precision) and spec.format == "onnx" and is_quantised(model.model)


def variant(model: ModelPlan, precision: str | None = None, tell: Tell = silent) -> str:
    """Location of the ONNX file to load: `model.model` itself when nothing is changed, else a file of the cache.

    `model.prepare.place` 'graph' folds normalisation into the graph: the image input becomes uint8 (same name, layout
    and size), the values within float rounding of those that the host would have prepared. `model.graph_shapes` 'fixed'
    puts the plan's sizes in and folds what computes shapes, checked to give the same answers.

    Args:
        precision: 'fp16' or 'int8' to put into the file; None leaves its own (libraries that convert themselves).
            Inputs and outputs keep their dtype. 'int8' is Q/DQ (symmetric, per channel), calibrated on frames of
            `model.calibration`; 'int8+fp16' has the rest in float16, for libraries that run what the file says
            (TensorRT 11 and RTX), 'int8+uint8' unsigned activations, for CPUs. A file that has Q/DQ pairs already is
            what int8 asks for, and is left as it is.
            'fp16' and 'int8' leave `model.fp32_nodes` in float32. 'named' leaves all in float32, with the nodes and
            names that these have, for a library that is told which of them to keep (TensorRT 8.6 and 10).

    Raises:
        ModelError: the model cannot be converted. UsageError: no calibration data, or a precision that cannot be
            put into the file. SourceError: calibration data that cannot be read.
    """
    spec = inspect(model.model)
    if _is_done(model, spec, precision):
        precision = None
    _check(model, precision)
    if spec.format != "onnx" or not _may_change(model, precision):
        return model.model
    resolved = resolve(spec, model)
    folded = model.prepare.place == "graph" and folds(resolved, model.name)
    changes = _Changes(precision, folded, fixed=model.graph_shapes == "fixed")
    if changes == _NONE:
        return model.model
    name = _file_name(model, spec, resolved, changes)
    path = cache.folder() / name
    if not path.is_file():
        tell(f"converting {model.name}: {' and '.join(changes.words())}", None)
        path = _put(name, _converted(model, resolved, changes, tell))
    return str(path)


@dataclass(frozen=True)
class _Changes:
    """What a variant has that the model has not."""

    precision: str | None = None
    folded: bool = False
    fixed: bool = False

    def words(self) -> Iterator[str]:
        """For people."""
        if self.fixed:
            yield "fixed shapes"
        if self.precision is not None:
            yield self.precision
        if self.folded:
            yield "preparation into the graph"


_NONE = _Changes()


def _may_change(model: ModelPlan, precision: str | None) -> bool:
    return precision is not None or model.prepare.place == "graph" or model.graph_shapes == "fixed"


def _check(model: ModelPlan, precision: str | None) -> None:
    if precision is not None and precision not in _PRECISIONS:
        fix = "use fp16, or a library that converts by itself: tensorrt 10, torch"
        raise UsageError("an ONNX file cannot be converted to that precision", got=precision, fix=fix)
    if _quantises(precision) and model.calibration is None:
        fix = "--set calibration=VIDEO (frames of your own; 'synthetic' where only speed matters)"
        raise UsageError(f"precision int8 of {model.name!r} needs frames to calibrate on", got="none", fix=fix)


def _quantises(precision: str | None) -> bool:
    return precision is not None and precision.startswith("int8")


def is_quantised(location: str) -> bool:
    """Whether an ONNX file is a quantised network: whoever made it has decided how."""
    return not INTEGER.isdisjoint(operators(location))


def _converted(model: ModelPlan, resolved: Resolved, changes: _Changes, tell: Tell) -> Any:
    proto = load(model.model)
    precision = changes.precision
    if changes.fixed:
        proto = _fixed(model, resolved, proto)
    # Quantisation comes first: it is calibrated on the inputs that the host prepares.
    if _quantises(precision):
        frames = prepared_inputs(model, resolved)
        proto = to_int8(
            proto, frames, model.name, tell, half=precision == "int8+fp16", unsigned=precision == "int8+uint8",
            method=model.calibration_method, kept=model.fp32_nodes, narrow=is_narrow(model),
        )  # fmt: skip
    elif precision == "fp16":
        proto = to_fp16(proto, model.name, model.fp32_nodes)
    elif precision == "named":
        proto = to_named(proto, model.name, model.fp32_nodes)
    if changes.folded:
        proto = fold(proto, resolved, model)
    return proto


def _fixed(model: ModelPlan, resolved: Resolved, proto: Any) -> Any:
    """The model with the plan's sizes in it, checked on inputs such as a run without pictures has."""
    inputs = {tensor.name: staged(resolved, tensor) for tensor in resolved.inputs}
    fixed = fix_shapes(load(model.model), resolved.shapes)
    check_same(proto, fixed, inputs, model.name)
    return fixed


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


def weight_files(location: str) -> list[Path]:
    """The files beside an ONNX file that hold its weights, missing ones too."""
    import onnx
    from onnx import external_data_helper as external

    if location.startswith("builtin:"):
        return []
    graph = onnx.load(location, load_external_data=False).graph
    constants = (attribute.t for node in graph.node if node.op_type == "Constant" for attribute in node.attribute)
    outside = (tensor for tensor in (*graph.initializer, *constants) if external.uses_external_data(tensor))
    names = {external.ExternalDataInfo(tensor).location for tensor in outside}
    return [Path(location).parent / name for name in sorted(names)]


def _put(name: str, proto: Any) -> Path:
    """The variant in the cache; what is larger than a file of ONNX may be has its weights in a second one.

    The weights come first: a model that is there is complete.
    """
    import onnx

    if weight_bytes(proto) <= LARGEST:
        return cache.put(name, proto.SerializeToString())
    beside = Path(f"{name}.data")
    with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(proto, path, save_as_external_data=True, location=beside.name, convert_attribute=True)
        cache.put(str(beside), path.with_name(beside.name).read_bytes())
        return cache.put(name, path.read_bytes())


def _file_name(model: ModelPlan, spec: ModelSpec, resolved: Resolved, changes: _Changes) -> str:
    """The variant's place in the cache, by everything that it is made from."""
    parts: list[object] = [_REVISION, spec.sha256, *_stamps(weight_files(model.model))]
    words = []
    precision = changes.precision
    if changes.fixed:
        parts += ["fixed", *sorted(resolved.shapes.items()), *versions()]
        words.append("fixed")
    if changes.folded:
        prepare = model.prepare
        parts += ["folded", prepare.scale, prepare.mean, prepare.std, prepare.layout]
        words.append("folded")
    if precision is not None:
        parts += [precision, *versions()]
        words.insert(0, precision)
    if _quantises(precision):
        parts += _calibration_parts(model)
    if precision is not None and model.fp32_nodes:
        parts += ["kept", *sorted({*model.fp32_nodes})]
        words.append("mixed")
    return f"variants/{cache.plain(stem(model.model))}-{'-'.join(words)}-{cache.key(*parts)}.onnx"


def _calibration_parts(model: ModelPlan) -> list[object]:
    """What the inputs of a calibration depend on."""
    prepare = replace(model.prepare, place="host", constant=False)
    parts: list[object] = [calibration_key(model), prepare, model.size, model.batch.max, sorted(model.shapes.items())]
    if model.calibration_method != "percentile":
        parts.append(model.calibration_method)
    if is_narrow(model):
        parts.append("narrow")
    return parts


def _stamps(files: list[Path]) -> Iterator[str]:
    """Size and time of last change: weights may take long to read."""
    for file in files:
        if file.is_file():
            yield f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}"
