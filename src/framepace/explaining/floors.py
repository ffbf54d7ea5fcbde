"""How far each model of a case is from its floor: its work, the ceilings of what it runs on, its measured time."""

from __future__ import annotations

import numpy as np

from framepace.analyze.bounds import bound, inference_ns
from framepace.errors import FramepaceError
from framepace.facts.bounds import Bound, Ceilings, ModelWork
from framepace.facts.plan import ModelPlan
from framepace.facts.trace import Trace
from framepace.lab.ceilings import known_ceilings, measure_ceilings
from framepace.lab.lab import Lab
from framepace.models.operations import model_work
from framepace.models.served import SERVED
from framepace.models.spec import NULL, inspect, resolve

_POSSIBLE = 1.0  # times the floor, at least
_CALIBRATION_S = 10.0  # that must be left for a calibration of up to 5 s to leave trials their time


def bounds(lab: Lab, trace: Trace, notes: list[str]) -> tuple[Bound, ...]:
    """One bound per model of `trace` (the scope 'model' in a closed loop); why others have none goes to `notes`."""
    made = []
    for model, spec in zip(trace.meta.plan.models, trace.meta.models, strict=True):
        if {NULL, SERVED} & {model.backend, spec.format}:
            continue
        try:
            made.append(_bound(lab, trace, model, spec.format))
        except FramepaceError as error:
            notes.append(f"no floor of {model.name}: {' '.join(str(error).splitlines()[:2])}")
    return tuple(made)


def _bound(lab: Lab, trace: Trace, model: ModelPlan, format: str) -> Bound:
    measured = inference_ns(trace, model.name)
    if format != "onnx":
        raise FramepaceError("its file does not say what it computes", got=format, expected="onnx")
    if measured is None:
        raise FramepaceError("no inference was measured")
    work = _work(trace, model)
    return _floor(lab, trace, model, work, measured)


def _floor(lab: Lab, trace: Trace, model: ModelPlan, work: ModelWork, measured: float) -> Bound:
    """The bound by the ceilings of the cache, or by those of a calibration."""
    layers = trace.meta.layers.get(model.name, ())
    ceilings = known_ceilings(model, _precisions(work), trace.meta.machine)
    if ceilings is not None:
        floor = bound(work, ceilings, measured, layers)
        if floor.times >= _POSSIBLE:  # else faster than can be: the calibration was disturbed
            return floor
    floor = bound(work, _calibrated(lab, trace, model, work), measured, layers)
    if floor.times < _POSSIBLE:
        got = f"{floor.times:.2f} times the floor"
        raise FramepaceError(
            "the calibration of this machine was disturbed: the model is faster than it allows", got=got
        )
    return floor


def _work(trace: Trace, model: ModelPlan) -> ModelWork:
    """The work of the batches that were measured."""
    resolved = resolve(inspect(model.model), model)
    batch = round(float(np.median(trace.measured(model.name).requests["batch_size"])))
    shapes = {name: resolved.shape_of(name, batch) for name in resolved.shapes}
    return model_work(model.model, shapes, model.precision, model.name, batch)


def _precisions(work: ModelWork) -> set[str]:
    return {node.precision for node in work.nodes if node.flops} or {work.precision}


def _calibrated(lab: Lab, trace: Trace, model: ModelPlan, work: ModelWork) -> Ceilings:
    if not lab.fits(_CALIBRATION_S):
        raise FramepaceError("no time to measure the peaks of this machine (--time-limit)")
    precisions = _precisions(work)
    lab.say(f"measuring the peaks of this machine in {' and '.join(sorted(precisions))}")
    return lab.call([model], measure_ceilings, model, precisions, trace.meta.machine)
