"""Which models of a plan run on whole pictures, and which on what others found. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.errors import UsageError
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.values import shown

_SEPARATE = frozenset({"processes"})


def roots(models: Sequence[ModelPlan]) -> list[int]:
    """The models that run on whole pictures, by their numbers."""
    return [index for index, model in enumerate(models) if model.after is None]


def tree(models: Sequence[ModelPlan], root: int) -> list[int]:
    """A model and those that run on what it found, or on what those found, each behind the one it needs."""
    found = [root]
    for index in found:  # grows meanwhile
        found += [number for number, model in enumerate(models) if model.after == models[index].name]
    return found


def followed(models: Sequence[ModelPlan]) -> list[int]:
    """The models on whose answers others run, by their numbers."""
    names = {model.after for model in models}
    return [index for index, model in enumerate(models) if model.name in names]


def against_order(models: Sequence[ModelPlan], engine: EnginePlan) -> str:
    """Why models cannot run after each other as they say; '' where they can."""
    names = [model.name for model in models]
    for model in models:
        if model.after is None:
            continue
        who = f"{shown(model.name)!r} runs after {shown(model.after)!r}"
        if model.after not in names:
            return f"{who}, which is no model of the plan: {', '.join(map(shown, names))}"
        if models[names.index(model.after)].post.read == "none":
            return f"{who}, whose outputs nobody reads: set its post=auto, or a family"
        if model.inputs.states:
            return f"{who}, and a state belongs to whole pictures: leave after out"
        if engine.strategy in _SEPARATE:
            return f"{who}, and strategy {engine.strategy} runs each in a process of its own: set strategy=workers"
    reached = [index for root in roots(models) for index in tree(models, root)]
    if len(reached) < len(models):
        lost = next(name for index, name in enumerate(names) if index not in reached)
        return f"{shown(lost)!r} waits for itself: leave out one after"
    return ""


def refuse_crops(plan: Plan, why: str, fix: str) -> None:
    """Raises UsageError for a plan with models that run on what others found."""
    for model in plan.models:
        if model.after is not None:
            raise UsageError(why, got=f"{shown(model.name)} after {shown(model.after)}", fix=fix)
