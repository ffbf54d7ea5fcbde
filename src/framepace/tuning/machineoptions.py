"""What the machine offers a plan: cores, SMs, and the backends that are installed and can run its models."""

from __future__ import annotations

from framepace.backends.base import backend_names, get_backend
from framepace.engine.corekeeper import usable_cores
from framepace.errors import FramepaceError
from framepace.facts.plan import ModelPlan, Plan
from framepace.models.spec import inspect, resolve
from framepace.recording.machine import probe
from framepace.tuning.space import Surroundings


def surroundings(plan: Plan) -> Surroundings:
    """See Surroundings. Backends that only simulate are never offered beside those that run models."""
    gpus = probe().gpus
    sms = min((gpu.sm_count or 1 for gpu in gpus), default=0)
    batches, backends = all(map(_takes_batches, plan.models)), _backends(plan, bool(gpus))
    options = {name: frozenset(get_backend(name).options) for name in backends}
    return Surroundings(cores=len(usable_cores()), sms=sms, backends=backends, batches=batches, options=options)


def _takes_batches(model: ModelPlan) -> bool:
    """False only for what is known to be fixed; what cannot be told says so when it is loaded."""
    try:
        return bool(resolve(inspect(model.model), model).batched)
    except FramepaceError:
        return True


def _backends(plan: Plan, gpu: bool) -> tuple[str, ...]:
    own = plan.models[0].backend
    if any(m.backend != own or m.options for m in plan.models) or get_backend(own).simulated or own == "null":
        return (own,)
    others = (n for n in backend_names() if n not in (own, "null") and all(_runs(n, m, gpu) for m in plan.models))
    return (own, *others)


def _runs(name: str, model: ModelPlan, gpu: bool) -> bool:
    """Whether a backend is installed, runs the model's kind of file, and has its device here."""
    try:
        backend = get_backend(name)
        if backend.simulated or not backend.takes(model.model) or inspect(model.model).format != "onnx":
            return False
    except FramepaceError:
        return False
    kind = (model.device or backend.devices[0]).partition(":")[0]
    return kind in backend.devices and (kind == "cpu" or gpu)
