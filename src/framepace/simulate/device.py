"""The device: streams, SMs, memory and copy engines shared by the inferences in flight, exact to the nanosecond.

Time goes from event to event: kernels begin, kernels end, the governor ticks. Between two events every running
inference progresses at a constant rate, that of the resource it waits for most:

    time = max(compute * boost / clock * max(1, wanted SMs), memory * max(1, wanted bandwidth), kernels) + refills

so that inferences which leave SMs free overlap fully, and those that fill the device share it.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from framepace.simulate.demand import Demand
from framepace.simulate.governor import Governor
from framepace.simulate.parameters import DeviceModel
from framepace.simulate.telemetry import Activity, Sample, sample

_SAMPLES_KEPT = 1 << 16
NEVER = 1 << 62

Group = tuple[int, int]  # a partition: how many SMs, and which of those of that size


@dataclass(eq=False)
class Tenant:
    """A model on the device: when its last kernels ended (ns), from which its caches grow cold, and its memory.

    Kernels of different processes do not run at the same time; `process` is None in the process that most models share.
    """

    memory: int = 0
    process: object = None
    last_end: int | None = None


@dataclass(eq=False)
class Stream:
    """Inferences in order, the first of them perhaps running; `free` is when the last one's kernels ended (ns)."""

    jobs: deque[Job] = field(default_factory=deque)
    free: int = 0


@dataclass(eq=False, slots=True)
class Job:
    """One inference on the device; times in ns, -1 while unknown.

    Set by the caller: `launched`, when the host has launched the first kernel, and `fed`, when the last; `h2d` and
    `d2h`, how long the copies take; `factor`, the chance on the kernels' time; `depth`, the host's sleep; `group`, the
    partition of the SMs it is bound to. The device sets the rest; `finished` is when all of it is over.
    """

    tenant: Tenant
    stream: Stream
    demand: Demand
    launched: int
    fed: int
    h2d: int = 0
    d2h: int = 0
    up_bytes: int = 0
    down_bytes: int = 0
    factor: float = 1.0
    depth: float = 0.0
    group: Group | None = None
    h2d_at: int = -1
    ready: int = -1
    start: int = -1
    end: int = -1
    d2h_at: int = -1
    finished: int = -1
    # While it runs: how much of it is done since when, how long all of it takes at the present rate, and its demands.
    done: float = 0.0
    since: int = 0
    span: float = -1.0
    extra: float = 0.0
    least: float = 0.0
    sm: float = 0.0
    dram: float = 0.0
    until: int = NEVER


class Device:
    """The state of one device at a moment of virtual time. Not thread-safe; `now` must never go back.

    Args:
        index: its number in telemetry.
        start: the time at which it begins (ns), at its boost clock and with nothing to do.
    """

    def __init__(self, model: DeviceModel, index: int = 0, start: int = 0) -> None:
        self.model = model
        self.index = index
        self.governor = Governor(model)
        self.samples = deque[Sample](maxlen=_SAMPLES_KEPT)
        self.shared = Stream()
        self.memory = 0
        self._running = list[Job]()
        self._streams = list[Stream]()
        self._up_free = self._down_free = start
        self._last: Tenant | None = None
        self._slow = 1.0  # boost clock over the present one
        self._tick_ns = round(model.tick_ms * 1e6)
        self.next = self._tick_at = start + self._tick_ns
        self._at = start
        self._activity = Activity()

    def submit(self, job: Job, now: int) -> None:
        """Enqueue an inference whose host reached the device at `now`."""
        self.advance(now)
        job.ready = max(job.launched, now)
        if job.h2d:
            job.h2d_at = max(now, self._up_free)
            self._up_free = job.h2d_at + job.h2d
            self._activity.up += job.up_bytes
            job.ready = max(job.launched, self._up_free)
        if not job.stream.jobs:
            self._streams.append(job.stream)
        job.stream.jobs.append(job)
        self._plan()

    def advance(self, now: int) -> None:
        """Let everything happen that happens up to `now`."""
        while self.next <= now:
            self._step(self.next)

    def finish(self, job: Job, now: int) -> int:
        """When `job` is over, or the next moment at which to ask again (ns)."""
        self.advance(now)
        if job.finished < 0:
            return self.next
        return job.finished

    def _step(self, now: int) -> None:
        if not self._streams:  # nothing can end or begin: the common case in a gap
            self._at = now
            self._tick(now)
            self.next = self._tick_at
            return
        self._account(now)
        changed = self._end(now) | self._begin(now)
        if now >= self._tick_at:
            changed |= self._tick(now)
        if changed:
            self._share(now)
        self._plan()

    def _plan(self) -> None:
        """The next event."""
        soon = self._tick_at
        for job in self._running:
            if job.until < soon:
                soon = job.until
        for stream in self._streams:
            head = stream.jobs[0]
            if head.start < 0 and self._admits(head.tenant):
                soon = min(soon, max(head.ready, stream.free))
        self.next = max(soon, self._at)

    def _end(self, now: int) -> bool:
        over = [job for job in self._running if job.until <= now]
        for job in over:
            self._running.remove(job)
            job.end = job.stream.free = job.tenant.last_end = now
            self._copy_down(job, now)
            self._last = job.tenant
            job.stream.jobs.popleft()
            if not job.stream.jobs:
                self._streams.remove(job.stream)
        return bool(over)

    def _copy_down(self, job: Job, now: int) -> None:
        """The outputs of an inference whose kernels ended go to the host, if any do; then it is finished."""
        job.finished = now
        if job.d2h:
            job.d2h_at = max(now, self._down_free)
            job.finished = self._down_free = job.d2h_at + job.d2h
            self._activity.down += job.down_bytes

    def _begin(self, now: int) -> bool:
        begun = False
        for stream in self._streams:
            job = stream.jobs[0]
            if job.start < 0 and max(job.ready, stream.free) <= now and self._admits(job.tenant):
                job.start = job.since = now
                self._ask(job, now)
                self._running.append(job)
                begun = True
        return begun

    def _admits(self, tenant: Tenant) -> bool:
        """Whether kernels of a model may begin beside those that run: not beside another process's."""
        return not self._running or self._running[0].tenant.process is tenant.process

    def _ask(self, job: Job, now: int) -> None:
        """The demands of an inference as it begins: its least time, its refills, SMs and memory."""
        model = self.model
        demand = job.demand
        alone = max(demand.compute * self._slow, demand.memory, demand.least)
        starved = 0.0
        if demand.kernels > 1:  # the last kernel cannot begin before it is launched
            starved = job.fed + alone / demand.kernels - now
        job.least = max(demand.least, starved)
        slept = job.depth * model.asleep_factor * min(max(alone, starved), model.asleep_us * 1000)
        job.extra = slept + self._cold(job.tenant, now)

    def _cold(self, tenant: Tenant, now: int) -> float:
        """Time to refill what was lost since the model's last run, ns."""
        model = self.model
        if any(job.tenant is tenant for job in self._running):
            return 0.0
        refill = 0.0
        if model.cold_us:
            pause = math.inf
            if tenant.last_end is not None:
                pause = now - tenant.last_end
            refill = model.cold_us * 1000 * (1 - math.exp(-pause / (model.cold_ms * 1e6)))
        if self._last is not None and self._last is not tenant:
            refill += model.evict_us * 1000
            if self._last.process is not tenant.process:
                refill += model.context_us * 1000
        return refill

    def _share(self, now: int) -> None:
        """Rates from now on, after an inference began or ended or the clock changed."""
        if not self._running:
            self._activity.rates((), 0.0, 0.0)
            return
        for job in self._running:
            self._want(job)
        whole, groups = self._wanted()
        dram = sum(job.dram for job in self._running)
        for job in self._running:
            sm = whole
            if job.group is not None:
                sm = max(whole, groups[job.group])
            self._progress(job, self._span(job, sm, dram), now)
        self._activity.rates(self._running, whole, dram)

    def _span(self, job: Job, sm: float, dram: float) -> float:
        """How long all of an inference takes where these shares of SMs and memory bandwidth are wanted, ns."""
        demand = job.demand
        compute = demand.compute * self._slow * max(1.0, sm)
        slowest = max(compute, demand.memory * max(1.0, dram), job.least)
        return slowest * job.factor + job.extra

    def _want(self, job: Job) -> None:
        """The shares of SMs and memory bandwidth that an inference would use if it were alone."""
        demand = job.demand
        alone = max(demand.compute * self._slow, demand.memory, job.least, 1e-9)
        job.sm = demand.filled * demand.compute * self._slow / alone
        job.dram = demand.memory / alone

    def _wanted(self) -> tuple[float, dict[Group, float]]:
        """SMs that are wanted, as a share of all, and per partition as a share of its own; it cannot have more."""
        whole = 0.0
        groups: dict[Group, float] = {}
        parts: dict[Group, float] = {}
        for job in self._running:
            if job.group is None:
                whole += job.sm
            else:
                groups[job.group] = groups.get(job.group, 0.0) + job.sm
                parts[job.group] = job.demand.part
        return whole + sum(min(1.0, wanted) * parts[group] for group, wanted in groups.items()), groups

    @staticmethod
    def _progress(job: Job, span: float, now: int) -> None:
        if span == job.span:
            return
        if now > job.since:
            job.done += (now - job.since) / job.span
        job.since = now
        job.span = span
        job.until = now + max(0, round((1 - job.done) * span))

    def _account(self, now: int) -> None:
        if now > self._at:
            self._activity.pass_time(now - self._at)
            self._at = now

    def _tick(self, now: int) -> bool:
        """The governor's turn; whether it changed the clock."""
        activity = self._activity
        governor = self.governor
        before = governor.mhz
        length = self._tick_ns
        governor.tick(activity.busy / length, activity.sm / length, activity.dram / length)
        self.samples.append(sample(now, self, activity, length))
        activity.clear()
        self._tick_at = now + length
        self._slow = self.model.boost_mhz / governor.mhz
        return governor.mhz != before
