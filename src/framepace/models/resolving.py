"""The shapes that a model runs with under a plan, and what each of its inputs takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from shlex import quote

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.errors import ModelError, unknown
from framepace.facts.inputs import Window
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.batchaxis import ANY_RANK, input_axes
from framepace.models.imageinputs import (
    clips_in_question,
    image_places,
    images_in_question,
    named_place,
    picture_question,
)
from framepace.models.limits import check_memory
from framepace.models.opensizes import OpenModel, shape_text
from framepace.models.pictures import Place, Shape, image_at
from framepace.models.resolved import Image, Resolved, SideInput
from framepace.models.sideinputs import fitted, open_sizes, read_value

EXAMPLE_SIZE = (480, 640)  # height, width


@dataclass(frozen=True)
class _Roles:
    """Where pictures are in the inputs that take them, by name, the values of others, and where the batch is."""

    images: Mapping[str, Place]
    previous: Mapping[str, Place]
    values: Mapping[str, NDArray[np.generic]]
    axes: Mapping[str, int]
    batched: frozenset[str]

    @property
    def pictures(self) -> Mapping[str, Place]:
        """All inputs that take pictures."""
        return {**self.images, **self.previous}


def resolve(spec: ModelSpec, plan: ModelPlan) -> Resolved:
    """The shapes that `spec` runs with under `plan`, and the inputs that take the frame.

    Nothing is guessed: raises ModelError where size or batch are not determined, or what was said of the inputs does
    not fit them, saying how to give them. Where it is not clear which input takes the frame none does, and the answer
    has the question: a model alone runs without.
    """
    _check_names(spec, plan)
    roles = _roles(spec, plan)
    shapes = _shapes(spec, plan, roles)
    inputs = tuple(_concrete(t, s, plan, roles.axes.get(t.name)) for t, s in zip(spec.inputs, shapes, strict=True))
    check_memory(plan.name, inputs)
    images = _images(inputs, roles.images)
    resolved = Resolved(
        inputs,
        next(iter(images), None),
        roles.batched,
        roles.axes,
        other_images=images[1:],
        previous=_images(inputs, roles.previous),
        states=dict(plan.inputs.states),
        values=_fitted(inputs, roles),
        window=plan.inputs.window,
    )
    if images:
        return resolved
    return dataclasses.replace(resolved, question=picture_question(spec, plan))


def _shapes(spec: ModelSpec, plan: ModelPlan, roles: _Roles) -> list[Shape]:
    """The shapes of the inputs, closed but for the batch."""
    model = _open_model(spec, plan, roles)
    if model.is_open and not roles.pictures:
        _with_pictures(spec, plan, roles).check_closed()
    model.check_closed()
    return list(model.shapes)


def _open_model(spec: ModelSpec, plan: ModelPlan, roles: _Roles, named: str = "") -> OpenModel:
    planned = [_planned_shape(tensor, plan, roles) for tensor in spec.inputs]
    return OpenModel(spec, plan, _bind(spec, planned, roles.axes), planned, roles.axes, roles.pictures, named)


def _with_pictures(spec: ModelSpec, plan: ModelPlan, roles: _Roles) -> OpenModel:
    """The model with the first answer to which of its inputs take pictures: what is asked then has it too."""
    likely = images_in_question(spec, plan)
    if likely:
        return _with_images(spec, plan, likely)
    lengths = clips_in_question(spec, plan)
    if not lengths:
        return _open_model(spec, plan, roles)
    plan = replace(plan, inputs=replace(plan.inputs, window=Window(pictures=lengths[0])))
    return _open_model(spec, plan, _roles(spec, plan), f"--window {lengths[0]}")


def _with_images(spec: ModelSpec, plan: ModelPlan, likely: list[str]) -> OpenModel:
    """The model with pictures in all inputs that may take one, or, where that does not run, in the first alone."""
    models = []
    for names in (likely, likely[:1]):
        named = replace(plan, inputs=replace(plan.inputs, images=tuple(names)))
        answer = " ".join(f"--image {quote(name)}" for name in names)
        models.append(_open_model(spec, named, _roles(spec, named), answer))
    return next((model for model in models if model.running_options()), models[0])


def running_options(spec: ModelSpec, plan: ModelPlan) -> str:
    """The options with which a model runs whose inference failed: sizes that its file leaves open, and numbers.

    They are found by running it; '' where none were found. Raises ModelError as `resolve`.
    """
    plan = replace(plan, size=None, shapes={})
    return _open_model(spec, plan, _roles(spec, plan)).running_options()


def _check_names(spec: ModelSpec, plan: ModelPlan) -> None:
    """Raises ModelError where the plan names an input or output that the model does not have, or one input twice."""
    names = [tensor.name for tensor in spec.inputs]
    for name in sorted(set(plan.shapes) - set(names)):
        raise ModelError(f"model {plan.name!r} has no input {name!r}", got=name, expected=", ".join(names))
    for name in plan.inputs.names:
        if name not in names:
            raise unknown("input", name, names)
        if plan.inputs.names.count(name) > 1:
            fix = "name it once: --image, --previous, --state or --input"
            raise ModelError(f"input {name!r} of model {plan.name!r} is named twice", got=name, fix=fix)
    _check_outputs(spec, plan)


def _check_outputs(spec: ModelSpec, plan: ModelPlan) -> None:
    outputs = [tensor.name for tensor in spec.outputs]
    for output in plan.inputs.states.values():
        if output not in outputs:
            raise unknown("output", output, outputs)


def _roles(spec: ModelSpec, plan: ModelPlan) -> _Roles:
    values = {name: read_value(name, text) for name, text in plan.inputs.values.items()}
    tensors = {tensor.name: tensor for tensor in spec.inputs}
    previous = {name: named_place(tensors[name], plan) for name in plan.inputs.previous}
    images = image_places(spec, plan)
    places = {name: place.batch for name, place in {**images, **previous}.items()}
    axes, batched = input_axes(spec.inputs, places, plan.batch.max)
    axes = {name: axis for name, axis in axes.items() if axis < _rank(tensors[name], plan, values)}
    return _Roles(images, previous, values, axes, batched & axes.keys())


def _rank(tensor: TensorSpec, plan: ModelPlan, values: Mapping[str, NDArray[np.generic]]) -> int:
    """How many dimensions an input has; what it is given says it where the file does not."""
    if tensor.shape != ANY_RANK:
        return len(tensor.shape)
    if tensor.name in plan.shapes:
        return len(plan.shapes[tensor.name])
    if tensor.name in values:
        return values[tensor.name].ndim
    return 1


def _planned_shape(tensor: TensorSpec, plan: ModelPlan, roles: _Roles) -> Shape:
    """The shape with the plan's shape, size or value filled in; raises ModelError where they contradict the file."""
    place = roles.pictures.get(tensor.name)
    if tensor.name not in plan.shapes:
        if tensor.name in roles.values:
            return open_sizes(tensor, roles.values[tensor.name], roles.axes.get(tensor.name))
        return _with_size(tensor, plan, place)
    shape = plan.shapes[tensor.name]
    _check_fits(shape, tensor, plan.name)
    if place is not None and plan.size is not None:
        _check_size(shape, plan, place)
    return shape


def _check_size(shape: Shape, plan: ModelPlan, place: Place) -> None:
    """Raises ModelError where a picture of that shape has another size."""
    sides = tuple(shape[axis] for axis in place.sides(len(shape)))
    if sides != plan.one_size:
        got = f"shape {shape_text(shape)}, size {_size_text(plan)}"
        raise ModelError(
            f"shape and size of model {plan.name!r} contradict each other", got=got, fix="give one of them"
        )


def _size_text(plan: ModelPlan) -> str:
    """The plan's size as it is typed."""
    if plan.one_size is None:
        return str(plan.size)
    height, width = plan.one_size
    return f"{width}x{height}"


def _check_fits(shape: tuple[int, ...], tensor: TensorSpec, model: str) -> None:
    """Raises ModelError for a shape that the file does not allow."""
    if not _fits(shape, tensor.shape):
        message = f"input {tensor.name!r} of model {model!r} cannot have that shape"
        fix = "correct --shape, or leave it out"
        raise ModelError(message, got=shape_text(shape), expected=shape_text(tensor.shape), fix=fix)


def _fits(shape: tuple[int, ...], declared: Shape) -> bool:
    """Whether a shape is one that the file allows."""
    if declared == ANY_RANK:
        return True
    if len(shape) != len(declared):
        return False
    return all(isinstance(dim, str) or dim == size for dim, size in zip(declared, shape, strict=True))


def _with_size(tensor: TensorSpec, plan: ModelPlan, place: Place | None) -> Shape:
    """The shape of an image input at the plan's size and window; any other as it is."""
    if place is None:
        return tensor.shape
    shape = list(tensor.shape)
    if plan.size is not None:
        for axis, size in zip(place.sides(len(shape)), plan.one_size or EXAMPLE_SIZE, strict=True):
            if isinstance(shape[axis], int) and (plan.is_native or shape[axis] != size):
                raise _fixed_size(tensor, plan, place)
            shape[axis] = size
    if place.time is not None and plan.inputs.window is not None:
        shape[place.time] = plan.inputs.window.pictures
    return tuple(shape)


def _fixed_size(tensor: TensorSpec, plan: ModelPlan, place: Place) -> ModelError:
    """The error for a size that the file does not allow, with one that it does."""
    sides = [tensor.shape[axis] for axis in place.sides(len(tensor.shape))]
    fix = "leave out --size"
    if any(isinstance(side, str) for side in sides):
        pairs = zip(sides, EXAMPLE_SIZE, strict=True)
        height, width = (side if isinstance(side, int) else usual for side, usual in pairs)
        fix = f"--size {width}x{height}, with your own number for the side that is open"
    message = f"model {plan.name!r} has a fixed size"
    return ModelError(message, got=_size_text(plan), expected=shape_text(tensor.shape), fix=fix)


def _bind(spec: ModelSpec, shapes: list[Shape], axes: Mapping[str, int]) -> list[Shape]:
    """Dimensions that share a name share the value that the plan has for one of them; the batch is decided later."""
    sizes = _sizes_by_name(spec, shapes, axes)
    bound: list[Shape] = []
    for tensor, shape in zip(spec.inputs, shapes, strict=True):
        dimensions = [sizes.get(dim, dim) for dim in shape]
        batch = axes.get(tensor.name)
        if batch is not None:
            dimensions[batch] = shape[batch]
        bound.append(tuple(dimensions))
    return bound


def _sizes_by_name(spec: ModelSpec, shapes: list[Shape], axes: Mapping[str, int]) -> dict[int | str, int]:
    """The sizes that are known of named dimensions."""
    sizes: dict[int | str, int] = {}
    for tensor, shape in zip(spec.inputs, shapes, strict=True):
        for axis, (name, size) in enumerate(_pairs(tensor, shape)):
            if axis != axes.get(tensor.name) and isinstance(name, str) and name != "?" and isinstance(size, int):
                sizes[name] = size
    return sizes


def _pairs(tensor: TensorSpec, shape: Shape) -> Iterable[tuple[int | str, int | str]]:
    if tensor.shape == ANY_RANK:
        return ()
    return zip(tensor.shape, shape, strict=True)


def _concrete(tensor: TensorSpec, shape: Shape, plan: ModelPlan, axis: int | None) -> TensorSpec:
    """The tensor with its batch. An open batch axis takes the plan's; a 1 there stands for one frame."""
    if axis is None:
        return replace(tensor, shape=shape)
    batch = plan.batch.max
    is_open = tensor.shape == ANY_RANK or isinstance(tensor.shape[axis], str)
    size = shape[axis]
    if is_open and (isinstance(size, str) or size == 1):
        size = batch
    if size != batch:
        alternative = "export the model with a dynamic batch"
        if is_open:
            alternative = "give its shape for one frame"
        message = f"input {tensor.name!r} of model {plan.name!r} has another batch"
        fix = f"use batch {size} (--set batch={size}), or {alternative}"
        raise ModelError(message, got=f"{shape_text(shape)} with batch {batch}", fix=fix)
    return replace(tensor, shape=(*shape[:axis], batch, *shape[axis + 1 :]))


def _fitted(inputs: Iterable[TensorSpec], roles: _Roles) -> dict[str, SideInput]:
    """The values that were given, in the shapes of their inputs."""
    values = {}
    for tensor in inputs:
        if tensor.name in roles.values:
            values[tensor.name] = fitted(tensor.name, roles.values[tensor.name], tensor, roles.axes.get(tensor.name))
    return values


def _images(inputs: Iterable[TensorSpec], places: Mapping[str, Place]) -> tuple[Image, ...]:
    return tuple(image_at(tensor, places[tensor.name]) for tensor in inputs if tensor.name in places)
