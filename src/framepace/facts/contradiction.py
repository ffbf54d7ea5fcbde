"""Contradictions in plans whose single values are all valid."""

from __future__ import annotations

from framepace.facts.cascade import against_order
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.values import possible_shape, possible_size, shown

_PROCESSES = frozenset({"processes", "worker-processes"})


def _deals_out_sources(engine: EnginePlan) -> bool:
    """Whether frames of one source reach several processes."""
    return engine.workers > 1 and engine.strategy in _PROCESSES


def _against_own_sizes(model: ModelPlan, engine: EnginePlan) -> str:
    """What keeps pictures from being run at their own sizes, and what to set; '' if nothing does."""
    if not model.is_native:
        return ""
    needs_one = f"size=native of {shown(model.name)!r}: "
    if model.graph_shapes == "fixed":
        return f"{needs_one}shapes=fixed puts one size into the file: set shapes=exported, or size=WIDTHxHEIGHT"
    if model.inputs.states:
        return f"{needs_one}a state has one size: set size=WIDTHxHEIGHT"
    if engine.strategy in _PROCESSES:
        return f"{needs_one}strategy {engine.strategy} prepares for one: set strategy=workers, or size=WIDTHxHEIGHT"
    return ""


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
    if any(model.inputs.states for model in plan.models) and _deals_out_sources(plan.engine):
        strategy = plan.engine.strategy
        return (
            f"with several workers strategy {strategy} sends the frames of one source to several processes, where its "
            "state cannot follow: set strategy=workers, or workers=1"
        )
    if plan.engine.decode == "gpu" and plan.engine.strategy in _PROCESSES:
        return "decode=gpu leaves pictures in this process's GPU memory: set strategy=workers, or decode=thread"
    if plan.engine.slow is not None and plan.engine.strategy in _PROCESSES:
        return f"slow={plan.engine.slow} works in this process only: set strategy=workers"
    order = against_order(plan.models, plan.engine)
    if order:
        return order
    for model in plan.models:
        size = model.one_size
        if size is not None and not possible_size(size):
            return f"the size of {shown(model.name)!r} is too large: {size[1]}x{size[0]}"
        native = _against_own_sizes(model, plan.engine)
        if native:
            return native
        for tensor, shape in model.shapes.items():
            if not possible_shape(shape):
                return f"the shape of {shown(tensor)!r} is too large: {shown('x'.join(map(str, shape)))}"
        if 0 in model.prepare.std:
            return f"std of {shown(model.name)!r} holds a 0, and a channel cannot be divided by it"
    return ""
