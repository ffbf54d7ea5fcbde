"""Half as many pixels: less arithmetic and fewer bytes, the same operators and launches."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan


def half_the_pixels(evidence: Evidence) -> dict[str, str]:
    """The setting of each model that halves its pixels; none for a model that takes one size only."""
    specs = evidence.traces["model"].meta.models
    pairs = ((plan, _smaller(plan, spec)) for plan, spec in zip(evidence.models, specs, strict=True))
    return {f"{plan.name}.{change[0]}": change[1] for plan, change in pairs if change is not None}


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
