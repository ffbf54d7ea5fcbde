"""A backend whose answers are off: 'skewed' runs a file by ONNX Runtime, and multiplies its outputs.

The option `by` is the factor; with `drift` each loaded session adds as much to it as the one before, as a race might.
"""

from __future__ import annotations

import itertools

from msgspec.structs import replace

from framepace.backends.base import Session, Worker, get_backend, register
from framepace.backends.onnxruntime.backend import OnnxRuntimeBackend
from framepace.clock.system import Clock
from framepace.facts.plan import ModelPlan
from framepace.progress import Tell

LOADED = itertools.count()


@register
class SkewedBackend(OnnxRuntimeBackend):
    """See the module."""

    name = "skewed"
    options = {"by": "factor of the outputs", "drift": "what each session adds to it"}

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        by = float(model.options.get("by", 1.0)) + next(LOADED) * float(model.options.get("drift", 0.0))
        session = get_backend("onnxruntime").load(replace(model, backend="onnxruntime", options={}), clock, tell)
        make = session._worker

        def worker(index: int) -> Worker:
            made = make(index)
            wait = made.wait
            made.wait = lambda slot: {name: out * out.dtype.type(by) for name, out in wait(slot).items()}  # type: ignore[method-assign]
            return made

        session._worker = worker  # type: ignore[method-assign]
        return session
