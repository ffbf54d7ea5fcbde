"""The simulated device: no computation, durations as a modelled GPU would take them (see framepace.simulate).

In virtual time an hour takes seconds and two runs are equal to the nanosecond; with the system's clock the durations
are waited for. Sessions on one clock with the same device parameters share the device, as models on one GPU do.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from msgspec.structs import fields, replace
from numpy.typing import NDArray

from framepace.backends.base import Backend, DeviceTimes, Session, Tensors, Worker
from framepace.backends.fixedoutputs import fixed_outputs
from framepace.backends.options import checked
from framepace.clock.system import Clock
from framepace.devices.cuda import ordinal
from framepace.errors import BackendError, DeviceMemoryError, UsageError
from framepace.facts.model import Layer, TensorSpec
from framepace.facts.plan import ModelPlan
from framepace.facts.smshare import sm_count
from framepace.models.operations import network
from framepace.models.spec import NULL, Resolved, inspect, resolve
from framepace.progress import Tell
from framepace.simulate.demand import Demand, copy_ns, demand, fallback_ns
from framepace.simulate.device import Device, Job, Stream, Tenant
from framepace.simulate.host import Host
from framepace.simulate.layers import layers
from framepace.simulate.network import estimate
from framepace.simulate.parameters import DeviceModel, NetworkModel, described
from framepace.simulate.presets import PRESETS, preset
from framepace.simulate.telemetry import packed
from framepace.units import NS_PER_MS, NS_PER_US

_DRAWN = 4096  # random numbers drawn at once
_SHAPE_NODES = 0.1  # of the nodes, where any compute shapes
_DEFAULT = "h200"
OPTIONS: Mapping[str, str] = {
    "device": f"device to simulate: {', '.join(PRESETS)} (the other options change single parameters of it)",
    **described(DeviceModel),
    **described(NetworkModel),
}


class _Shared:
    """A device that all sessions of one clock use, and the lock that its real threads need."""

    def __init__(self, model: DeviceModel, index: int, clock: Clock) -> None:
        self.device = Device(model, index, clock.now())
        self.lock = threading.Lock()


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
    side_by_side = True
    devices = ("cuda",)

    def device_setting(self, device: str) -> str:
        """A simulated device is named like a real one: `--device t4` is an option, `--device cuda:1` a place."""
        if device.partition(":")[0] in self.devices:
            return "device"
        return "option.device"

    def _load(self, model: ModelPlan, clock: Clock, tell: Tell) -> Session:
        options = dict(model.options)
        device = preset(str(options.pop("device", _DEFAULT)))
        names = {field.name for field in fields(DeviceModel)}
        of_device = checked(self.name, DeviceModel, {k: v for k, v in options.items() if k in names})
        of_network = checked(self.name, NetworkModel, {k: v for k, v in options.items() if k not in names})
        return SimulatedSession(model, clock, replace(device, **of_device), of_network)


class SimulatedSession(Session):
    """One network on the simulated device; `network_options` are given parameters of it, the others are estimated."""

    def __init__(self, plan: ModelPlan, clock: Clock, device: DeviceModel, network_options: Mapping[str, Any]) -> None:
        self._plan = plan
        self._clock = clock
        self.model = device
        file_spec = inspect(plan.model)
        resolved = resolve(file_spec, plan)
        self.resolved = _as_staged(resolved, plan)
        self.spec = replace(file_spec, inputs=resolved.inputs, outputs=fixed_outputs(file_spec.outputs, plan.batch.max))
        self.network: NetworkModel = replace(estimate(plan.model, resolved.shapes), **network_options)
        self._demands: dict[int, Demand] = {}
        self._turns: dict[int, int] = {}
        self.sms = sm_count(plan.sms, device.sm_count)
        self.demand(1)
        if self.sms is not None and self.sms > device.sm_count:
            raise UsageError("the device has fewer SMs", got=self.sms, expected=f"at most {device.sm_count}")
        self.shared = _shared(clock, device, ordinal(plan.device))
        self.tenant = Tenant(_memory(self.network, plan))
        if self.network.own_process:
            self.tenant.process = object()
            self.tenant.memory += round(device.context_mb * 1e6)
        if device.page_share:
            clock.read_page(0)  # of the file; from here on pages are counted
        self._take_memory()
        self._place_nodes(file_spec.nodes or self.network.kernels)

    def demand(self, batch: int) -> Demand:
        """The demand of a batch, computed once."""
        if batch not in self._demands:
            self._demands[batch] = demand(self.model, self.network, self._plan.precision, batch, self.sms)
        return self._demands[batch]

    def layers(self) -> tuple[Layer, ...]:
        """See Session: the kernels of the file, each with its part of the largest batch."""
        plan = self._plan
        if plan.model == NULL:
            return ()
        batch = plan.batch.max
        shapes = {name: self.resolved.shape_of(name, batch) for name in self.resolved.shapes}
        of_file = network(plan.model, shapes)
        return layers(self.model, self.network, of_file, plan.precision, self.demand(batch))

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
        device = self.shared.device
        size = round(self.model.memory_gb * 1e9)
        if device.memory + self.tenant.memory > size:
            free = size - device.memory
            got = f"{self.tenant.memory / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
            raise DeviceMemoryError("the simulated device's memory is full", got=got, fix="use a smaller batch")
        device.memory += self.tenant.memory

    def _place_nodes(self, nodes: int) -> None:
        on_cpu = round(nodes * self.network.fallback_share)
        if self.network.shapes_us and self._plan.graph_shapes == "exported":
            on_cpu += max(1, round(nodes * _SHAPE_NODES))
        self.placement = {"cuda": nodes - on_cpu}
        if on_cpu:
            self.placement["cpu"] = on_cpu
            self.notes = (f"{self._plan.name}: {on_cpu} of {nodes} nodes run on the CPU (simulated)",)

    def _worker(self, index: int) -> Worker:
        return SimulatedWorker(self, self._plan, self._clock, index)

    def _close(self) -> None:
        self.shared.device.memory -= self.tenant.memory


class SimulatedWorker(Worker):
    """A host thread and its stream on the simulated device. Outputs are zeros."""

    def __init__(self, session: SimulatedSession, plan: ModelPlan, clock: Clock, index: int) -> None:
        self._session = session
        self._plan = plan
        self._clock = clock
        self._device = session.shared.device
        self._lock = session.shared.lock
        self.slots = plan.slots
        self._staging = [_arrays(session.resolved.inputs) for _ in range(self.slots)]
        self._outputs = [_arrays(session.spec.outputs) for _ in range(self.slots)]
        self._jobs: list[Job | None] = [None] * self.slots
        self._filled = [False] * self.slots
        self._upload = _Transfer.of(session.resolved.inputs, plan)
        self._download = _Transfer.of(session.spec.outputs, plan)
        self._streams = _streams(self._device, session.model, plan)
        self._group = _share_of_sms(session, index)
        self._host = Host(session.model, clock)
        turn = session.turn(index)
        self._chance = _chance(session.model, index, turn)
        self._pages = _pages(session.model, index, turn)
        self._launch_ns, self._launches = _launching(session.model, session.network, plan)
        self._runs = 0
        self._fixed = plan.graph_shapes == "fixed"
        self._sizes = {plan.batch.max} if self._fixed else set[int]()

    def staging(self, slot: int) -> Tensors:
        """See Worker."""
        return self._staging[slot]

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker: takes the host's time to wake and to launch; with pageable memory, until all is over."""
        self._count_run()
        if self._fixed:
            count = self._plan.batch.max
        factor, stall_ns = next(self._chance)
        depth = self._host.passed(working=False)
        self._pass_host_time(depth, stall_ns, count)
        now = self._clock.now()
        fed = now + self._launches * self._launch_ns
        job = self._job(slot, count, now, fed)
        job.factor = factor
        job.depth = depth
        with self._lock:
            self._device.submit(job, now)
        self._jobs[slot] = job
        self._clock.spin_until(fed)
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
        job = Job(
            session.tenant, self._streams[slot], session.demand(count), now + self._launch_ns, fed, group=self._group
        )
        if self._plan.transfer != "device" or not self._filled[slot]:
            self._add_copies(job, count)
        self._filled[slot] = True
        return job

    def _add_copies(self, job: Job, count: int) -> None:
        """The copies for `count` frames, and their duration."""
        device = self._session.model
        pinned = self._plan.transfer != "pageable"
        job.up_bytes = self._upload.bytes(count)
        job.down_bytes = self._download.bytes(count)
        job.h2d = copy_ns(device, job.up_bytes, pinned, self._upload.copies)
        job.d2h = copy_ns(device, job.down_bytes, pinned, self._download.copies)

    def _count_run(self) -> None:
        """Raises BackendError in the run that is to fail."""
        run = self._runs
        self._runs += 1
        if run == self._session.network.fail_at:
            raise BackendError("the simulated device fails here", got=f"request {run}", fix="remove option fail_at")

    def _pass_host_time(self, depth: float, stall_ns: int, count: int) -> None:
        """The host's time before it launches: to wake from `depth`, to stall, to compute what runs on the CPU."""
        model = self._session.model
        late = round(depth * model.wake_us * NS_PER_US) + stall_ns + fallback_ns(model, self._session.network, count)
        late += self._shapes_ns(count)
        if next(self._pages):
            self._clock.read_page(round(model.page_ms * NS_PER_MS))
        if late:
            self._clock.spin_until(self._clock.now() + late)

    def _shapes_ns(self, count: int) -> int:
        """The host's time for sizes that the file leaves open: to compute shapes, and to set up a new batch size."""
        network = self._session.network
        ns = 0.0
        if not self._fixed:
            ns += network.shapes_us * NS_PER_US
        if count not in self._sizes:
            self._sizes.add(count)
            ns += network.new_size_ms * NS_PER_MS
        return round(ns)

    def _finish(self, job: Job) -> None:
        clock = self._clock
        device = self._device
        lock = self._lock
        spins = self._plan.spinning
        waited = job.finished < 0 or job.finished > clock.now()

        def when() -> int:
            with lock:
                return device.finish(job, clock.now())

        clock.pass_until(when, spins)
        if waited and not spins:
            clock.spin_until(clock.now() + round(self._session.model.block_us * NS_PER_US))


@dataclasses.dataclass(frozen=True)
class _Transfer:
    """The copies of one direction: how many, and the bytes that every inference has and that each item adds."""

    copies: int
    fixed_bytes: int
    bytes_per_item: int

    @staticmethod
    def of(tensors: tuple[TensorSpec, ...], plan: ModelPlan) -> _Transfer:
        fixed = _bytes(tensors, plan, 0)
        return _Transfer(len(tensors), fixed, _bytes(tensors, plan, 1) - fixed)

    def bytes(self, count: int) -> int:
        return self.fixed_bytes + count * self.bytes_per_item


def _streams(device: Device, model: DeviceModel, plan: ModelPlan) -> Sequence[Stream]:
    """The stream of each slot."""
    if plan.stream == "slot" and not model.serialise:
        return [Stream() for _ in range(plan.slots)]
    is_shared = model.serialise or plan.stream == "shared"
    return [device.shared if is_shared else Stream()] * plan.slots


def _share_of_sms(session: SimulatedSession, index: int) -> tuple[int, int] | None:
    """The SMs of worker number `index`: how many, and which share of the device they are; None: all."""
    if session.sms is None:
        return None
    return session.sms, index % (session.model.sm_count // session.sms)


def _launching(model: DeviceModel, network: NetworkModel, plan: ModelPlan) -> tuple[int, int]:
    """ns per launch, and launches per inference."""
    if plan.graph:
        return round(model.graph_us * NS_PER_US), 1
    return round(model.launch_us * NS_PER_US), network.kernels


def _chance(model: DeviceModel, *stream: int) -> Iterator[tuple[float, int]]:
    """For each request the factor on its kernels and the stall of its host (ns), from seed and stream."""
    rng = np.random.default_rng([model.seed, *stream])
    stall = round(model.stall_ms * NS_PER_MS)
    while True:
        factors = np.ones(_DRAWN)
        if model.jitter:
            factors = rng.lognormal(0.0, model.jitter, _DRAWN)
        stalls = np.where(rng.random(_DRAWN) < model.stall_share, stall, 0)
        yield from zip(factors.tolist(), stalls.tolist(), strict=True)


def _pages(model: DeviceModel, *stream: int) -> Iterator[bool]:
    """For each request whether a page of the host is missing, from seed and stream."""
    rng = np.random.default_rng([model.seed, 1, *stream])
    while True:
        yield from (rng.random(_DRAWN) < model.page_share).tolist()


def _as_staged(resolved: Resolved, plan: ModelPlan) -> Resolved:
    """The inputs as the staging has them: with preparation folded into the graph, the image comes as bytes."""
    if plan.prepare.place == "host" or resolved.image is None:
        return resolved
    return resolved.with_image_bytes()


def _arrays(tensors: tuple[TensorSpec, ...]) -> dict[str, NDArray[Any]]:
    return {t.name: np.zeros([int(d) for d in t.shape], t.dtype) for t in tensors}


def _bytes(tensors: tuple[TensorSpec, ...], plan: ModelPlan, count: int) -> int:
    """Bytes of tensors for `count` items: those whose first dimension is the batch follow it."""
    total = 0
    for tensor in tensors:
        shape = [int(d) for d in tensor.shape]
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(tensor.dtype).itemsize
        if shape[:1] == [plan.batch.max]:
            size = size * count // plan.batch.max
        total += size
    return total


def _memory(network: NetworkModel, plan: ModelPlan) -> int:
    """Device memory of a model, bytes: its weights, and half of the activations that a batch moves."""
    scale = {"fp32": 1.0, "fp16": 0.5, "bf16": 0.5, "int8": 0.25}[plan.precision]
    return round((network.weights_mb + plan.batch.max * network.mbytes / 2) * 1e6 * scale)
