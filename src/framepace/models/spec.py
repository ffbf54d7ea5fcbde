"""Models: what a file is (`inspect`), and the shapes it runs with under a plan (`resolve`)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from shlex import quote
from typing import Any

from framepace.errors import FramepaceError, ModelError, UsageError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan, Plan
from framepace.models import builtin, ortformat, served
from framepace.models.batchaxis import ANY_RANK
from framepace.models.limits import check_graph, read_onnx
from framepace.models.resolved import Image as Image
from framepace.models.resolved import Resolved as Resolved
from framepace.models.resolving import resolve as resolve
from framepace.models.torch import spec as torchspec
from framepace.openinference.client.address import is_address, served_name

NULL = "null"
_NULL_SPEC = ModelSpec(
    name=NULL,
    location=NULL,
    sha256="",
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 3, 64, 64)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 1)),),
    format=NULL,
)
_AGAIN = "export it again; compare its size with the original if it was downloaded"
_FROM_TENSORFLOW = "convert it: pip install tf2onnx; python -m tf2onnx.convert --help"
_ONLY_WEIGHTS = "it holds weights without a network: load them in its program and call torch.onnx.export"
# What to do with files of other libraries, by the end of their names.
_CONVERSIONS = {
    **dict.fromkeys((".tflite", ".pb", ".h5", ".keras"), _FROM_TENSORFLOW),
    **dict.fromkeys((".safetensors", ".bin", ".ckpt", ".gguf"), _ONLY_WEIGHTS),
    ".pdmodel": "convert it: pip install paddle2onnx; paddle2onnx --help",
    ".xml": "give the ONNX file that this OpenVINO file was made from",
    ".mlmodel": "give the ONNX or PyTorch file that this Core ML file was made from",
}
# What to export in place of a value that is no tensor, by its kind in the file.
_IN_PLACE = {
    "map_type": "skl2onnx with options={'zipmap': False}",
    "sequence_type": "the parts of the sequence, or all of them joined (ConcatFromSequence)",
    "optional_type": "what the optional holds, and another file without it",
    "": "a dense tensor",
}
_SUFFIXES = (".onnx", ortformat.SUFFIX, *torchspec.SUFFIXES, ".engine", ".plan", ".trt")


def no_network(model: ModelPlan) -> UsageError:
    """The error for the model that only takes time, where its backend would compute it."""
    return UsageError(
        f"{NULL!r} has no network: it takes time, and computes nothing",
        got=f"backend {model.backend}",
        expected="the backend null",
        fix=f"--set {quote(f'{model.name}.backend=null')}",
    )


def stem(location: str) -> str:
    """What a model is called when nobody gives it a name: its file's name without the suffix, or the built-in's."""
    if is_address(location):
        return served_name(location)
    name = location.removeprefix("builtin:").rsplit("/", 1)[-1]
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)


def inspect(location: str) -> ModelSpec:
    """Identity and interface of a model: a path to an ONNX file or a PyTorch program, 'builtin:NAME',
    'null', or the address of a model that a server runs.

    Weights are not loaded. Raises ModelError when there is no such file or it is not an ONNX model.
    """
    if location == NULL:
        return _NULL_SPEC
    if location.startswith("builtin:"):
        return _inspect_builtin(location)
    if is_address(location):
        return served.inspect(location)
    if Path(location).suffix in torchspec.SUFFIXES:
        return torchspec.inspect(location)
    if Path(location).suffix == ortformat.SUFFIX:
        return ortformat.inspect(location, torchspec.modified(location))
    return _inspect_file(location, torchspec.modified(location))


def check_exists(location: str) -> None:
    """Raise ModelError for a model that is neither a file nor known by its name."""
    if not os.path.exists(location):  # unlike Path.exists, false for a path that cannot be
        inspect(location)


@lru_cache(maxsize=64)
def _inspect_builtin(location: str) -> ModelSpec:
    name = location.removeprefix("builtin:")
    return _spec(name, location, builtin.model_bytes(name))


@lru_cache(maxsize=64)
def _inspect_file(location: str, modified: int) -> ModelSpec:
    return _spec(Path(location).stem, str(Path(location)), read_onnx(location))


def operators(location: str) -> frozenset[str]:
    """The operators of a network (a path to an ONNX file or 'builtin:NAME'), inside If, Loop and its functions too.

    Weights are not loaded. Raises ModelError as `inspect`.
    """
    if inspect(location).format != "onnx":  # what is wrong with the file is said there
        return frozenset()
    return _operators(location, torchspec.modified(location))


@lru_cache(maxsize=64)
def _operators(location: str, modified: int) -> frozenset[str]:
    if location.startswith("builtin:"):
        data = builtin.model_bytes(location.removeprefix("builtin:"))
    else:
        data = read_onnx(location)
    model = _decode(location, data)
    return frozenset(kind for part in (model.graph, *model.functions) for kind in _kinds(part))


def metadata(location: str) -> dict[str, str]:
    """The texts that an exporter wrote into a model file, by their keys; empty where the file is no ONNX file.

    Raises ModelError as `inspect`.
    """
    if inspect(location).format != "onnx" or location.startswith("builtin:"):
        return {}
    return dict(_metadata(location, torchspec.modified(location)))


@lru_cache(maxsize=64)
def _metadata(location: str, modified: int) -> tuple[tuple[str, str], ...]:
    model = _decode(location, read_onnx(location))
    return tuple((entry.key, entry.value) for entry in model.metadata_props)


def _kinds(graph: Any) -> Iterator[str]:
    """Of the nodes of a graph, or of a function of the model's own."""
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _kinds(inner)


def _spec(name: str, location: str, data: bytes) -> ModelSpec:
    graph, opset = _parse(location, data)
    check_graph(location, graph)
    weights = {tensor.name for tensor in graph.initializer}
    return ModelSpec(
        name=name,
        location=location,
        sha256=hashlib.sha256(data).hexdigest(),
        inputs=tuple(_tensor(value, location) for value in graph.input if value.name not in weights),
        outputs=tuple(_tensor(value, location) for value in graph.output),
        opset=opset,
        nodes=len(graph.node),
        size_bytes=len(data),
    )


def _parse(location: str, data: bytes) -> tuple[Any, int]:
    """The graph and its opset."""
    expected = "an ONNX model"
    model = _decode(location, data)
    opsets = {o.domain: o.version for o in model.opset_import}
    if not model.graph.node or not model.graph.output or not opsets:
        got = f"{location}: {len(model.graph.node)} nodes, {len(model.graph.output)} outputs"
        message = "the file holds no complete graph: truncated, or not an ONNX model"
        raise ModelError(message, got=got, expected=expected, fix="export it again")
    return model.graph, opsets.get("", opsets.get("ai.onnx", 0))


def _decode(location: str, data: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        message = "the file is not an ONNX model, or is damaged"
        if not data:
            message = "the file is empty"
        got = f"{location} ({len(data)} bytes)"
        fix = _CONVERSIONS.get(Path(location).suffix.lower(), _AGAIN)
        raise ModelError(message, got=got, expected="an ONNX model", fix=fix) from error


def _tensor(value: Any, location: str) -> TensorSpec:
    from onnx import helper

    kind = value.type.tensor_type
    if not kind.elem_type:
        expected = "tensors as inputs and outputs"
        fix = f"export it with tensors only: {_IN_PLACE[_kind(value.type)]}"
        raise ModelError(f"{value.name!r} is not a tensor", got=location, expected=expected, fix=fix)
    try:
        name = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except KeyError:
        got = f"{location}: element type {kind.elem_type}"
        raise ModelError(
            f"{value.name!r} has a dtype that ONNX does not know", got=got, fix="export it again"
        ) from None
    if not kind.HasField("shape"):
        return TensorSpec(name=value.name, dtype=name, shape=ANY_RANK)
    return TensorSpec(name=value.name, dtype=name, shape=tuple(_dimension(dim) for dim in kind.shape.dim))


def _kind(type_proto: Any) -> str:
    """The kind of a value that is no tensor; a sequence of maps is a map."""
    kind = str(type_proto.WhichOneof("value"))
    if kind == "sequence_type" and type_proto.sequence_type.elem_type.HasField("map_type"):
        return "map_type"
    return kind if kind in _IN_PLACE else ""


def _dimension(dim: Any) -> int | str:
    """A size, or the name of an open one."""
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return dim.dim_param or "?"


def pictures_before(plan: Plan) -> int:
    """How many pictures before the newest of a source the models of a plan look at."""
    steps = [0]
    for model in plan.models:
        try:
            steps.append(resolve(inspect(model.model), model).pictures_before)
        except FramepaceError:  # a file that does not say its inputs: what the plan names is all there is
            window = model.inputs.window
            steps.append(int(bool(model.inputs.previous)) + (window.before if window else 0))
    return max(steps)
