"""Half the work: half as many pixels (the same operators and launches), or half of the network."""

from __future__ import annotations

from framepace.errors import FramepaceError
from framepace.explaining.evidence import Evidence
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan
from framepace.models.convert.halved import halved


def half_the_pixels(evidence: Evidence) -> dict[str, str]:
    """The setting of each model that halves its pixels; none for a model that takes one size only."""
    return _settings(evidence, _sizes(evidence))


def half_the_work(evidence: Evidence) -> dict[str, str]:
    """The setting of each model that halves its work: half of its pixels, or its file cut at half of its operations.

    None for a model that allows neither. A file that is cut is written into the cache.
    """
    specs = evidence.traces["model"].meta.models
    changes = _sizes(evidence)
    for plan, spec in zip(evidence.models, specs, strict=True):
        if plan.name not in changes and (path := _cut(plan, spec)):
            changes[plan.name] = ("model", path)
    return _settings(evidence, changes)


def _sizes(evidence: Evidence) -> dict[str, tuple[str, str]]:
    """Setting and value of each model that can have half the pixels, by its name."""
    specs = evidence.traces["model"].meta.models
    pairs = ((plan.name, _smaller(plan, spec)) for plan, spec in zip(evidence.models, specs, strict=True))
    return {name: change for name, change in pairs if change is not None}


def _settings(evidence: Evidence, changes: dict[str, tuple[str, str]]) -> dict[str, str]:
    """As settings; those of a plan's only model without its name, which is often a long one."""
    if len(evidence.models) == 1:
        return dict(changes.values())
    return {f"{name}.{setting}": value for name, (setting, value) in changes.items()}


def _cut(plan: ModelPlan, spec: ModelSpec) -> str:
    """Where the first half of the model is; '' where it cannot be cut."""
    shapes = {tensor.name: tuple(map(int, tensor.shape)) for tensor in spec.inputs}
    try:
        return halved(plan.model, shapes)
    except FramepaceError:
        return ""


def _smaller(plan: ModelPlan, spec: ModelSpec) -> tuple[str, str] | None:
    """Setting and value: the size of an open model, the name of a built-in one."""
    images = [t.shape for t in spec.inputs if len(t.shape) == 4]
    if plan.model.startswith("builtin:") and images:
        _, _, height, width = images[0]
        return "model", f"{plan.model.partition('@')[0]}@{_half_text(int(height), int(width))}"
    if plan.one_size is not None and not plan.shapes:
        return "size", _half_text(*plan.one_size)
    return None


def _half_text(height: int, width: int) -> str:
    """WIDTHxHEIGHT of about half as many pixels, both multiples of 32 as most networks want them."""
    height, width = (max(32, round(side * 0.7071 / 32) * 32) for side in (height, width))
    return f"{width}x{height}"
