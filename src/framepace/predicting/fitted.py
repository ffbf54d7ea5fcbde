"""A model that takes what it was measured to take: levels by batch and pause, chance as it was seen, in virtual time.

On a CPU an inference runs on the cores of the machine (exec/sim/machine.py), on a GPU on a simulated device
(exec/sim/device.py) of which one thing is fitted: how much of it an inference fills.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import DeviceTimes, Session, Tensors, Worker, get_backend, padded, run_sizes
from framepace.errors import UsageError
from framepace.facts.model import TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.spec import Resolved, inspect, resolve
from framepace.predicting.machine import MachineClock, Task
from framepace.predicting.modelcosts import Costs
from framepace.simulate.demand import Demand
from framepace.simulate.device import Device, Job, Stream, Tenant
from framepace.simulate.parameters import DeviceModel


class FittedSession(Session):
    """One model with its measured costs.

    Args:
        device: what its kernels run on, where it runs on a GPU.
    """

    def __init__(self, plan: ModelPlan, costs: Costs, clock: MachineClock, device: Device | None, seed: int) -> None:
        found = inspect(plan.model)
        self.resolved = resolve(found, plan)
        self.spec = replace(found, inputs=self.resolved.inputs)
        self.plan, self.costs, self.clock, self.device, self.seed = plan, costs, clock, device, seed
        self.batch_sizes = _sizes(plan, self.resolved)
        self.tenant = Tenant()
        self._running, self._spinner = 0, Task(math.inf, costs.demand - 1, costs.demand - 1.0, press=False)

    def compute(self, count: int, ns: float) -> None:
        """Run an inference on the cores; between inferences the threads of its pool spin for a while."""
        costs, clock = self.costs, self.clock
        clock.cores.end_idle(self._spinner, clock.now())
        self._running += 1
        clock.work(costs.task(ns, count, costs.demand, costs.cpu(count)))
        self._running -= 1
        if costs.spin and not self._running:
            clock.cores.idle(self._spinner, clock.now(), clock.now() + round(costs.spin))

    def _worker(self, index: int) -> Worker:
        return (_CpuWorker if self.device is None else _DeviceWorker)(self, index)


class FittedWorker(Worker):
    """What both kinds have in common: the host's stages."""

    def __init__(self, session: FittedSession, index: int) -> None:
        self.session, self.clock, self.costs = session, session.clock, session.costs
        full = session.plan.batch.max
        self._chance = {
            (name, paused): stage.chance(full, session.seed, index, place, paused=paused)
            for place, (name, stage) in enumerate(self.costs.stages.items())
            for paused in (False, True)
        }
        self._staging, self._halted = _empty(session.resolved.inputs), self.clock.halted()

    def draw(self, name: str, batch: int, gap: float = 0.0) -> float:
        """A duration of a stage, ns."""
        if (stage := self.costs.stages.get(name)) is None:
            return 0.0
        beside = self.costs.beside(name, batch, len(self.clock.feeding))
        return beside * stage.level(batch, gap) * next(self._chance[name, stage.is_pause(gap)])

    def pause(self) -> int:
        """For how long the worker's core halted since its last inference, ns: a wait that spins is no pause."""
        return self.clock.halted() - self._halted

    def awake(self) -> None:
        """An inference is over: pauses count from here."""
        self._halted = self.clock.halted()

    def prepare(self, picture: Any, place: NDArray[Any]) -> None:
        """Stands for the preparation of a frame (a pipeline's Prepare)."""
        full = self.session.plan.batch.max
        self.clock.work(self.costs.task(self.draw("prepare", full), full))

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self._staging

    def times(self, slot: int) -> DeviceTimes | None:
        """See Worker: asked when the frames are delivered, which is when the record is written."""
        full = self.session.plan.batch.max
        self.clock.work(self.costs.task(self.draw("after", full), full))
        return None

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        return {}


class _CpuWorker(FittedWorker):
    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: an inference on the cores."""
        count = padded(count, self.session.batch_sizes)
        self.session.compute(count, self.draw("infer", count, self.pause()))
        self.awake()


class _DeviceWorker(FittedWorker):
    def __init__(self, session: FittedSession, index: int) -> None:
        super().__init__(session, index)
        assert session.device is not None
        self._index = index
        self._device, self.slots = session.device, session.plan.slots
        self._stream = session.device.shared if session.plan.stream == "shared" else Stream()
        self._jobs: dict[int, Job] = {}

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: the host's part of it; the device goes on by itself."""
        now, count = self.clock.now(), padded(count, self.session.batch_sizes)
        self.clock.feeding.add(self._index)
        gap, idle = self.pause(), now - (self.session.tenant.last_end or now)
        h2d, d2h = (round(self.draw(name, count)) for name in ("h2d", "d2h"))
        launched = now + round(self.draw("lag", count, gap))
        demand = _demand(self.draw("compute", count, idle), self.costs.filled(count))
        job = Job(self.session.tenant, self._stream, demand, launched, launched, h2d, d2h)
        self._device.submit(job, now)
        self._jobs[slot] = job
        self.clock.work(Task(self.draw("enqueue", count, gap)))
        self._after = round(self.draw("tail", count, gap))

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        job = self._jobs[slot]
        self.clock.pass_until(lambda: self._device.finish(job, self.clock.now()), self.session.plan.spinning)
        self.clock.work(Task(self._after))
        self.awake()
        return {}

    def times(self, slot: int) -> DeviceTimes | None:
        """See Worker."""
        super().times(slot)
        self.clock.feeding.discard(self._index)
        job = self._jobs[slot]
        return DeviceTimes(job.h2d, job.end - job.start, job.d2h, job.h2d_at, job.start, job.d2h_at)


def _sizes(plan: ModelPlan, resolved: Resolved) -> tuple[int, ...]:
    """See Session; those of a library that is not installed here are not known."""
    try:
        return run_sizes(get_backend(plan.backend), plan, resolved)
    except UsageError:
        return ()


def _demand(ns: float, filled: float) -> Demand:
    return Demand(compute=ns, memory=0.0, least=0.0, filled=filled, part=1.0, kernels=1, tensor=False)


def fitted_device(index: int) -> Device:
    """A device without any effect of its own: what it takes is in the costs of the models on it."""
    return Device(DeviceModel(), index)


@lru_cache(maxsize=64)
def _zeros(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    return np.zeros(shape, dtype)


def _empty(tensors: Sequence[TensorSpec]) -> Mapping[str, NDArray[Any]]:
    """Inputs that nobody reads, shared by all."""
    return {t.name: _zeros(tuple(int(d) for d in t.shape), t.dtype) for t in tensors}
