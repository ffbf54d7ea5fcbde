"""The machine's options for a plan: cores, SMs, and the installed backends that can run its models."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.backends.base import backend_names, get_backend
from framepace.clock.system import SystemClock
from framepace.engine.corekeeper import usable_cores
from framepace.errors import BatchesFail, FramepaceError
from framepace.facts.plan import Batching, ModelPlan, Plan
from framepace.models.spec import inspect, operators, resolve
from framepace.recording.machine import probe
from framepace.tuning.space import MachineOptions
from framepace.video.device.decoder import has_library

_LOADS_AT_ONCE = frozenset({"onnxruntime", "torch"})


def machine_options(plan: Plan) -> MachineOptions:
    """See MachineOptions. Backends that compute nothing are never offered beside those that run models."""
    gpus = probe().gpus
    backends = _backends(plan, bool(gpus))
    notes = tuple(note for note in map(_no_batches, plan.models) if note)
    return MachineOptions(
        cores=len(usable_cores()),
        sms=min((gpu.sm_count or 1 for gpu in gpus), default=0),
        backends=backends,
        batches=not notes and all(map(_takes_batches, plan.models)),
        decodes=has_library(),
        computes_shapes=any(map(_computes_shapes, plan.models)),
        options={name: frozenset(get_backend(name).options) for name in backends},
        notes=notes,
    )


def _no_batches(model: ModelPlan) -> str:
    """Why a model cannot run the batches that its file promises, found by loading it for two; '' where it can.

    Not where loading takes minutes because the library builds an engine: there the first trial says it.
    """
    backend = get_backend(model.backend)
    if not backend.computes or backend.name not in _LOADS_AT_ONCE or not _takes_batches(model):
        return ""
    try:
        backend.load(replace(model, batch=Batching(max=2)), SystemClock()).close()
    except BatchesFail as error:
        return f"{error.what}: {error.got}; no batches were tried"
    except FramepaceError:  # loading will say
        return ""
    return ""


def _takes_batches(model: ModelPlan) -> bool:
    """False only where the batch size is known to be fixed; otherwise loading will say."""
    try:
        return bool(resolve(inspect(model.model), model).batched)
    except FramepaceError:
        return True


def _computes_shapes(model: ModelPlan) -> bool:
    """Whether nodes of a file compute shapes that one size would settle, in the library that folds them away."""
    if model.backend != "onnxruntime" or model.is_native:
        return False
    try:
        return "Shape" in operators(model.model)
    except FramepaceError:
        return False


def _backends(plan: Plan, gpu: bool) -> tuple[str, ...]:
    """The plan's own backend, and others that run all of its models."""
    current = plan.models[0].backend
    if not get_backend(current).computes or any(m.backend != current or m.options for m in plan.models):
        return (current,)
    others = (name for name in backend_names() if name != current)
    return (current, *(name for name in others if all(_runs(name, model, gpu) for model in plan.models)))


def _runs(name: str, model: ModelPlan, gpu: bool) -> bool:
    """Whether a backend is installed, runs the model's kind of file, and has its device here."""
    try:
        backend = get_backend(name)
        if not backend.computes or not backend.takes(model.model) or inspect(model.model).format != "onnx":
            return False
    except FramepaceError:
        return False
    kind = backend.device_of(model).partition(":")[0]
    return kind in backend.devices and (kind == "cpu" or gpu)
