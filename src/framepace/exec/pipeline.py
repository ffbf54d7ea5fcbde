"""The pipeline of one worker: prepare, infer, finish for each model of a batch of frames, every stage stamped.

This is the only code that runs a model. Generated load and real traffic differ in the feed, never in this.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count as counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import BackendError, FramepaceError
from framepace.exec.backend import DeviceTimes, Tensors, Worker
from framepace.exec.clock import Clock
from framepace.exec.control import Control
from framepace.exec.frame import Frame
from framepace.exec.usage import Usage, thread_usage
from framepace.facts.trace import REQUEST_COLUMNS, Cause, Mark, Outcome

_ROW = struct.Struct(f"<{len(REQUEST_COLUMNS)}q")
_CHECK_EVERY = 64
_CHECK_ALWAYS = 1024  # output elements up to which every output is checked for NaN and Inf: about 2 us

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


@dataclass(slots=True)
class _Flight:
    """A batch between enqueue and delivery."""

    frames: Sequence[Frame]
    slot: int
    batch_id: int
    before: Usage
    batched: int
    started: int = 0
    enqueued: int = 0
    finished: int = 0
    cause: int = Cause.NONE
    error: Exception | None = None
    times: DeviceTimes | None = None
    marks: int = 0


class Pipeline:
    """Runs batches of frames through all models and packs one row a (frame, model) into `sink`.

    Args:
        steps: the models in order; each worker belongs to the calling thread.
        finish: receives (model, outputs of one frame, frame number) after each inference, or None.
        control: told of every frame delivered, with the latency over all its models.
        worker: index of this worker, recorded.
        batch_ids: numbers inferences over all workers.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        clock: Clock,
        control: Control,
        sink: Sink,
        finish: Finish | None = None,
        worker: int = 0,
        batch_ids: Iterator[int] | None = None,
    ) -> None:
        self._steps, self._control, self._sink, self._finish, self._worker = steps, control, sink, finish, worker
        self._now, self._usage = clock.now, thread_usage(clock)
        self._batch_ids = batch_ids if batch_ids is not None else counter()
        self._slots = [deque(range(step.worker.slots)) for step in steps]
        self._runs = 0
        self.errors: list[Exception] = []

    def process(self, frames: Sequence[Frame]) -> None:
        """Run every model on `frames`; a failed inference is a failed row, and the frames go on to the next model."""
        end = 0
        for step in self._steps:
            for first in range(0, len(frames), step.batch):
                end = self._collect(step, self._submit(step, frames[first : first + step.batch]))
        for frame in frames:
            self._control.delivered(end - frame.due, end)

    def beat(self) -> None:
        """Run every model once on what its staging holds; nothing is recorded (keep-warm)."""
        for step in self._steps:
            try:
                step.worker.enqueue(0, 1)
                step.worker.wait(0)
            except FramepaceError as error:
                self._note(error)

    def close(self) -> None:
        """Free the workers' buffers."""
        for step in self._steps:
            step.worker.close()

    def _submit(self, step: Step, frames: Sequence[Frame]) -> _Flight:
        slot = self._slots[step.index].popleft()
        flight = _Flight(frames, slot, next(self._batch_ids), self._usage(), self._now())
        try:
            if step.prepare is not None and step.input is not None:
                target = step.worker.staging(slot)[step.input]
                for place, frame in enumerate(frames):
                    step.prepare(frame.picture, target[place])
            flight.started = self._now()
            step.worker.enqueue(slot, len(frames))
        except Exception as error:
            flight.error, flight.cause = error, _cause(error)
        flight.enqueued = self._now()
        return flight

    def _collect(self, step: Step, flight: _Flight) -> int:
        outputs: Tensors = {}
        try:
            if flight.error is None:
                outputs = step.worker.wait(flight.slot)
                flight.finished = self._now()
                flight.times = step.worker.times(flight.slot)
                self._hand_out(step, flight, outputs)
        except Exception as error:
            flight.error, flight.cause = error, _cause(error) if not flight.finished else Cause.HOOK
        delivered = self._now()
        used = self._usage()
        flight.marks |= self._check(outputs)
        self._slots[step.index].append(flight.slot)
        self._record(step, flight, delivered, used)
        return delivered

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

    def _record(self, step: Step, flight: _Flight, delivered: int, used: Usage) -> None:
        f, before, times = flight, flight.before, flight.times
        failed = f.error is not None
        if f.error is not None:
            self._note(f.error)
        # A failed request never reached its later stages: they end where it failed.
        started, finished = f.started or f.enqueued, f.finished or delivered
        h2d, compute, d2h = (times.h2d, times.compute, times.d2h) if times is not None else (-1, -1, -1)
        marks = f.marks | (Mark.WARMUP if self._control.warming else 0)
        tail = (
            f.batched, started, f.enqueued, finished, delivered, h2d, compute, d2h,
            used.cpu - before.cpu, used.switched - before.switched, used.preempted - before.preempted,
            used.faults - before.faults, used.gc - before.gc,
            Outcome.FAILED if failed else Outcome.OK, f.cause, marks,
        )  # fmt: skip
        for x in f.frames:
            head = (x.number, x.source, step.index, self._worker, f.batch_id, len(f.frames))
            stamps = (x.due, x.available, x.captured, x.decoded, x.queued)
            self._sink(_ROW.pack(*head, *stamps, *tail))

    def _note(self, error: Exception) -> None:
        if len(self.errors) < 20:
            self.errors.append(error)


def dropped_row(frame: Frame, model: int, cause: int, now: int, warming: bool) -> bytes:
    """The packed row of a frame that was discarded at `now` before any inference: later stamps are `now`."""
    marks = Mark.WARMUP if warming else 0
    head = (frame.number, frame.source, model, -1, -1, 0)
    stamps = (frame.due, frame.available, frame.captured, frame.decoded, frame.queued or now)
    return _ROW.pack(*head, *stamps, *([now] * 5), -1, -1, -1, 0, 0, 0, 0, 0, Outcome.DROPPED, cause, marks)


def _cause(error: Exception) -> int:
    return Cause.BACKEND if isinstance(error, BackendError) else Cause.HOOK
