"""Models: what a file is (`inspect`), and the shapes it runs with under a plan (`resolve`)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from framepace.errors import ModelError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import Plan
from framepace.models import builtin, ortformat
from framepace.models.batchaxis import ANY_RANK
from framepace.models.limits import check_graph, read_onnx
from framepace.models.resolved import Image as Image
from framepace.models.resolved import Resolved as Resolved
from framepace.models.resolving import resolve as resolve
from framepace.models.torch import spec as torchspec

Layout = Literal["nchw", "nhwc"]
Shape = tuple[int | str, ...]  # the names of open dimensions are strings
NULL = "null"
_CHANNELS = (1, 3, 4)
_SIDES = {"nchw": slice(2, 4), "nhwc": slice(1, 3)}  # height and width in a shape
_ANY_RANK = ("...",)  # the shape of a tensor whose file does not even say how many dimensions it has
_NULL_SPEC = ModelSpec(
    name=NULL,
    location=NULL,
    sha256="",
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 3, 64, 64)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 1)),),
    format=NULL,
)
_SUFFIXES = (".onnx", ortformat.SUFFIX, *torchspec.SUFFIXES, ".engine", ".plan", ".trt")


def stem(location: str) -> str:
    """What a model is called when nobody gives it a name: its file's name without the suffix, or the built-in's."""
    name = location.removeprefix("builtin:").rsplit("/", 1)[-1]
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name)


def inspect(location: str) -> ModelSpec:
    """Identity and interface of a model: a path to an ONNX file or a PyTorch program, 'builtin:NAME', or 'null'.
    if Path(location).suffix == ortformat.SUFFIX:
        return ortformat.inspect(location, torchspec.modified(location))

    Weights are not loaded. Raises ModelError when there is no such file or it is not an ONNX model.
    """
    if location == NULL:
        return _NULL_SPEC
    if location.startswith("builtin:"):
        return _inspect_builtin(location)
    if Path(location).suffix in torchspec.SUFFIXES:
        return torchspec.inspect(location)
    return _inspect_file(location, torchspec.modified(location))


@lru_cache(maxsize=64)
def _inspect_builtin(location: str) -> ModelSpec:
    name = location.removeprefix("builtin:")
    return _spec(name, location, builtin.model_bytes(name))


@lru_cache(maxsize=64)
def _inspect_file(location: str, modified: int) -> ModelSpec:
    return _spec(Path(location).stem, str(Path(location)), read_onnx(location))


def operators(location: str) -> frozenset[str]:
    """The operators of a network (a path to an ONNX file or 'builtin:NAME'), those inside If and Loop too.

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
    graph, _ = _parse(location, data)
    return frozenset(_kinds(graph))


def _kinds(graph: Any) -> Iterator[str]:
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
        fix = "export it again; compare its size with the original if it was downloaded"
        raise ModelError(message, got=got, expected="an ONNX model", fix=fix) from error


def _tensor(value: Any, location: str) -> TensorSpec:
    from onnx import helper

    kind = value.type.tensor_type
    if not kind.elem_type:
        raise ModelError(f"{value.name!r} is not a tensor", got=location, expected="tensors as inputs and outputs")
    try:
        name = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    except KeyError:
        got = f"{location}: element type {kind.elem_type}"
        raise ModelError(
            f"{value.name!r} has a dtype that ONNX does not know", got=got, fix="export it again"
        ) from None
    if not kind.HasField("shape"):
        return TensorSpec(name=value.name, dtype=name, shape=_ANY_RANK)
    return TensorSpec(name=value.name, dtype=name, shape=tuple(_dimension(dim) for dim in kind.shape.dim))


def _dimension(dim: Any) -> int | str:
    """A size, or the name of an open one."""
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return dim.dim_param or "?"


def resolve(spec: ModelSpec, plan: ModelPlan) -> Resolved:
    """The shapes that `spec` runs with under `plan`, and the input that takes the frame.

    Nothing is guessed: raises ModelError where layout, size or batch are not determined, saying how to give them.
    """
    _check_names(spec, plan)
    layouts = _image_layouts(spec, plan)
    image_name = next(iter(layouts), None)
    shapes = _bind(spec, [_planned_shape(tensor, plan) for tensor in spec.inputs])
    inputs = tuple(_concrete(t, shape, plan, image_name) for t, shape in zip(spec.inputs, shapes, strict=True))
    check_memory(plan.name, inputs)
    images = [_image_of(tensor, layouts[tensor.name]) for tensor in inputs if tensor.name in layouts]
    return Resolved(inputs, next(iter(images), None), _batched(spec, image_name))


def _check_names(spec: ModelSpec, plan: ModelPlan) -> None:
    """Raises ModelError where the plan has the shape of an input that the model does not have."""
    names = [tensor.name for tensor in spec.inputs]
    for name in sorted(set(plan.shapes) - set(names)):
        raise ModelError(f"model {plan.name!r} has no input {name!r}", got=name, expected=", ".join(names))


def _image_layouts(spec: ModelSpec, plan: ModelPlan) -> dict[str, Layout]:
    """Name and layout of the image input, if there is one. Raises ModelError where there are several."""
    candidates = {tensor.name: _image_layout(tensor, plan) for tensor in spec.inputs}
    layouts = {name: layout for name, layout in candidates.items() if layout is not None}
    if len(layouts) > 1:
        names = ", ".join(layouts)
        raise ModelError(f"model {plan.name!r} has several image inputs", got=names, expected="one image input")
    return layouts


def _batched(spec: ModelSpec, image_name: str | None) -> frozenset[str]:
    """Inputs whose first dimension is open; none when a fixed one of them would contradict a smaller batch."""
    names = frozenset(t.name for t in spec.inputs if t.shape and isinstance(t.shape[0], str))
    fixed = {t.name for t in spec.inputs if t.shape} - names
    if image_name is not None:
        fixed &= {image_name}
    if fixed:
        return frozenset()
    return names


def _image_of(tensor: TensorSpec, layout: Layout) -> Image:
    sides = [int(size) for size in tensor.shape[1:]]
    if layout == "nhwc":
        sides = [sides[2], sides[0], sides[1]]
    channels, height, width = sides
    return Image(tensor.name, layout, channels, height, width, tensor.dtype)


def _image_layout(tensor: TensorSpec, plan: ModelPlan) -> Layout | None:
    """The layout of a tensor that can take a picture; None when it cannot."""
    shape = plan.shapes.get(tensor.name, tensor.shape)
    if len(shape) != 4:
        return None
    if plan.prepare.layout is not None:
        return plan.prepare.layout
    channels_first = shape[1] in _CHANNELS
    channels_last = shape[3] in _CHANNELS
    if channels_first and not channels_last:
        return "nchw"
    if channels_last and not channels_first:
        return "nhwc"
    raise ModelError(
        f"the layout of input {tensor.name!r} of model {plan.name!r} is not clear",
        got=_text(tensor.shape),
        expected="1, 3 or 4 channels either first (nchw) or last (nhwc)",
        fix="say which: --layout nchw, or --layout nhwc",
    )


def _planned_shape(tensor: TensorSpec, plan: ModelPlan) -> Shape:
    """The shape with the plan's shape or size filled in; raises ModelError where the plan contradicts the file."""
    shape = plan.shapes.get(tensor.name)
    if shape is None:
        return _with_size(tensor, plan)
    if not _fits(shape, tensor.shape):
        message = f"input {tensor.name!r} of model {plan.name!r} cannot have that shape"
        fix = "correct --shape, or leave it out"
        raise ModelError(message, got=_text(shape), expected=_text(tensor.shape), fix=fix)
    layout = _image_layout(tensor, plan)
    if layout is not None and plan.size is not None and shape[_SIDES[layout]] != plan.size:
        got = f"shape {_text(shape)}, size {plan.size[1]}x{plan.size[0]}"
        message = f"shape and size of model {plan.name!r} contradict each other"
        raise ModelError(message, got=got, fix="give one of them")
    return shape


def _fits(shape: tuple[int, ...], declared: Shape) -> bool:
    """Whether a shape is one that the file allows."""
    if declared == _ANY_RANK:
        return True
    if len(shape) != len(declared):
        return False
    return all(isinstance(dim, str) or dim == size for dim, size in zip(declared, shape, strict=True))


def _bind(spec: ModelSpec, shapes: list[Shape]) -> list[Shape]:
    """Dimensions that share a name share the value that the plan has for one of them; the batch is decided later."""
    sizes: dict[int | str, int] = {}
    for tensor, shape in zip(spec.inputs, shapes, strict=True):
        if tensor.shape == _ANY_RANK:
            continue
        for name, size in zip(tensor.shape[1:], shape[1:], strict=True):
            if isinstance(name, str) and name != "?" and isinstance(size, int):
                sizes[name] = size
    return [(*shape[:1], *(sizes.get(dim, dim) for dim in shape[1:])) for shape in shapes]


def _concrete(tensor: TensorSpec, shape: Shape, plan: ModelPlan, image_name: str | None) -> TensorSpec:
    """The tensor with its batch. An open first dimension is the batch; a 1 in the plan stands for one frame."""
    if not shape:
        return tensor
    batch = plan.batch.max
    is_open = isinstance(tensor.shape[0], str)
    if is_open and shape != _ANY_RANK and (isinstance(shape[0], str) or shape[0] == 1):
        shape = (batch, *shape[1:])
    _check_closed(tensor, shape, plan)
    # A fixed first dimension of a side input (a threshold, a table) need not be the batch; that of the image is.
    must_match = is_open or tensor.name == image_name or (image_name is None and batch > 1)
    if must_match and shape[0] != batch:
        alternative = "export the model with a dynamic batch"
        if is_open:
            alternative = "give its shape for one frame"
        message = f"input {tensor.name!r} of model {plan.name!r} has another batch"
        fix = f"use batch {shape[0]}, or {alternative}"
        raise ModelError(message, got=f"{_text(shape)} with batch {batch}", fix=fix)
    return TensorSpec(name=tensor.name, dtype=tensor.dtype, shape=shape)


def _check_closed(tensor: TensorSpec, shape: Shape, plan: ModelPlan) -> None:
    """Raises ModelError where a dimension is still open."""
    if not any(isinstance(dim, str) for dim in shape):
        return
    example = "x".join("?" if isinstance(dim, str) else str(dim) for dim in shape)
    if shape == _ANY_RANK:
        example = "DIMxDIM..."
    message = f"input {tensor.name!r} of model {plan.name!r} has no fixed shape"
    raise ModelError(message, got=_text(shape), fix=f"fix it with --shape {tensor.name}={example}")


def _with_size(tensor: TensorSpec, plan: ModelPlan) -> Shape:
    """The shape of an image input at the plan's size; any other as it is."""
    layout = _image_layout(tensor, plan)
    if layout is None:
        return tensor.shape
    shape = list(tensor.shape)
    sides = shape[_SIDES[layout]]
    if plan.size is not None:
        if any(isinstance(side, int) and side != size for side, size in zip(sides, plan.size, strict=True)):
            got = f"{plan.size[1]}x{plan.size[0]}"
            raise ModelError(f"model {plan.name!r} has a fixed size", got=got, expected=_text(tensor.shape))
        shape[_SIDES[layout]] = plan.size
    elif any(isinstance(side, str) for side in sides):
        order = {"nchw": "1x3xHEIGHTxWIDTH", "nhwc": "1xHEIGHTxWIDTHx3"}[layout]
        fix = f"give its size: --size WIDTHxHEIGHT, or --shape {tensor.name}={order}"
        raise ModelError(f"the image size of model {plan.name!r} is not fixed", got=_text(tensor.shape), fix=fix)
    return tuple(shape)


def _text(shape: Shape) -> str:
    return "[" + ", ".join(str(d) for d in shape) + "]"
