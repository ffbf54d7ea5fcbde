"""The simulated device: no computation, durations as a modelled GPU would take them (see exec/sim).

In virtual time an hour takes seconds and two runs are equal to the nanosecond; with the system's clock the durations
are waited for. Sessions on one clock with the same device parameters share the device, as models on one GPU do.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from msgspec.structs import fields, replace
from numpy.typing import NDArray

from framepace.backends.base import Backend, DeviceTimes, Session, Tensors, Worker
from framepace.backends.options import checked
from framepace.clock.system import Clock
from framepace.devices.cuda import ordinal
from framepace.errors import BackendError, DeviceMemoryError, UsageError
from framepace.facts.model import ModelSpec, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.models.spec import Resolved, inspect, resolve
from framepace.progress import Tell
from framepace.simulate.demand import Demand, copy_ns, demand, fallback_ns
from framepace.simulate.device import Device, Job, Stream, Tenant
from framepace.simulate.host import Host
from framepace.simulate.network import estimate
from framepace.simulate.parameters import DeviceModel, NetworkModel, described
from framepace.simulate.presets import PRESETS, preset
from framepace.simulate.telemetry import packed

_DRAWN = 4096  # random numbers drawn at once
_DEFAULT = "h200"
OPTIONS: Mapping[str, str] = {
    "device": f"the device that is simulated: {', '.join(PRESETS)} (the rest changes single parameters of it)",
    **described(DeviceModel),
    **described(NetworkModel),
}


class _Shared:
    """A device that all sessions of one clock use, and the lock that its real threads need."""

    def __init__(self, model: DeviceModel, index: int, clock: Clock) -> None:
        self.device, self.lock = Device(model, index, clock.now()), threading.Lock()


_Key = tuple[DeviceModel, int]
_devices: WeakKeyDictionary[Clock, dict[_Key, _Shared]] = WeakKeyDictionary()
_devices_lock = threading.Lock()


def _shared(clock: Clock, model: DeviceModel, index: int) -> _Shared:
    with _devices_lock:
        return _devices.setdefault(clock, {}).setdefault((model, index), _Shared(model, index, clock))


class SimulatedBackend(Backend):
    """A GPU that is not there, with every cause of slowness under control."""

    name = "simulated"
    options = OPTIONS
    simulated = True
    devices = ("cuda",)

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        given = dict(model.options)
        device = preset(str(given.pop("device", _DEFAULT)))
        names = {field.name for field in fields(DeviceModel)}
        ours = checked(self.name, DeviceModel, {k: v for k, v in given.items() if k in names})
        theirs = checked(self.name, NetworkModel, {k: v for k, v in given.items() if k not in names})
        return SimulatedSession(model, clock, replace(device, **ours), theirs)


class SimulatedSession(Session):
    """One network on the simulated device."""

    def __init__(self, plan: ModelPlan, clock: Clock, device: DeviceModel, given: Mapping[str, Any]) -> None:
        self._plan, self._clock = plan, clock
        found = inspect(plan.model)
        loaded = resolve(found, plan)
        self.resolved = _folded(loaded) if plan.prepare.place == "graph" else loaded
        outputs = tuple(_fixed(tensor, plan.batch.max) for tensor in found.outputs)
        self.spec = replace(found, inputs=loaded.inputs, outputs=outputs)
        self.network: NetworkModel = replace(estimate(plan.model, loaded.shapes), **given)
        self.model = device
        self._demands: dict[int, Demand] = {}
        self._turns: dict[int, int] = {}
        self.demand(1)
        if plan.sms is not None and plan.sms > device.sm_count:
            raise UsageError("the device has fewer SMs", got=plan.sms, expected=f"at most {device.sm_count}")
        self.shared = _shared(clock, device, ordinal(plan.device))
        self.tenant = Tenant(_memory(self.network, plan))
        self._take_memory()
        self._fall_back(found)

    def demand(self, batch: int) -> Demand:
        """The demand of a batch, computed once."""
        if batch not in self._demands:
            self._demands[batch] = demand(self.model, self.network, self._plan.precision, batch, self._plan.sms)
        return self._demands[batch]

    def telemetry(self) -> bytes:
        """Packed rows (facts.trace.TELEMETRY_COLUMNS) of the device up to now, since this was last asked."""
        with self.shared.lock:
            self.shared.device.advance(self._clock.now())
            samples = list(self.shared.device.samples)
            self.shared.device.samples.clear()
        return packed(samples)

    def turn(self, index: int) -> int:
        """How many workers of that index there were before: each run has chances of its own."""
        self._turns[index] = self._turns.get(index, -1) + 1
        return self._turns[index]

    def _take_memory(self) -> None:
        device, room = self.shared.device, round(self.model.memory_gb * 1e9)
        if device.memory + self.tenant.memory > room:
            free = room - device.memory
            got = f"{self.tenant.memory / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
            raise DeviceMemoryError("the simulated device's memory is full", got=got, fix="use a smaller batch")
        device.memory += self.tenant.memory

    def _fall_back(self, found: ModelSpec) -> None:
        nodes = found.nodes or self.network.kernels
        on_cpu = round(nodes * self.network.fallback_share)
        self.placement = {"cuda": nodes - on_cpu, "cpu": on_cpu} if on_cpu else {"cuda": nodes}
        if on_cpu:
            self.notes = (f"{self._plan.name}: {on_cpu} of {nodes} nodes run on the CPU (simulated)",)

    def _worker(self, index: int) -> Worker:
        return SimulatedWorker(self, self._plan, self._clock, index)

    def _close(self) -> None:
        self.shared.device.memory -= self.tenant.memory


class SimulatedWorker(Worker):
    """A host thread and its stream on the simulated device. Outputs are zeros."""

    def __init__(self, session: SimulatedSession, plan: ModelPlan, clock: Clock, index: int) -> None:
        self._session, self._plan, self._clock = session, plan, clock
        self._device, self._lock = session.shared.device, session.shared.lock
        self.slots, model = plan.slots, session.model
        inputs, outputs = session.resolved.inputs, session.spec.outputs
        self._staging = [_arrays(inputs) for _ in range(self.slots)]
        self._outputs = [_arrays(outputs) for _ in range(self.slots)]
        self._jobs: list[Job | None] = [None] * self.slots
        self._filled = [False] * self.slots
        self._sizes = [(_bytes(inputs, plan, count), _bytes(outputs, plan, count)) for count in (0, 1)]
        self._copies = len(inputs), len(outputs)
        shared = model.serialise or plan.stream == "shared"
        self._stream = self._device.shared if shared else Stream()
        self._group = None if plan.sms is None else (plan.sms, index % (model.sm_count // plan.sms))
        self._host = Host(model, clock)
        self._chance = _chance(model, index, session.turn(index))
        graph = plan.graph
        self._launch = round((model.graph_us if graph else model.launch_us) * 1000)
        self._launches = 1 if graph else session.network.kernels
        self._runs = 0

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self._staging[slot]

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: takes the host's time to wake and to launch; with pageable memory, until all is over."""
        clock, session, run = self._clock, self._session, self._runs
        self._runs += 1
        if run == session.network.fail_at:
            raise BackendError("the simulated device fails here", got=f"request {run}", fix="remove option fail_at")
        factor, stall = next(self._chance)
        depth = self._host.passed(working=False)
        late = round(depth * session.model.wake_us * 1000) + stall + fallback_ns(session.model, session.network, count)
        if late:
            clock.spin_until(clock.now() + late)
        now = clock.now()
        fed = now + self._launches * self._launch
        job = self._job(slot, count, now, fed)
        job.factor, job.depth = factor, depth
        with self._lock:
            self._device.submit(job, now)
        self._jobs[slot] = job
        clock.spin_until(fed)
        if self._plan.transfer == "pageable":
            self._finish(job)

    def wait(self, slot: int) -> Tensors:
        """See Worker."""
        job = self._jobs[slot]
        if job is not None:
            self._finish(job)
            self._host.passed(working=True)
        return self._outputs[slot]

    def prime(self) -> None:
        """See Worker: resident inputs have been copied before the run; no time passes."""
        self._filled = [True] * self.slots

    def times(self, slot: int) -> DeviceTimes | None:
        """See Worker."""
        job = self._jobs[slot]
        if job is None:
            return None
        return DeviceTimes(job.h2d, job.end - job.start, job.d2h, job.h2d_at, job.start, job.d2h_at)

    def sm_clock(self) -> int:
        """See Worker."""
        with self._lock:
            self._device.advance(self._clock.now())
            return self._device.governor.mhz

    def _job(self, slot: int, count: int, now: int, fed: int) -> Job:
        session = self._session
        job = Job(session.tenant, self._stream, session.demand(count), now + self._launch, fed, group=self._group)
        if self._plan.transfer != "device" or not self._filled[slot]:
            pinned = self._plan.transfer != "pageable"
            # Bytes of a batch: what every inference has, and what each item adds.
            (up, down), (more_up, more_down) = self._sizes
            job.up_bytes, job.down_bytes = up + count * (more_up - up), down + count * (more_down - down)
            job.h2d = copy_ns(session.model, job.up_bytes, pinned, self._copies[0])
            job.d2h = copy_ns(session.model, job.down_bytes, pinned, self._copies[1])
        self._filled[slot] = True
        return job

    def _finish(self, job: Job) -> None:
        clock, device, lock, spins = self._clock, self._device, self._lock, self._plan.spinning
        waited = job.finished < 0 or job.finished > clock.now()

        def when() -> int:
            with lock:
                return device.finish(job, clock.now())

        clock.pass_until(when, spins)
        if waited and not spins:
            clock.spin_until(clock.now() + round(self._session.model.block_us * 1000))


def _chance(model: DeviceModel, *stream: int) -> Iterator[tuple[float, int]]:
    """For each request the factor on its kernels and the stall of its host (ns), from seed and stream."""
    rng, stall = np.random.default_rng([model.seed, *stream]), round(model.stall_ms * 1e6)
    while True:
        factors = rng.lognormal(0.0, model.jitter, _DRAWN) if model.jitter else np.ones(_DRAWN)
        stalls = np.where(rng.random(_DRAWN) < model.stall_share, stall, 0)
        yield from zip(factors.tolist(), stalls.tolist(), strict=True)


def _folded(resolved: Resolved) -> Resolved:
    """The inputs with preparation folded into the graph: the image comes as bytes."""
    image = resolved.image
    if image is None:
        return resolved
    inputs = tuple(replace(t, dtype="uint8") if t.name == image.name else t for t in resolved.inputs)
    return Resolved(inputs, dataclasses.replace(image, dtype="uint8"), resolved.batched)


def _fixed(tensor: TensorSpec, batch: int) -> TensorSpec:
    """Unknown output dimensions are 1: nobody reads what nobody computed."""
    shape = tuple(d if isinstance(d, int) else batch if i == 0 else 1 for i, d in enumerate(tensor.shape))
    return replace(tensor, shape=shape)


def _arrays(tensors: tuple[TensorSpec, ...]) -> dict[str, NDArray[Any]]:
    return {t.name: np.zeros([int(d) for d in t.shape], t.dtype) for t in tensors}


def _bytes(tensors: tuple[TensorSpec, ...], plan: ModelPlan, count: int) -> int:
    """Bytes of tensors for `count` items: those whose first dimension is the batch follow it."""
    total = 0
    for tensor in tensors:
        shape = [int(d) for d in tensor.shape]
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
        total += size * count // plan.batch.max if shape[:1] == [plan.batch.max] else size
    return total


def _memory(network: NetworkModel, plan: ModelPlan) -> int:
    """Device memory of a model, bytes: its weights, and half of the activations that a batch moves."""
    scale = {"fp32": 1.0, "fp16": 0.5, "bf16": 0.5, "int8": 0.25}[plan.precision]
    return round((network.weights_mb + plan.batch.max * network.mbytes / 2) * 1e6 * scale)
