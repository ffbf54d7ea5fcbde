"""The null backend: no computation, durations as its options say. It shows framepace's own cost and calibrates it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count as counter
from typing import Annotated, Any

import numpy as np
from msgspec import Meta, convert
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Backend, Session, Tensors, Worker
from framepace.backends.fixedoutputs import fixed_outputs
from framepace.backends.options import checked
from framepace.clock.system import Clock
from framepace.errors import BackendError, UsageError
from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative, Option
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.spec import Resolved, inspect, resolve
from framepace.progress import Tell
from framepace.units import NS_PER_US

_DRAWN = 1 << 16  # durations drawn ahead; later requests start over
_LEAST_NOISE = 0.05  # no inference takes less than that share of its level
_PASS_TIME: Mapping[str, Callable[[Clock], Callable[[int], None]]] = {
    "spin": lambda clock: clock.spin_until,
    "sleep": lambda clock: clock.sleep_until,
}
OPTIONS: Mapping[str, str] = {
    "latency_us": "duration of an inference",
    "noise": "relative standard deviation of the duration",
    "outlier_share": "share of requests that are outliers",
    "outlier_factor": "how many times longer an outlier takes",
    "tier_at": "request at which the level changes",
    "tier_factor": "level after the change, relative to the one before",
    "ramp": "requests over which the level changes",
    "batch_us": "added for every item after the first of a batch",
    "cpu": "'spin' or 'sleep': how the time passes",
    "seed": "seed of noise and outliers",
    "fail_at": "request that fails",
    "nan_at": "request from which outputs are NaN",
}

_Count = Annotated[int, Meta(ge=0)]
_Share = Annotated[float, Meta(ge=0, le=1)]


class _Options(Fact, frozen=True, kw_only=True):
    latency_us: NonNegative = 0.0
    noise: NonNegative = 0.0
    outlier_share: _Share = 0.0
    outlier_factor: NonNegative = 5.0
    tier_at: _Count = 0
    tier_factor: NonNegative = 2.0
    ramp: _Count = 1
    batch_us: NonNegative = 0.0
    cpu: str = "spin"
    seed: _Count = 0
    fail_at: _Count = 0
    nan_at: _Count = 0


def _zeros(tensors: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """An array of zeros for each tensor, by name."""
    return {tensor.name: np.zeros([int(d) for d in tensor.shape], tensor.dtype) for tensor in tensors}


def _generators(seed: int) -> tuple[np.random.Generator, np.random.Generator]:
    """A generator for noise and one for outliers: the first requests are the same however many are drawn."""
    return np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])


def _level(chosen: _Options, count: int) -> NDArray[np.float64]:
    """The factor of each request: 1, then on a ramp to that of the second tier."""
    progress = np.clip((np.arange(count) - chosen.tier_at + 1) / max(1, chosen.ramp), 0, 1)
    return np.asarray(1 + progress * (chosen.tier_factor - 1), dtype=np.float64)


def durations(options: Mapping[str, Option], count: int) -> NDArray[np.int64]:
    """Durations in ns of requests 0..count-1 under the backend's options: level x noise x outliers.

    The level goes linearly from 1 to tier_factor over `ramp` requests from `tier_at` on.
    """
    chosen = convert(dict(options), _Options, strict=False)
    normal, uniform = _generators(chosen.seed)
    noise = np.maximum(1 + chosen.noise * normal.standard_normal(count), _LEAST_NOISE)
    is_outlier = uniform.random(count) < chosen.outlier_share
    level = np.ones(count)
    if "tier_at" in options:
        level = _level(chosen, count)
    factor = level * noise * np.where(is_outlier, chosen.outlier_factor, 1.0)
    return np.asarray(factor * chosen.latency_us * NS_PER_US, dtype=np.int64)


class NullBackend(Backend):
    """Passes time instead of computing."""

    name = "null"
    options = OPTIONS
    computes = False

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        model = replace(model, options=checked(self.name, _Options, model.options))
        if model.options.get("cpu", "spin") not in _PASS_TIME:
            raise UsageError("option 'cpu' of backend null", got=model.options["cpu"], expected=" or ".join(_PASS_TIME))
        return _NullSession(model, clock)


class _NullSession(Session):
    def __init__(self, model: ModelPlan, clock: Clock) -> None:
        self._model = model
        self._clock = clock
        file_spec = inspect(model.model)
        self.resolved = resolve(file_spec, model)
        self.spec = ModelSpec(
            name=file_spec.name,
            location=file_spec.location,
            sha256=file_spec.sha256,
            inputs=self.resolved.inputs,
            outputs=fixed_outputs(file_spec.outputs, model.batch.max),
            format=file_spec.format,
        )

    def resized(self, model: ModelPlan) -> Session:
        """See Session: any size takes the same time."""
        return _NullSession(model, self._clock)

    def _worker(self, index: int) -> Worker:
        return _NullWorker(self._model, self._clock, self.resolved, self.spec)


class _NullWorker(Worker):
    def __init__(self, model: ModelPlan, clock: Clock, resolved: Resolved, spec: ModelSpec) -> None:
        options = model.options
        self._clock = clock
        self._runs = counter()
        self._pass_time = _PASS_TIME[str(options.get("cpu", "spin"))](clock)
        self._durations = durations(options, _DRAWN).tolist()
        self._ns_per_item = round(float(options.get("batch_us", 0.0)) * NS_PER_US)
        self._fail_at = options.get("fail_at")
        self._nan_at = options.get("nan_at")
        self._inputs = _zeros(resolved.inputs)
        self._outputs = _zeros(spec.outputs)

    def staging(self, slot: int) -> Tensors:
        return self._inputs

    def enqueue(self, slot: int, count: int) -> None:
        run = next(self._runs)
        now = self._clock.now()
        duration = self._durations[run % _DRAWN] + self._ns_per_item * (count - 1)
        if duration > 0:
            self._pass_time(now + duration)
        if run == self._fail_at:
            raise BackendError("the null backend fails here", got=f"request {run}", fix="remove the option fail_at")
        if self._nan_at is not None and run >= int(self._nan_at):
            self._spoil_outputs()

    def wait(self, slot: int) -> Tensors:
        return self._outputs

    def _spoil_outputs(self) -> None:
        for out in self._outputs.values():
            if out.dtype.kind == "f":
                out.fill(np.nan)
