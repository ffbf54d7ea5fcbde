"""The command that asks `framepace accuracy` another question of the same model, on the same frames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from shlex import join
from typing import Any

from framepace.facts.address import shown
from framepace.facts.inputs import Inputs
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import SETTINGS, value_text

_NO_NAME = re.compile(r"[^\w.@+-]+")  # what a shell, or a folder, would read otherwise
_ASKED_ANEW = ("model", "precision", "size", "fp32-nodes")  # said in another way, or what is asked for


def mend_question(model: ModelPlan, videos: Sequence[str] = (), frames: int | None = None, *metric: str) -> str:
    """The command that finds what breaks a precision, and mends it where a file can hold the precision.

    Args:
        model: as it was run, in the precision that breaks.
        videos: the sources of the frames, and `frames` how many were looked at.
        metric: further options: what decides in place of the gate.

    Returns:
        The command, whose file is called by the model and the precision; '' for a model that is no ONNX file, of whose
        nodes nobody can ask.
    """
    if not _is_onnx(model.model):
        return ""
    if model.precision == "bf16":  # of which no file can be written
        return question(model, videos, frames, "--rank")
    file = f"{_NO_NAME.sub('_', model.name)}-{model.precision}-mixed.onnx"
    return question(model, videos, frames, *metric, "--mend", file)


def _is_onnx(location: str) -> bool:
    return location.startswith("builtin:") or location.endswith(".onnx")


def question(model: ModelPlan, videos: Sequence[str], frames: int | None, *asked: str) -> str:
    """'framepace accuracy net.onnx --precision fp16 --size 640x384 --video a.mp4 --frames 8', and what is `asked`."""
    words = ["framepace", "accuracy", shown(model.model), "--precision", model.precision, *_model_words(model)]
    words += [word for video in videos for word in ("--video", shown(video))]
    if frames is not None:
        words += ["--frames", str(frames)]
    return join([*words, *asked])


def _model_words(model: ModelPlan) -> Iterator[str]:
    """Options that say how a model is run, where they are not what a model alone gets."""
    plain = ModelPlan(name=model.name, model=model.model)
    if model.size is not None:
        yield from ("--size", value_text("size", model.size))
    for name, shape in model.shapes.items():
        yield from ("--shape", f"{name}={'x'.join(map(str, shape))}")
    yield from _input_words(model.inputs)
    fields = {name: setting.field for name, setting in SETTINGS.items() if setting.part == "models"}
    for name, field in fields.items():
        value = _at(model, field)
        if name not in _ASKED_ANEW and value != _at(plain, field):
            yield from ("--set", f"{name}={value_text(name, value)}")
    for name, value in model.options.items():
        yield from ("--set", f"option.{name}={value_text(name, value)}")


def _input_words(inputs: Inputs) -> Iterator[str]:
    for option, names in (("--image", inputs.images), ("--previous", inputs.previous)):
        for name in names:
            yield from (option, name)
    for option, pairs in (("--input", inputs.values), ("--state", inputs.states)):
        for name, value in pairs.items():
            yield from (option, f"{name}={value}")
    if inputs.window is not None:
        yield from ("--window", f"{inputs.window.pictures}:{inputs.window.stride}")


def _at(fact: Any, field: str) -> Any:
    """The value of a dotted field."""
    for part in field.split("."):
        fact = getattr(fact, part)
    return fact
