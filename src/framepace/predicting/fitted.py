"""A model that runs in virtual time with its measured durations: levels by batch and pause, with their scatter.

On a CPU an inference runs on the cores of the machine (predicting.machine), on a GPU on a simulated device
(simulate.device) of which one thing is fitted: how much of it an inference fills.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.backends.base import (
    DeviceTimes,
    Prepare,
    Session,
    Tensors,
    Worker,
    get_backend,
    padded,
    run_sizes,
)
from framepace.errors import UsageError
from framepace.facts.model import TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.filling import check_takes_frames
from framepace.models.spec import Resolved, inspect, resolve
from framepace.predicting.machine import MachineClock, Task
from framepace.predicting.modelcosts import ModelDurations
from framepace.simulate.demand import Demand
from framepace.simulate.device import Device, Job, Stream, Tenant
from framepace.simulate.parameters import DeviceModel
from framepace.video.frame import Frame


class FittedSession(Session):
    """One model with its measured durations.

    Args:
        device: runs its kernels; None where it runs on the cores.
        seed: of the scatter of its durations.
    """

    simulated = True

    def __init__(
        self, plan: ModelPlan, durations: ModelDurations, clock: MachineClock, device: Device | None, seed: int
    ) -> None:
        spec = inspect(plan.model)
        self.resolved = resolve(spec, plan)
        self.spec = replace(spec, inputs=self.resolved.inputs)
        self.batch_sizes = _sizes(plan, self.resolved)
        self.plan = plan
        self.durations = durations
        self.clock = clock
        self.device = device
        self.seed = seed
        self.tenant = Tenant()
        self._inferences = 0  # running now
        idle_threads = durations.demand - 1
        self._spinner = Task(math.inf, idle_threads, float(idle_threads), slows_others=False)

    def compute(self, count: int, ns: float) -> None:
        """Run an inference on the cores; between inferences the threads of its pool spin for a while."""
        durations = self.durations
        cores = self.clock.cores
        cores.end_idle(self._spinner, self.clock.now())
        self._inferences += 1
        self.clock.work(durations.task(ns, count, durations.demand, durations.cpu(count)))
        self._inferences -= 1
        if durations.spin and not self._inferences:
            now = self.clock.now()
            cores.idle(self._spinner, now, now + round(durations.spin))

    def preparer(self, model: ModelPlan, index: int = 0) -> Prepare:
        """See Session: preparation takes its time and does nothing."""
        check_takes_frames(model, self.resolved)
        draw = Draws(self, index)
        full = model.batch.max

        def prepare(frame: Frame, inputs: Tensors, place: int) -> None:
            self.clock.work(self.durations.task(draw("prepare", full), full))

        return prepare

    def _worker(self, index: int) -> Worker:
        if self.device is None:
            return _CpuWorker(self, index)
        return _DeviceWorker(self, index, self.device)


class Draws:
    """Draws durations of stages for one worker of a model."""

    def __init__(self, session: FittedSession, index: int) -> None:
        self._durations = session.durations
        self._feeding = session.clock.feeding
        self._scatter = {
            (name, paused): stage.scatter(session.plan.batch.max, session.seed, index, number, paused=paused)
            for number, (name, stage) in enumerate(session.durations.stages.items())
            for paused in (False, True)
        }

    def __call__(self, name: str, batch: int, gap: float = 0.0) -> float:
        """The next duration (ns) of a stage that comes `gap` ns after the last one; 0 where it was not measured."""
        stage = self._durations.stages.get(name)
        if stage is None:
            return 0.0
        contention = self._durations.contention(name, batch, len(self._feeding))
        return contention * stage.level(batch, gap) * next(self._scatter[name, stage.is_pause(gap)])


class FittedWorker(Worker):
    """The stages of the host, which models on cores and on devices share."""

    def __init__(self, session: FittedSession, index: int) -> None:
        self.session = session
        self.clock = session.clock
        self.durations = session.durations
        self.draw = Draws(session, index)
        self._staging = _empty(session.resolved.inputs)
        self._halted = self.clock.halted()

    def pause(self) -> int:
        """For how long (ns) the worker's core has halted since its last inference: a wait that spins is no pause."""
        return self.clock.halted() - self._halted

    def end_inference(self) -> None:
        """Pauses count from here."""
        self._halted = self.clock.halted()

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self._staging

    def times(self, slot: int) -> DeviceTimes | None:
        """See Worker: called when the frames are delivered, which is when the record is written."""
        full = self.session.plan.batch.max
        self.clock.work(self.durations.task(self.draw("after", full), full))
        return None

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        return {}


class _CpuWorker(FittedWorker):
    """Runs inferences on the cores."""

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: an inference on the cores."""
        size = padded(count, self.session.batch_sizes)
        self.session.compute(size, self.draw("infer", size, self.pause()))
        self.end_inference()


class _DeviceWorker(FittedWorker):
    """Submits inferences to the device."""

    def __init__(self, session: FittedSession, index: int, device: Device) -> None:
        super().__init__(session, index)
        self.slots = session.plan.slots
        self._index = index
        self._device = device
        self._streams = [Stream()] * self.slots
        if session.plan.stream == "shared":
            self._streams = [device.shared] * self.slots
        if session.plan.stream == "slot":
            self._streams = [Stream() for _ in range(self.slots)]
        self._jobs: dict[int, Job] = {}

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: the part of the host; the device continues by itself."""
        size = padded(count, self.session.batch_sizes)
        self.clock.feeding.add(self._index)
        gap = self.pause()
        self._jobs[slot] = self._job(slot, size, self.clock.now(), gap)
        self._device.submit(self._jobs[slot], self.clock.now())
        self.clock.work(Task(self.draw("enqueue", size, gap)))
        self._tail = round(self.draw("tail", size, gap))

    def _job(self, slot: int, size: int, now: int, gap: int) -> Job:
        """An inference of `size` frames that begins `gap` ns after the worker's last one."""
        tenant = self.session.tenant
        device_gap = now - (tenant.last_end or now)
        h2d = round(self.draw("h2d", size))
        d2h = round(self.draw("d2h", size))
        launched = now + round(self.draw("lag", size, gap))
        demand = _demand(self.draw("compute", size, device_gap), self.durations.filled(size))
        return Job(tenant, self._streams[slot], demand, launched, launched, h2d, d2h)

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        job = self._jobs[slot]
        self.clock.pass_until(lambda: self._device.finish(job, self.clock.now()), self.session.plan.spinning)
        self.clock.work(Task(self._tail))
        self.end_inference()
        return {}

    def times(self, slot: int) -> DeviceTimes | None:
        """See Worker."""
        super().times(slot)
        self.clock.feeding.discard(self._index)
        job = self._jobs[slot]
        return DeviceTimes(job.h2d, job.end - job.start, job.d2h, job.h2d_at, job.start, job.d2h_at)


def _sizes(plan: ModelPlan, resolved: Resolved) -> tuple[int, ...]:
    """See Session; empty for a library that is not installed here."""
    try:
        return run_sizes(get_backend(plan.backend), plan, resolved)
    except UsageError:
        return ()


def _demand(ns: float, filled: float) -> Demand:
    return Demand(compute=ns, memory=0.0, least=0.0, filled=filled, part=1.0, kernels=1, tensor=False)


def fitted_device(index: int) -> Device:
    """A device without effects of its own: they are in the measured durations of the models on it."""
    return Device(DeviceModel(), index)


@lru_cache(maxsize=64)
def _zeros(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    return np.zeros(shape, dtype)


def _empty(tensors: Sequence[TensorSpec]) -> Mapping[str, NDArray[Any]]:
    """Inputs that nobody reads, shared by all."""
    return {t.name: _zeros(tuple(int(d) for d in t.shape), t.dtype) for t in tensors}
