"""From a frame to the inputs of a model: pictures prepared, clips slid on, values of the frame's number put in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from shlex import quote
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from framepace.errors import ModelError
from framepace.facts.inputs import Window
from framepace.facts.plan import ModelPlan
from framepace.facts.plan import Prepare as PrepareFacts
from framepace.models.resolved import PAIR, Image, Resolved, SideInput
from framepace.video.frame import Frame
from framepace.video.history import Moment, before, newest
from framepace.video.prepare import Preparer

Tensors = Mapping[str, NDArray[Any]]
Write = Callable[[Frame, Tensors, int], None]
"""Writes what a frame brings into place `int` of the batch."""
_Paint = Callable[[Any, int, NDArray[Any]], None]
"""Writes a picture or moment (and the number of its source) into one item of an input."""


class Prepares(Protocol):
    """Writes a picture into one item of an input (see video.prepare.Preparer)."""

    def __call__(self, picture: Any, out: NDArray[Any]) -> None:
        """Write it."""


Make = Callable[[PrepareFacts, tuple[int, int], str, int, str], Prepares]
"""Makes what prepares pictures for an input, from the arguments of video.prepare.Preparer."""


def input_filler(model: ModelPlan, resolved: Resolved, make: Make = Preparer) -> Write:
    """The function that writes frames into the inputs of a model; used by one thread.

    What `make` makes is handed the parts of the inputs themselves, unless it is the host's own preparation: then the
    pictures of a clip are prepared once and copied.

    States are not among them: whoever runs the model feeds them back.

    Raises:
        ModelError: frames bring nothing that the model takes, or preparation cannot make it.
    """
    check_takes_frames(model, resolved)
    writes = [_picture_write(resolved, image, model, make, earlier=False) for image in resolved.images]
    writes += [_picture_write(resolved, image, model, make, earlier=True) for image in resolved.previous]
    writes += [_value_write(resolved, name, value) for name, value in resolved.values.items() if not value.constant]
    if len(writes) == 1:
        return writes[0]
    return _all(writes)


def check_takes_frames(model: ModelPlan, resolved: Resolved) -> None:
    """Raises ModelError for a model to which frames bring nothing: no picture, and no input that is named."""
    if not (resolved.images or resolved.previous or resolved.states or resolved.values):
        raise _no_picture(model, resolved)


def _no_picture(model: ModelPlan, resolved: Resolved) -> ModelError:
    alone = "measure it alone with bench --scope model"
    shapes = {tensor.name: tensor.shape for tensor in resolved.inputs}
    if not shapes:
        return ModelError(f"model {model.name!r} has no input", got=shapes, expected="an input", fix=alone)
    if resolved.question:
        message = f"nothing says which input of model {model.name!r} takes the picture"
        return ModelError(message, got=shapes, expected="inputs by name", fix=resolved.question)
    name = quote(resolved.inputs[0].name)
    fix = f"{alone}, or give its inputs: --input {name}=1, or {name}=FILE.npy"
    expected = "a rank-4 input of numbers"
    return ModelError(f"model {model.name!r} has no image input", got=shapes, expected=expected, fix=fix)


def _all(writes: Sequence[Write]) -> Write:
    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        for each in writes:
            each(frame, inputs, place)

    return write


def _value_write(resolved: Resolved, name: str, value: SideInput) -> Write:
    """Cycles the values over the frames by their numbers; without a batch axis the first frame of a batch decides."""
    frames = value.frames
    every = resolved.axis(name) is not None

    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        if every or place == 0:
            resolved.item(name, inputs[name], place)[...] = frames[frame.number % len(frames)]

    return write


def _picture_write(resolved: Resolved, image: Image, model: ModelPlan, make: Make, *, earlier: bool) -> Write:
    paint = _paint(image, resolved, model, make, int(earlier))
    name = image.name
    if resolved.axis(name) == 0:

        def write_first(frame: Frame, inputs: Tensors, place: int) -> None:
            paint(frame.picture, frame.source, inputs[name][place])

        return write_first

    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        paint(frame.picture, frame.source, resolved.item(name, inputs[name], place))

    return write


def _paint(image: Image, resolved: Resolved, model: ModelPlan, make: Make, steps: int) -> _Paint:
    """Writes one item of an image input: a picture, two, or a clip, `steps` before the frame's own."""
    single = _single_paint(image, model.prepare, make, steps)
    if image.time_axis is None:
        return single
    assert resolved.window is not None
    batch = resolved.axis(image.name)
    axis = image.time_axis
    if batch is not None and batch < axis:
        axis -= 1
    if make is not Preparer:
        return _clip_in_place(single, resolved.window, axis)
    return _Clip(single, resolved.window, axis)


def _clip_in_place(single: _Paint, window: Window, axis: int) -> _Paint:
    """Writes the last pictures of a source along an axis, all of them each time."""

    def paint(picture: Any, source: int, out: NDArray[Any]) -> None:
        parts = np.moveaxis(out, axis, 0)
        for place, part in enumerate(parts):
            single(before(picture, (len(parts) - 1 - place) * window.stride), source, part)

    return paint


def _single_paint(image: Image, prepare: PrepareFacts, make: Make, steps: int) -> _Paint:
    channels = image.channels
    if channels == PAIR:
        channels //= 2
    preparer = make(prepare, (image.height, image.width), image.layout, channels, image.dtype)
    if image.channels == PAIR:
        return _pair(preparer, image.layout == "nhwc", steps)
    if steps == 0:
        return lambda picture, source, out: preparer(newest(picture), out)
    return lambda picture, source, out: preparer(before(picture, steps), out)


def _pair(preparer: Prepares, channels_last: bool, steps: int) -> _Paint:
    """The picture before and the picture, one after the other in the channels."""

    def paint(picture: Any, source: int, out: NDArray[Any]) -> None:
        halves = (out[..., :3], out[..., 3:]) if channels_last else (out[:3], out[3:])
        preparer(before(picture, steps + 1), halves[0])
        preparer(before(picture, steps), halves[1])

    return paint


class _Clip:
    """Writes the last pictures of a source along an axis; each is prepared once and kept while a clip needs it."""

    def __init__(self, single: _Paint, window: Window, axis: int) -> None:
        self._single = single
        self._window = window
        self._axis = axis
        self._kept: dict[int, dict[int, NDArray[Any]]] = {}  # by source, then by the number of the picture

    def __call__(self, picture: Any, source: int, out: NDArray[Any]) -> None:
        parts = np.moveaxis(out, self._axis, 0)
        if not isinstance(picture, Moment):
            picture = Moment(0, (picture,))
            self._kept.pop(source, None)
        for place, part in enumerate(parts):
            steps = (len(parts) - 1 - place) * self._window.stride
            part[...] = self._prepared(picture, min(steps, picture.number), source, part)
        self._forget(source, picture.number - self._window.before)

    def _forget(self, source: int, number: int) -> None:
        """Let go of pictures before `number`, which no clip needs any more."""
        kept = self._kept[source]
        for older in [older for older in kept if older < number]:
            del kept[older]

    def _prepared(self, moment: Moment, steps: int, source: int, like: NDArray[Any]) -> NDArray[Any]:
        """The picture `steps` before the newest, prepared."""
        kept = self._kept.setdefault(source, {})
        number = moment.number - steps
        if number not in kept:
            kept[number] = np.empty(like.shape, like.dtype)
            self._single(moment.back(steps), source, kept[number])
        return kept[number]
