"""Contradictions in plans whose single values are all valid."""

from __future__ import annotations

from framepace.facts.plan import Plan
from framepace.values import possible_shape, possible_size, shown


def contradiction(plan: Plan) -> str:
    """The contradiction in a plan whose single values are all valid; '' if there is none."""
    if not plan.models:
        return "it has no models"
    names = plan.names
    if "" in names:
        return "a model has no name"
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        return f"two models are called {shown(doubled[0])!r}"
    for model in plan.models:
        if model.size is not None and not possible_size(model.size):
            return f"the size of {shown(model.name)!r} is too large: {model.size[1]}x{model.size[0]}"
        for tensor, shape in model.shapes.items():
            if not possible_shape(shape):
                return f"the shape of {shown(tensor)!r} is too large: {shown('x'.join(map(str, shape)))}"
        if 0 in model.prepare.std:
            return f"std of {shown(model.name)!r} holds a 0, and a channel cannot be divided by it"
    return ""
