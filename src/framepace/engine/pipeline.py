"""The pipeline of one worker: prepare, infer, finish for each model of a batch of frames, every stage stamped.

This is the only code that runs a model. Generated load and real traffic differ in the feed, never in this.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.backends.base import DeviceTimes, Tensors, Worker
from framepace.clock.system import Clock
from framepace.clock.usage import NOTHING, Usage, thread_usage
from framepace.errors import BackendError, DeviceLost, FramepaceError
from framepace.facts.trace import REQUEST_COLUMNS, DropCause, Mark, Outcome
from framepace.feeds.runstate import RunState
from framepace.video.frame import Frame

_ROW = struct.Struct(f"<{len(REQUEST_COLUMNS)}q")
_CHECK_EVERY = 64
_CHECK_ALWAYS = 1024  # output elements up to which every output is checked for NaN and Inf: about 2 us

_NO_TIMES = DeviceTimes(-1, -1, -1)

Finish = Callable[[str, Mapping[str, NDArray[Any]], int], Any]
Prepare = Callable[[Any, NDArray[Any]], None]
Sink = Callable[[bytes], None]


@dataclass(frozen=True)
class Step:
    """One model of the pipeline as a worker runs it: `input` is filled by `prepare` for each frame, if there is one."""

    index: int
    name: str
    worker: Worker
    batch: int
    input: str | None
    prepare: Prepare | None


class Delivered(NamedTuple):
    """When the last inference of some frames was delivered (ns), and whether one failed."""

    end: int
    failed: bool


@dataclass(slots=True)
class Group:
    """Frames taken together, until the last of their inferences is collected."""

    frames: Sequence[Frame]
    pending: int = 0
    end: int = 0
    failed: bool = False


@dataclass(slots=True)
class _Flight:
    """A batch of one model between enqueue and delivery.

    `before` is the thread's usage when the flight got its attention; `spent` what it had used before it was left alone.
    """

    step: Step
    group: Group
    frames: Sequence[Frame]
    slot: int
    batch_id: int
    before: Usage
    batched: int
    clock_before: int
    spent: Usage = NOTHING
    started: int = 0
    enqueued: int = 0
    finished: int = 0
    cause: int = DropCause.NONE
    error: Exception | None = None
    times: DeviceTimes | None = None
    clock_after: int = -1
    marks: int = 0


class Pipeline:
    """Runs batches of frames through all models and packs one row a (frame, model) into `sink`.

    A worker with several slots keeps that many inferences in flight: the caller submits while there is room (`full`),
    and collects, oldest first. An inference of a worker with one slot is collected before anything else is begun, so
    that a library that computes in the call is timed alone.

    Args:
        steps: the models in order; each worker belongs to the calling thread.
        finish: receives (model, outputs of one frame, frame number) after each inference, or None.
        state: told of every frame delivered, with the latency over all its models.
        worker: index of this worker, recorded.
        batch_ids: numbers inferences over all workers.
        whole: these are all models of a frame; otherwise whoever runs the rest tells the state (`deliver`).
        free: what becomes of a step's worker when the pipeline is closed.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        clock: Clock,
        state: RunState,
        sink: Sink,
        finish: Finish | None = None,
        worker: int = 0,
        batch_ids: Iterator[int] | None = None,
        whole: bool = True,
        free: Callable[[Step], None] = lambda step: step.worker.close(),
    ) -> None:
        self._whole, self._free = whole, free
        self._steps, self._state, self._sink, self._finish, self._worker = steps, state, sink, finish, worker
        self._now, self._usage = clock.now, thread_usage(clock)
        self._batch_ids = batch_ids if batch_ids is not None else counter()
        self._slots = {step.index: deque(range(step.worker.slots)) for step in steps}
        self._flights: deque[_Flight] = deque()
        self._runs = 0
        self.errors: list[Exception] = []

    @property
    def flying(self) -> bool:
        """Whether inferences are in flight."""
        return bool(self._flights)

    @property
    def full(self) -> bool:
        """Whether the next frames would have to wait for a slot."""
        return bool(self._flights) and not all(self._slots.values())

    def process(self, frames: Sequence[Frame]) -> Delivered:
        """Run every model on `frames` to the end."""
        group = self.submit(frames)
        self.drain()
        return Delivered(group.end, group.failed)

    def submit(self, frames: Sequence[Frame]) -> Group:
        """Start every model on `frames`; a failed inference is a failed row, and the frames go on to the next model."""
        group = Group(frames)
        parts = [(step, first) for step in self._steps for first in range(0, len(frames), step.batch)]
        group.pending = len(parts)
        for step, first in parts:
            while not self._slots[step.index]:
                self.collect()
            flight = self._start(step, group, frames[first : first + step.batch])
            if step.worker.slots == 1:
                self._collect(flight)
            else:
                flight.spent = self._usage().since(flight.before)
                self._flights.append(flight)
        return group

    def collect(self) -> None:
        """Wait for the oldest inference in flight and deliver it."""
        flight = self._flights.popleft()
        flight.before = self._usage()
        self._collect(flight)

    def drain(self) -> None:
        """Collect all that is in flight."""
        while self._flights:
            self.collect()

    def prime(self) -> None:
        """Have every worker do what only its first inferences need; nothing is recorded."""
        for step in self._steps:
            step.worker.prime()

    def beat(self) -> None:
        """Run every model once on what its staging holds; nothing is recorded (keep-warm)."""
        for step in self._steps:
            try:
                step.worker.enqueue(0, 1)
                step.worker.wait(0)
            except FramepaceError as error:
                self._note(error)

    def close(self) -> None:
        """Free the workers' buffers, or leave them to whoever keeps them."""
        for step in self._steps:
            self._free(step)

    def _start(self, step: Step, group: Group, frames: Sequence[Frame]) -> _Flight:
        slot, worker = self._slots[step.index].popleft(), step.worker
        clock = worker.sm_clock()
        flight = _Flight(step, group, frames, slot, next(self._batch_ids), self._usage(), self._now(), clock)
        try:
            if step.prepare is not None and step.input is not None:
                target = worker.staging(slot)[step.input]
                for place, frame in enumerate(frames):
                    step.prepare(frame.picture, target[place])
            flight.started = self._now()
            worker.enqueue(slot, len(frames))
        except Exception as error:
            flight.error, flight.cause = error, _cause(error)
        flight.enqueued = self._now()
        return flight

    def _collect(self, flight: _Flight) -> None:
        step, outputs = flight.step, dict[str, Any]()
        try:
            if flight.error is None:
                outputs = dict(step.worker.wait(flight.slot))
                flight.finished = self._now()
                self._hand_out(step, flight, outputs)
        except Exception as error:
            flight.error, flight.cause = error, _cause(error) if not flight.finished else DropCause.HOOK
        delivered = self._now()
        used = self._usage().since(flight.before)
        # What is only for the record is read when the frame has been delivered.
        if flight.finished:
            flight.times, flight.clock_after = step.worker.times(flight.slot), step.worker.sm_clock()
        flight.marks |= self._check(outputs)
        self._slots[step.index].append(flight.slot)
        self._record(flight, delivered, used)
        flight.group.failed |= flight.error is not None
        self._deliver(flight.group, delivered)

    def _deliver(self, group: Group, delivered: int) -> None:
        group.pending, group.end = group.pending - 1, max(group.end, delivered)
        if self._whole and group.pending == 0:
            deliver(self._state, group.frames, [Delivered(group.end, group.failed)])

    def _hand_out(self, step: Step, flight: _Flight, outputs: Tensors) -> None:
        if self._finish is None:
            return
        for place, frame in enumerate(flight.frames):
            self._finish(step.name, {name: out[place : place + 1] for name, out in outputs.items()}, frame.number)

    def _check(self, outputs: Tensors) -> int:
        """Mark.NAN if an output is not finite; large outputs are checked now and then, after the stamps."""
        self._runs += 1
        for out in outputs.values():
            checked = out.size <= _CHECK_ALWAYS or self._runs % _CHECK_EVERY == 1
            if checked and out.dtype.kind == "f" and not np.isfinite(out).all():
                return Mark.NAN
        return 0

    def _record(self, flight: _Flight, delivered: int, used: Usage) -> None:
        f, spent, times = flight, flight.spent, flight.times or _NO_TIMES
        failed = f.error is not None
        if f.error is not None:
            self._note(f.error)
        # A failed request never reached its later stages: they end where it failed.
        started, finished = f.started or f.enqueued, f.finished or delivered
        marks = f.marks | (Mark.WARMUP if self._state.warming else 0)
        tail = (
            f.batched, started, f.enqueued, finished, delivered,
            times.h2d, times.compute, times.d2h, times.h2d_at, times.compute_at, times.d2h_at,
            f.clock_before, f.clock_after,
            used.cpu + spent.cpu, used.switched + spent.switched, used.preempted + spent.preempted,
            used.faults + spent.faults, used.gc + spent.gc,
            Outcome.FAILED if failed else Outcome.OK, f.cause, marks,
        )  # fmt: skip
        for x in f.frames:
            head = (x.number, x.source, f.step.index, self._worker, f.batch_id, len(f.frames))
            stamps = (x.due, x.available, x.captured, x.decoded, x.queued)
            self._sink(_ROW.pack(*head, *stamps, *tail))

    def _note(self, error: Exception) -> None:
        if isinstance(error, DeviceLost):
            self._state.stop("device lost")
        if len(self.errors) < 20:
            self.errors.append(error)


def deliver(state: RunState, frames: Sequence[Frame], parts: Sequence[Delivered]) -> None:
    """Tell `state` that `frames` were delivered, whose models ran in `parts`."""
    end = max(part.end for part in parts)
    if state.batches is not None:
        state.batches.end(frames, end, any(part.failed for part in parts))
    for frame in frames:
        state.delivered(end - frame.due, end)


def dropped_row(frame: Frame, model: int, cause: int, now: int, warming: bool) -> bytes:
    """The packed row of a frame that was discarded at `now` before any inference: later stamps are `now`."""
    marks = Mark.WARMUP if warming else 0
    head = (frame.number, frame.source, model, -1, -1, 0)
    stamps = (frame.due, frame.available, frame.captured, frame.decoded, frame.queued or now)
    device = [-1] * 8
    return _ROW.pack(*head, *stamps, *([now] * 5), *device, 0, 0, 0, 0, 0, Outcome.DROPPED, cause, marks)


def _cause(error: Exception) -> int:
    if isinstance(error, DeviceLost):
        return DropCause.DEVICE
    return DropCause.BACKEND if isinstance(error, BackendError) else DropCause.HOOK
