"""The answers of a plan's settings against the plain way, once per variant and machine: the cache keeps them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from framepace.backends.base import Tensors, get_backend
from framepace.errors import FramepaceError, StoreError, one_line
from framepace.facts.heldanswers import HeldAnswers
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Input
from framepace.numerics.gate import FRAMES, agreement, cache_name, paired_outputs, pictures_of, reference_of
from framepace.progress import silent
from framepace.store import cache

_FEW = 8  # frames in FP32, where what can be wrong is wrong on every frame
_SEED = 0
_OTHERWISE = "its frames, hook or server may answer otherwise each time"


def chosen(model: ModelPlan, decoded_on: int | None = None) -> dict[str, str]:
    """The settings of a model that may change its answers, and are not those of the plain way; as words."""
    plain = _way(_plain(model))
    settings = {name: _word(value) for name, value in _way(model).items() if value != plain.get(name)}
    if decoded_on is not None:
        settings["decode"] = "gpu"
    return settings


def held(model: ModelPlan, input: Input, decoded_on: int | None = None) -> HeldAnswers:
    """The answers of a model held against the plain way; what fails is told in `why`.

    Args:
        input: whose frames are used.
        decoded_on: CUDA's number of the GPU that decodes; None: the host.
    """
    earlier = kept(model, input, decoded_on)
    if earlier is not None:
        return earlier
    try:
        answers = _held(model, input, decoded_on)
    except FramepaceError as error:
        return not_held(model, error, decoded_on)
    name = _name(model, input, decoded_on)
    with suppress(StoreError):  # then it is compared again
        cache.put(str(name), msgspec.json.encode(answers))
    return answers


def not_held(model: ModelPlan, error: FramepaceError, decoded_on: int | None = None) -> HeldAnswers:
    """What there is to say where nothing could be compared."""
    settings: dict[str, str] = {}
    with suppress(FramepaceError):
        settings = chosen(model, decoded_on)
    return HeldAnswers(model=model.name, settings=settings, why=one_line(error))


def kept(model: ModelPlan, input: Input, decoded_on: int | None = None) -> HeldAnswers | None:
    """What the cache holds, or why nothing can be compared; None where it has to be."""
    try:
        name = _name(model, input, decoded_on)
        settings = chosen(model, decoded_on)
    except FramepaceError as error:
        return not_held(model, error)
    if name is None:
        return HeldAnswers(model=model.name, settings=settings, why=_OTHERWISE)
    try:
        answers = msgspec.json.decode((cache.folder() / name).read_bytes(), type=HeldAnswers)
    except (OSError, msgspec.DecodeError):
        return None
    return replace(answers, model=model.name)


def _held(model: ModelPlan, input: Input, decoded_on: int | None) -> HeldAnswers:
    answers = agreement(model, input, reference=_plain(model), frames=_frames(model), seed=_SEED, decoded_on=decoded_on)
    return HeldAnswers(
        model=model.name,
        settings=chosen(model, decoded_on),
        agreement=answers,
        unsteady=_unsteady(model, input, decoded_on),
    )


def _unsteady(model: ModelPlan, input: Input, decoded_on: int | None) -> int:
    """How many frames two runs of the same way answer differently."""
    frames = _frames(model)
    pictures = pictures_of(input, frames, _SEED, decoded_on)
    return sum(not _same(one, other) for one, other in paired_outputs((model, model), pictures, _SEED, silent))


def _same(one: Tensors, other: Tensors) -> bool:
    return all(out.tobytes() == other[name].tobytes() for name, out in one.items())


def _plain(model: ModelPlan) -> ModelPlan:
    """The plain way to run a model. Raises UsageError for an engine that was built."""
    return replace(reference_of(model), batch=Batching(), graph_shapes="exported")


def _way(model: ModelPlan) -> dict[str, Any]:
    """What may change the answers of a model, by setting."""
    way = {
        "backend": model.backend,
        "device": get_backend(model.backend).device_of(model),
        "precision": model.precision,
        "graph": model.graph,
        "shapes": model.graph_shapes,
        "batch": model.batch.max,
        "batch-sizes": model.batch.sizes,
        "prepare-place": model.prepare.place,
        "sms": model.sms,
    }
    return way | {f"option.{name}": value for name, value in model.options.items()}


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return str(value)


def _frames(model: ModelPlan) -> int:
    """A lower precision may fail on some frames alone."""
    return _FEW if model.precision == "fp32" else FRAMES


def _name(model: ModelPlan, input: Input, decoded_on: int | None) -> str | None:
    """Its name in the cache; None where nothing may be kept."""
    name = cache_name(model, _plain(model), input, (_frames(model), _SEED, None, decoded_on))
    return name and f"held/{name}"


def comparable_models(models: tuple[ModelPlan, ...], decoded_on: int | None) -> Iterator[ModelPlan]:
    """Those whose settings may change their answers, of models that a library here computes."""
    for model in models:
        backend = get_backend(model.backend)
        if backend.computes and not backend.remote and not backend.is_built(model.model):
            with suppress(FramepaceError):  # running it says what is wrong with the model
                if chosen(model, decoded_on):
                    yield model
