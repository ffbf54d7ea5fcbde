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
from framepace.facts.plan import ModelPlan
from framepace.models import builtin
from framepace.models.torch import spec as torchmodel

Layout = Literal["nchw", "nhwc"]
NULL = "null"
_CHANNELS = (1, 3, 4)
_ANY_RANK = ("...",)  # the shape of a tensor whose file does not even say how many dimensions it has
_NULL_SPEC = ModelSpec(
    name=NULL,
    location=NULL,
    sha256="",
    inputs=(TensorSpec(name="x", dtype="float32", shape=("batch", 3, 64, 64)),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=("batch", 1)),),
    format=NULL,
)


_SUFFIXES = (".onnx", *torchmodel.SUFFIXES, ".engine", ".plan", ".trt")


@dataclass(frozen=True)
class Image:
    """The input that takes the frame."""

    name: str
    layout: Layout
    channels: int
    height: int
    width: int
    dtype: str


@dataclass(frozen=True)
class Resolved:
    """A model with every dimension known. `batched` names the inputs that take any batch size."""

    inputs: tuple[TensorSpec, ...]
    image: Image | None
    batched: frozenset[str]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input shapes by name."""
        return {tensor.name: tuple(int(d) for d in tensor.shape) for tensor in self.inputs}

    def with_image_bytes(self) -> Resolved:
        """The same with a uint8 image, as a backend that normalises it takes it. There must be an image."""
        assert self.image is not None
        image = dataclasses.replace(self.image, dtype="uint8")
        inputs = tuple(
            replace(tensor, dtype="uint8") if tensor.name == image.name else tensor for tensor in self.inputs
        )
        return Resolved(inputs, image, self.batched)


def stem(location: str) -> str:
    """What a model is called when nobody gives it a name: its file's name without the suffix, or the built-in's."""
    name = location.removeprefix("builtin:").rsplit("/", 1)[-1]
    return next((name.removesuffix(s) for s in _SUFFIXES if name.endswith(s)), name)


def inspect(location: str) -> ModelSpec:
    """Identity and interface of a model: a path to an ONNX file or a PyTorch program, 'builtin:NAME', or 'null'.

    Weights are not loaded. Raises ModelError when there is no such file or it is no ONNX model.
    """
    if location == NULL:
        return _NULL_SPEC
    if location.startswith("builtin:"):
        name = location.removeprefix("builtin:")
        return _spec(name, location, builtin.model_bytes(name))
    path = Path(location)
    if path.suffix in torchmodel.SUFFIXES:
        return torchmodel.inspect(location)
    return _inspect_file(location, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=64)
def _inspect_file(location: str, modified: int) -> ModelSpec:
    path = Path(location)
    if path.is_dir():
        raise ModelError("a model is a file, not a folder", got=path, expected="an .onnx file")
    try:
        data = path.read_bytes()
    except OSError as error:
        fix = "check the path; the networks framepace brings are builtin:" + ", builtin:".join(builtin.names())
        raise ModelError("the model cannot be read", got=f"{path}: {error.strerror}", fix=fix) from error
    return _spec(path.stem, str(path), data)


def operators(location: str) -> frozenset[str]:
    """The operators of a network (a path to an ONNX file or 'builtin:NAME'), those inside If and Loop too.

    Weights are not loaded. Raises ModelError as `inspect`.
    """
    inspect(location)  # what is wrong with the file is said there
    return _operators(location, 0 if location.startswith("builtin:") else Path(location).stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _operators(location: str, modified: int) -> frozenset[str]:
    name = location.removeprefix("builtin:")
    data = builtin.model_bytes(name) if name != location else Path(location).read_bytes()
    return frozenset(_kinds(_parse(location, data)[0]))


def _kinds(graph: Any) -> Iterator[str]:
    for node in graph.node:
        yield node.op_type
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _kinds(inner)


def _spec(name: str, location: str, data: bytes) -> ModelSpec:
    graph, opset = _parse(location, data)
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
    import onnx
    from google.protobuf.message import DecodeError

    expected = "an ONNX model"
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        what = "the file is empty" if not data else "the file is no ONNX model, or is damaged"
        fix = "export it again; compare its size with the original if it was downloaded"
        raise ModelError(what, got=f"{location} ({len(data)} bytes)", expected=expected, fix=fix) from error
    opsets = {o.domain: o.version for o in model.opset_import}
    if not model.graph.node or not model.graph.output or not opsets:
        got = f"{location}: {len(model.graph.node)} nodes, {len(model.graph.output)} outputs"
        raise ModelError("the file holds no complete graph: truncated, or no ONNX model", got=got, expected=expected)
    return model.graph, opsets.get("", opsets.get("ai.onnx", 0))


def _tensor(value: Any, location: str) -> TensorSpec:
    from onnx import helper

    kind = value.type.tensor_type
    if not kind.elem_type:
        raise ModelError(f"{value.name!r} is not a tensor", got=location, expected="tensors as inputs and outputs")
    name = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    if not kind.HasField("shape"):
        return TensorSpec(name=value.name, dtype=name, shape=_ANY_RANK)
    dims = (d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or "?" for d in kind.shape.dim)
    return TensorSpec(name=value.name, dtype=name, shape=tuple(dims))


def resolve(spec: ModelSpec, plan: ModelPlan) -> Resolved:
    """The shapes that `spec` runs with under `plan`, and the input that takes the frame.

    Nothing is guessed: raises ModelError where layout, size or batch are not determined, saying how to give them.
    """
    unknown = set(plan.shapes) - {tensor.name for tensor in spec.inputs}
    if unknown:
        known = ", ".join(tensor.name for tensor in spec.inputs)
        raise ModelError(f"model {plan.name!r} has no input {min(unknown)!r}", got=min(unknown), expected=known)
    found = [_image(tensor, plan) for tensor in spec.inputs]
    images = [image for image in found if image is not None]
    if len(images) > 1:
        names = ", ".join(t.name for t, image in zip(spec.inputs, found, strict=True) if image is not None)
        raise ModelError(f"model {plan.name!r} has several image inputs", got=names, expected="one image input")
    shapes = _bound(spec, [_given(tensor, plan) for tensor in spec.inputs])
    leads = images[0][0] if images else None
    inputs = tuple(_concrete(t, shape, plan, leads) for t, shape in zip(spec.inputs, shapes, strict=True))
    image = None
    if images:
        tensor = next(t for t in inputs if t.name == leads)
        image = _described(tensor, images[0][1])
    return Resolved(inputs, image, _batched(spec, leads))


def _batched(spec: ModelSpec, leads: str | None) -> frozenset[str]:
    """Inputs whose first dimension is open; none when a fixed one of them would contradict a smaller batch."""
    names = frozenset(t.name for t in spec.inputs if t.shape and isinstance(t.shape[0], str))
    fixed = {t.name for t in spec.inputs if t.shape} - names
    return frozenset() if (leads in fixed if leads else fixed) else names


def _described(tensor: TensorSpec, layout: Layout) -> Image:
    _, *rest = (int(d) for d in tensor.shape)
    channels, height, width = rest if layout == "nchw" else (rest[2], rest[0], rest[1])
    return Image(tensor.name, layout, channels, height, width, tensor.dtype)


def _image(tensor: TensorSpec, plan: ModelPlan) -> tuple[str, Layout] | None:
    """Name and layout of the tensor when it can take a picture; None when it cannot."""
    shape = plan.shapes.get(tensor.name, tensor.shape)
    if len(shape) != 4:
        return None
    nchw, nhwc = shape[1] in _CHANNELS, shape[3] in _CHANNELS
    if plan.prepare.layout is not None:
        return tensor.name, plan.prepare.layout
    if nchw != nhwc:
        return tensor.name, "nchw" if nchw else "nhwc"
    raise ModelError(
        f"the layout of input {tensor.name!r} of model {plan.name!r} is not clear",
        got=_text(tensor.shape),
        expected="1, 3 or 4 channels either first (nchw) or last (nhwc)",
        fix="say which: --layout nchw, or --layout nhwc",
    )


def _given(tensor: TensorSpec, plan: ModelPlan) -> tuple[int | str, ...]:
    """The shape with what the plan says of it filled in; raises ModelError where the plan contradicts the file."""
    given = plan.shapes.get(tensor.name)
    if given is None:
        return _with_size(tensor, plan)
    pairs = zip(tensor.shape, given, strict=False)
    open_rank = tensor.shape == _ANY_RANK
    if not open_rank and (len(given) != len(tensor.shape) or any(isinstance(d, int) and d != g for d, g in pairs)):
        what = f"input {tensor.name!r} of model {plan.name!r} cannot have that shape"
        raise ModelError(what, got=_text(given), expected=_text(tensor.shape), fix="correct --shape, or leave it out")
    image = _image(tensor, plan)
    first = 2 if image is not None and image[1] == "nchw" else 1
    if image is not None and plan.size is not None and given[first : first + 2] != plan.size:
        got = f"shape {_text(given)}, size {plan.size[1]}x{plan.size[0]}"
        raise ModelError(
            f"shape and size of model {plan.name!r} contradict each other", got=got, fix="give one of them"
        )
    return given


def _bound(spec: ModelSpec, shapes: list[tuple[int | str, ...]]) -> list[tuple[int | str, ...]]:
    """Dimensions that share a name share the value that one of them was given; the batch is decided later."""
    pairs = [pair for t, shape in zip(spec.inputs, shapes, strict=True) for pair in _pairs(t.shape, shape)]
    known = {name: size for name, size in pairs if isinstance(name, str) and name != "?" and isinstance(size, int)}
    return [(*shape[:1], *(known.get(d, d) if isinstance(d, str) else d for d in shape[1:])) for shape in shapes]


def _pairs(own: tuple[int | str, ...], given: tuple[int | str, ...]) -> list[tuple[int | str, int | str]]:
    return [] if own == _ANY_RANK else list(zip(own[1:], given[1:], strict=True))


def _concrete(tensor: TensorSpec, shape: tuple[int | str, ...], plan: ModelPlan, leads: str | None) -> TensorSpec:
    """The tensor with its batch. An open first dimension is the batch; a 1 given for it stands for one frame."""
    if not shape:
        return tensor
    batch, opened = plan.batch.max, isinstance(tensor.shape[0], str)
    if opened and shape != _ANY_RANK and (isinstance(shape[0], str) or shape[0] == 1):
        shape = (batch, *shape[1:])
    if any(isinstance(d, str) for d in shape):
        wanted = "DIMxDIM..." if shape == _ANY_RANK else "x".join("?" if isinstance(d, str) else str(d) for d in shape)
        fix = f"fix it with --shape {tensor.name}={wanted}"
        raise ModelError(f"input {tensor.name!r} of model {plan.name!r} has no fixed shape", got=_text(shape), fix=fix)
    # A fixed first dimension of a side input (a threshold, a table) need not be the batch; that of the image is.
    must = opened or tensor.name == leads or (leads is None and batch > 1)
    if must and shape[0] != batch:
        got = f"{_text(shape)} with batch {batch}"
        other = "give its shape for one frame" if opened else "export the model with a dynamic batch"
        what = f"input {tensor.name!r} of model {plan.name!r} has another batch"
        raise ModelError(what, got=got, fix=f"use batch {shape[0]}, or {other}")
    return TensorSpec(name=tensor.name, dtype=tensor.dtype, shape=shape)


def _with_size(tensor: TensorSpec, plan: ModelPlan) -> tuple[int | str, ...]:
    image = _image(tensor, plan)
    if image is None:
        return tensor.shape
    shape = list(tensor.shape)
    first = 2 if image[1] == "nchw" else 1
    for axis, side in zip((first, first + 1), plan.size or (None, None), strict=True):
        if isinstance(shape[axis], str) and side is not None:
            shape[axis] = side
        elif side is not None and shape[axis] != side:
            got = f"{plan.size[1]}x{plan.size[0]}" if plan.size else None
            raise ModelError(f"model {plan.name!r} has a fixed size", got=got, expected=_text(tensor.shape))
    if isinstance(shape[first], str) or isinstance(shape[first + 1], str):
        order = "1x3xHEIGHTxWIDTH" if image[1] == "nchw" else "1xHEIGHTxWIDTHx3"
        fix = f"give its size: --size WIDTHxHEIGHT, or --shape {tensor.name}={order}"
        raise ModelError(f"the image size of model {plan.name!r} is not fixed", got=_text(tensor.shape), fix=fix)
    return tuple(shape)


def _text(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(str(d) for d in shape) + "]"
