"""The null backend: no computation, durations as asked. It measures framepace's own cost and calibrates it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count as counter
from typing import Annotated

import numpy as np
from msgspec import Meta
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import Backend, Session, Tensors, Worker
from framepace.backends.options import checked
from framepace.clock.system import Clock
from framepace.errors import BackendError, UsageError
from framepace.facts.base import Fact
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan, NonNegative, Option
from framepace.models.spec import Resolved, inspect, resolve
from framepace.progress import Tell

_DRAWN = 1 << 16  # durations drawn ahead; later requests start over
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


def durations(options: Mapping[str, Option], count: int) -> NDArray[np.int64]:
    """Durations in ns of requests 0..count-1 under the backend's options: level x noise x outliers.

    The level goes linearly from 1 to tier_factor over `ramp` requests from `tier_at` on.
    """
    # A generator for each, so that the first requests are the same however many are drawn.
    normal, uniform = (np.random.default_rng([int(options.get("seed", 0)), stream]) for stream in (0, 1))
    noise = 1 + float(options.get("noise", 0.0)) * normal.standard_normal(count)
    outlier = uniform.random(count) < float(options.get("outlier_share", 0.0))
    level = np.ones(count)
    if "tier_at" in options:
        ramp = max(1.0, float(options.get("ramp", 1)))
        progress = np.clip((np.arange(count) - float(options["tier_at"]) + 1) / ramp, 0, 1)
        level += progress * (float(options.get("tier_factor", 2.0)) - 1)
    factor = level * np.maximum(noise, 0.05) * np.where(outlier, float(options.get("outlier_factor", 5.0)), 1.0)
    return np.asarray(factor * float(options.get("latency_us", 0.0)) * 1000, dtype=np.int64)


class NullBackend(Backend):
    """Passes the time it is told to."""

    name = "null"
    options = OPTIONS

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        model = replace(model, options=checked(self.name, _Options, model.options))
        if model.options.get("cpu", "spin") not in ("spin", "sleep"):
            raise UsageError("option 'cpu' of backend null", got=model.options["cpu"], expected="spin or sleep")
        return _NullSession(model, clock)


class _NullSession(Session):
    def __init__(self, model: ModelPlan, clock: Clock) -> None:
        self._model, self._clock = model, clock
        found = inspect(model.model)
        self.resolved = resolve(found, model)
        self.spec = ModelSpec(
            name=found.name,
            location=found.location,
            sha256=found.sha256,
            inputs=self.resolved.inputs,
            outputs=tuple(_fixed(tensor, model.batch.max) for tensor in found.outputs),
            format=found.format,
        )

    def _worker(self, index: int) -> Worker:
        return _NullWorker(self._model, self._clock, self.resolved, self.spec)


def _fixed(tensor: TensorSpec, batch: int) -> TensorSpec:
    """Unknown output dimensions are 1: nobody reads what nobody computed."""
    shape = tuple(d if isinstance(d, int) else batch if i == 0 else 1 for i, d in enumerate(tensor.shape))
    return TensorSpec(name=tensor.name, dtype=tensor.dtype, shape=shape)


class _NullWorker(Worker):
    def __init__(self, model: ModelPlan, clock: Clock, resolved: Resolved, spec: ModelSpec) -> None:
        options = model.options
        self._clock, self._runs = clock, counter()
        self._pass_time = clock.sleep_until if options.get("cpu") == "sleep" else clock.spin_until
        self._durations = durations(options, _DRAWN).tolist()
        self._extra = round(float(options.get("batch_us", 0.0)) * 1000)
        self._fail_at, self._nan_at = options.get("fail_at"), options.get("nan_at")
        self._inputs = {t.name: np.zeros(resolved.shapes[t.name], t.dtype) for t in resolved.inputs}
        self._outputs = {t.name: np.zeros([int(d) for d in t.shape], t.dtype) for t in spec.outputs}

    def staging(self, slot: int) -> Tensors:
        return self._inputs

    def enqueue(self, slot: int, count: int) -> None:
        run, now = next(self._runs), self._clock.now()
        duration = self._durations[run % _DRAWN] + self._extra * (count - 1)
        if duration > 0:
            self._pass_time(now + duration)
        if run == self._fail_at:
            raise BackendError("the null backend fails here", got=f"request {run}", fix="remove the option fail_at")
        if self._nan_at is not None and run >= int(self._nan_at):
            for out in self._outputs.values():
                out.fill(np.nan if out.dtype.kind == "f" else 0)

    def wait(self, slot: int) -> Tensors:
        return self._outputs
