"""What goes into which input, from names and values as people give them, for the models that have such inputs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from msgspec.structs import replace

from framepace import values
from framepace.errors import UsageError, unknown
from framepace.facts.inputs import MOST_PICTURES, Inputs, Window
from framepace.facts.plan import ModelPlan, Plan
from framepace.models.spec import inspect

_LONGEST_VALUE = values.LONGEST_PATH


class NamedInputs(TypedDict, total=False):
    """What goes into the inputs of models, by their names.

    Attributes:
        inputs: input name -> number, list, text, or path of a .npy or .npz file.
        images: inputs that take the picture.
        previous: inputs that take the picture before, of the same source.
        states: input name -> output that is fed back to it, for each source; zero at first.
        window: (pictures, stride) of clips, or the number of pictures alone.
    """

    inputs: Mapping[str, Any] | None
    images: Sequence[str]
    previous: Sequence[str]
    states: Mapping[str, str] | None
    window: int | Sequence[int] | None


def with_inputs(
    plan: Plan,
    *,
    inputs: Mapping[str, Any] | None = None,
    images: Sequence[str] = (),
    previous: Sequence[str] = (),
    states: Mapping[str, str] | None = None,
    window: int | Sequence[int] | None = None,
) -> Plan:
    """The plan with inputs named; each goes to the models that have it.

    Raises UsageError for a name that no model has, listing those there are, and for values that cannot be.
    """
    named = Inputs(
        images=tuple(values.several(images, "images")),
        previous=tuple(values.several(previous, "previous")),
        states=dict(values.mapping(states or {}, "states")),
        values={name: _text(name, value) for name, value in values.mapping(inputs or {}, "inputs").items()},
        window=_window(window),
    )
    if named == Inputs():
        return plan
    return replace(plan, models=_named_models(plan, named))


def _named_models(plan: Plan, named: Inputs) -> tuple[ModelPlan, ...]:
    """The models with what was named for their inputs. Raises UsageError for a name that none has."""
    names_by_model = [_input_names(model) for model in plan.models]
    all_names = set().union(*names_by_model)
    for name in named.names:
        if name not in all_names:
            raise unknown("input", values.shown(name), all_names)
    models = []
    for model, names in zip(plan.models, names_by_model, strict=True):
        models.append(replace(model, inputs=_merged(model.inputs, named, names)))
    return tuple(models)


def _input_names(model: ModelPlan) -> set[str]:
    return {tensor.name for tensor in inspect(model.model).inputs}


def _merged(before: Inputs, named: Inputs, own: set[str]) -> Inputs:
    """What the plan said, with what was named for inputs that the model has."""
    return Inputs(
        images=tuple(name for name in named.images if name in own) or before.images,
        previous=tuple(name for name in named.previous if name in own) or before.previous,
        states={**before.states, **{name: out for name, out in named.states.items() if name in own}},
        values={**before.values, **{name: text for name, text in named.values.items() if name in own}},
        window=named.window or before.window,
    )


def _text(name: str, value: Any) -> str:
    """The value as it is typed: the plan keeps text. Raises UsageError for what is better kept in a file."""
    if isinstance(value, str):
        text = value
    else:
        listed = value.tolist() if hasattr(value, "tolist") else value
        try:
            text = json.dumps(listed)
        except (TypeError, ValueError) as error:
            expected = "a number, a list, a text, or the path of a .npy file"
            raise UsageError(f"not a value for input {name!r}", got=values.shown(value), expected=expected) from error
    if len(text) > _LONGEST_VALUE:
        fix = f"numpy.save('{name}.npy', array), and give that path"
        raise UsageError(f"the value of input {name!r} is too long", got=f"{len(text)} letters", fix=fix)
    return text


def _window(window: int | Sequence[int] | None) -> Window | None:
    if window is None:
        return None
    numbers = [window] if isinstance(window, int) else list(window)
    if len(numbers) not in (1, 2):
        raise UsageError("not a window", got=values.shown(numbers), expected="pictures, or pictures and a stride")
    checked = [values.whole_number(number, "window", least=1, most=MOST_PICTURES) for number in numbers]
    return Window(pictures=checked[0], stride=checked[-1] if len(checked) == 2 else 1)
