"""The trials of a model's plan in a precision: its network with switches, on frames of the user's source."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.errors import UsageError, unknown
from framepace.facts.accuracy import Gate, default_gate
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Input
from framepace.models.convert.calibration import prepared_inputs
from framepace.models.convert.int8cpu import is_narrow
from framepace.models.convert.kept import check_names
from framepace.models.spec import inspect, resolve
from framepace.numerics.inputs import tried_inputs
from framepace.numerics.int8rounding import int8_rounding
from framepace.numerics.rounding import CASTS, Rounding
from framepace.numerics.switched import Network, converted_graph
from framepace.numerics.trials import Trials
from framepace.numerics.tried import tried_before
from framepace.progress import Tell, silent


def trials_of(
    model: ModelPlan,
    input: Input,
    precision: str,
    frames: int,
    seed: int = 0,
    *,
    only: int | None = None,
    gate: Gate | None = None,
    tell: Tell = silent,
) -> Trials:
    """Trials of a model on `frames` frames, or `only` on one of them, by its number.

    Raises UsageError: a precision that cannot be tried, no ONNX file in FP32, nodes in FP32 that it has not.
    """
    rounding = _rounding(model, precision, tell)
    tell(f"loading {model.name} with a switch per node", None)
    network = Network(model, rounding)
    inputs = tried_inputs(model, input, frames, seed)
    if only is not None:
        inputs = [inputs[only]]
    check_names(model.fp32_nodes, network.proto.graph, model.name)
    return Trials(network, inputs, gate or default_gate(precision), tried=tried_before(network, inputs))


def _rounding(plan: ModelPlan, precision: str, tell: Tell) -> Rounding:
    """The number format of a precision; INT8 is calibrated on the plan's frames."""
    if precision in CASTS:
        return CASTS[precision]
    if precision != "int8":
        raise unknown("precision", precision, (*CASTS, "int8"))
    if plan.calibration is None:
        fix = "--set calibration=VIDEO|FOLDER (frames of your own)"
        raise UsageError(f"precision int8 of {plan.name!r} needs frames to calibrate on", got="none", fix=fix)
    plan = replace(plan, prepare=replace(plan.prepare, place="host"), batch=Batching())
    frames = prepared_inputs(plan, resolve(inspect(plan.model), plan))
    graph = converted_graph(plan, "int8")
    return int8_rounding(graph, frames, plan.calibration_method, tell, plan.name, narrow=is_narrow(plan))
