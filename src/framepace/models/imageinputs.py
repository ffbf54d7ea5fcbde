"""Which inputs take the picture under a plan, and the question where that is not clear, with answers that run. Pure."""

from __future__ import annotations

from shlex import quote

from msgspec.structs import replace

from framepace.errors import ModelError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.opensizes import shape_text
from framepace.models.pictures import Place, Shape, clip_lengths, is_no_picture, place_of
from framepace.models.resolved import Layout


def image_places(spec: ModelSpec, plan: ModelPlan) -> dict[str, Place]:
    """Where the picture goes: into the inputs that are named, else into the one that can take it."""
    named = {t.name: named_place(t, plan) for t in spec.inputs if t.name in plan.inputs.images}
    return named or _likely_images(spec, plan)


def _likely_images(spec: ModelSpec, plan: ModelPlan) -> dict[str, Place]:
    """The one input that nobody named and that can take a picture, if there is exactly one."""
    tensors = _unnamed(spec, plan)
    places = {tensor.name: _place(tensor, plan) for tensor in tensors if not is_no_picture(tensor)}
    likely = {name: place for name, place in places.items() if place is not None}
    with_batch = {name: place for name, place in likely.items() if place.batch is not None}
    likely = with_batch or likely
    return likely if len(likely) == 1 else {}


def _unnamed(spec: ModelSpec, plan: ModelPlan) -> list[TensorSpec]:
    """The inputs of which the plan does not say what they take."""
    return [tensor for tensor in spec.inputs if tensor.name not in plan.inputs.names]


def _place(tensor: TensorSpec, plan: ModelPlan, *, named: bool = False) -> Place | None:
    shape = plan.shapes.get(tensor.name, tensor.shape)
    place = place_of(shape, layout=plan.prepare.layout, window=plan.inputs.window, named=named)
    if place is None and shape is not tensor.shape:
        return place_of(tensor.shape, layout=plan.prepare.layout, window=plan.inputs.window, named=named)
    return place


def named_place(tensor: TensorSpec, plan: ModelPlan) -> Place:
    """Where the picture is in an input that the plan names for it. Raises ModelError where none can be."""
    place = _place(tensor, plan, named=True)
    if place is not None:
        return place
    shape = plan.shapes.get(tensor.name, tensor.shape)
    window = plan.inputs.window
    message = f"input {tensor.name!r} of model {plan.name!r} cannot take a picture"
    expected = "1, 3, 4 or 6 channels, first or last"
    fix = _without_image(tensor, shape)
    if window is not None:
        expected = f"an axis of {window.pictures} pictures beside channels and sides"
        lengths = clip_lengths(shape)
        if lengths:
            fix = f"--window {lengths[0]}"
    elif clip_lengths(shape):
        expected = "a picture without an axis of several"
        fix = f"--window {clip_lengths(shape)[0]}"
    raise ModelError(message, got=shape_text(shape), expected=expected, fix=fix)


def _without_image(tensor: TensorSpec, shape: Shape) -> str:
    """What to do with an input that is named for the picture and cannot take one as it stands."""
    layouts: tuple[Layout, ...] = ("nchw", "nhwc")
    fixes = ["leave it out of --image"]
    fixes += [f"--layout {layout}" for layout in layouts if place_of(shape, layout=layout, named=True) is not None]
    if any(isinstance(size, str) for size in shape):
        fixes.append(f"--shape {quote(tensor.name)}=1x3x480x640 with your numbers")
    return ", or ".join(fixes)


def picture_question(spec: ModelSpec, plan: ModelPlan) -> str:
    """What to add to the command so that frames go in; '' where no input can take one."""
    likely = images_in_question(spec, plan)
    if len(likely) == 2:
        one, other = map(quote, likely)
        return f"--image {one} --image {other}, or --previous {one} --image {other}"
    if likely:
        return "name those that take the picture: " + " ".join(f"--image {quote(name)}" for name in likely)
    lengths = clips_in_question(spec, plan)
    if lengths:
        return f"--window {lengths[0]}"
    if plan.inputs.window is not None and images_in_question(spec, _without_window(plan)):
        return "leave out --window: it takes single pictures"
    if plan.prepare.layout is not None and images_in_question(spec, _without_layout(plan)):
        return f"leave out --layout {plan.prepare.layout}: its channels are on the other side"
    for tensor in _unnamed(spec, plan):
        if plan.prepare.layout is None and _both_layouts(tensor, plan):
            return "say which axis has the channels: --layout nchw, or --layout nhwc"
    return ""


def images_in_question(spec: ModelSpec, plan: ModelPlan) -> list[str]:
    """The inputs of which any may take the picture."""
    tensors = _unnamed(spec, plan)
    return [t.name for t in tensors if _place(t, plan) is not None and not is_no_picture(t)]


def clips_in_question(spec: ModelSpec, plan: ModelPlan) -> list[int]:
    """How many pictures the first input that may take a clip has, apart from what the plan says already."""
    shapes = (plan.shapes.get(tensor.name, tensor.shape) for tensor in _unnamed(spec, plan))
    lengths = next(filter(None, map(clip_lengths, shapes)), [])
    return [length for length in lengths if plan.inputs.window is None or length != plan.inputs.window.pictures]


def _without_window(plan: ModelPlan) -> ModelPlan:
    return replace(plan, inputs=replace(plan.inputs, window=None))


def _without_layout(plan: ModelPlan) -> ModelPlan:
    return replace(plan, prepare=replace(plan.prepare, layout=None))


def _both_layouts(tensor: TensorSpec, plan: ModelPlan) -> bool:
    layouts: tuple[Layout, ...] = ("nchw", "nhwc")
    shape = plan.shapes.get(tensor.name, tensor.shape)
    return all(place_of(shape, layout=layout, window=plan.inputs.window) is not None for layout in layouts)
