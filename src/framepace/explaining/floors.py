"""How far each model of a case is from its floor: its work, the ceilings of what it runs on, its measured time."""

from __future__ import annotations

import numpy as np

from framepace.analyze.bounds import bound, inference_ns
from framepace.errors import FramepaceError
from framepace.facts.bounds import Bound, Ceilings, ModelWork
from framepace.facts.plan import ModelPlan
from framepace.facts.trace import Trace
from framepace.lab.ceilings import known_ceilings, measure_ceilings
from framepace.lab.lab import Interrupted, Lab
from framepace.models.operations import model_work
from framepace.models.spec import NULL, inspect, resolve

_SECONDS = 10.0  # that must be left for a calibration of up to 5 s to leave trials their time


def bounds(lab: Lab, trace: Trace, notes: list[str]) -> tuple[Bound, ...]:
    """One bound for each model of `trace` (the scope 'model' in a closed loop); why others have none goes to `notes`.

    Raises Interrupted after Ctrl-C.
    """
    found = []
    for model, spec in zip(trace.meta.plan.models, trace.meta.models, strict=True):
        if NULL in (model.backend, spec.format):
            continue
        try:
            found.append(_bound(lab, trace, model, spec.format))
        except FramepaceError as error:
            notes.append(f"no floor of {model.name}: {' '.join(str(error).splitlines()[:2])}")
        except KeyboardInterrupt:
            raise Interrupted(trace) from None
    return tuple(found)


def _bound(lab: Lab, trace: Trace, model: ModelPlan, format: str) -> Bound:
    if format != "onnx":
        raise FramepaceError("its file does not tell what it asks for", got=format, expected="onnx")
    measured = inference_ns(trace, model.name)
    if measured is None:
        raise FramepaceError("no inference was measured")
    work, layers = _work(trace, model), trace.meta.layers.get(model.name, ())
    known = known_ceilings(model, _precisions(work), trace.meta.machine)
    found = None if known is None else bound(work, known, measured, layers)
    # Faster than can be: the calibration was disturbed then.
    if found is None or (found.times < 1 and lab.left >= _SECONDS):
        found = bound(work, _calibrated(lab, trace, model, work), measured, layers)
    return found


def _work(trace: Trace, model: ModelPlan) -> ModelWork:
    """The work of the batches that were measured."""
    resolved = resolve(inspect(model.model), model)
    batch = round(float(np.median(trace.measured(model.name).requests["batch_size"])))
    shapes = {n: (batch, *shape[1:]) if n in resolved.batched else shape for n, shape in resolved.shapes.items()}
    return model_work(model.model, shapes, model.precision, model.name, batch)


def _precisions(work: ModelWork) -> set[str]:
    return {node.precision for node in work.nodes if node.flops} or {work.precision}


def _calibrated(lab: Lab, trace: Trace, model: ModelPlan, work: ModelWork) -> Ceilings:
    if lab.left < _SECONDS:
        raise FramepaceError("no time to measure what the machine can do (--time-limit)")
    lab.say(f"measuring what the machine can do at its best in {' and '.join(sorted(_precisions(work)))}")
    return measure_ceilings(model, _precisions(work), trace.meta.machine)
