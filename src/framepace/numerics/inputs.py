"""The inputs that a model is tried on when its precision is questioned: prepared frames, or seeded random values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Input
from framepace.models.convert import calibration
from framepace.models.inputs import draw, example, made_up_note
from framepace.models.spec import Resolved, inspect, resolve
from framepace.numerics.gate import pictures_of, takes_pictures

Inputs = dict[str, Any]  # arrays by the names of the inputs
_HELD_BYTES = 256 << 20


def tried_inputs(model: ModelPlan, input: Input, frames: int, seed: int) -> Sequence[Inputs]:
    """Inputs of `frames` frames, as many of each source, prepared as the plan says, one frame each.

    A model that takes no picture gets seeded random values. Raises SourceError; UsageError for no frames.
    """
    if frames < 1:
        raise UsageError("there is nothing to compare", got=f"{frames} frames", expected="one frame or more")
    if model.is_native:
        raise UsageError("pictures are tried at one size", got="size=native", fix="--size WIDTHxHEIGHT")
    plan = replace(model, batch=Batching(), prepare=replace(model.prepare, place="host", constant=False))
    resolved = resolve(inspect(model.model), plan)
    if resolved.image is None:
        return [_random(resolved, seed, number) for number in range(frames)]
    return _held(calibration.PreparedInputs(plan, resolved, pictures_of(input, frames, seed)))


def looked_at(model: ModelPlan, videos: tuple[str, ...]) -> dict[str, Any]:
    """What every result says of the frames that its numbers are of; a model that takes no picture sees none of them."""
    if takes_pictures(model):
        return {"videos": videos}
    return {"pictures": False}


def values_notes(model: ModelPlan) -> Iterator[str]:
    """Which inputs of a model that takes no picture were given random values, and how to give others."""
    if not takes_pictures(model):
        yield from filter(None, [made_up_note(resolve(inspect(model.model), model))])


def _held(prepared: calibration.PreparedInputs) -> Sequence[Inputs]:
    """The same in memory, where there is room; else they are prepared again each time."""
    frame_bytes = sum(array.nbytes for array in prepared[0].values())
    if frame_bytes * len(prepared) > _HELD_BYTES:
        return prepared
    return list(prepared)


def _random(resolved: Resolved, seed: int, number: int) -> Inputs:
    inputs = example(resolved)
    for place, name in enumerate(sorted(resolved.made_up)):
        draw(inputs[name], np.random.default_rng([seed, number, place]))
    return inputs
