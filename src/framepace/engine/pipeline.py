"""The pipeline of one worker: prepare, infer, finish for each model of a batch of frames, every stage stamped.

This is the only code that runs a model. Generated load and real traffic differ in the feed, never in this.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.backends.base import Tensors
from framepace.clock.system import Clock
from framepace.clock.usage import Usage, thread_usage
from framepace.engine.crops import Crop, Said, answer_of, check, cuts
from framepace.engine.flight import Flight, Group, packed_rows
from framepace.engine.step import Run, Step
from framepace.errors import DeviceLost, FramepaceError, HookNeverWorked, one_line
from framepace.facts.trace import Mark
from framepace.feeds.runstate import RunState
from framepace.models.batchaxis import divided
from framepace.video.frame import Frame

_CHECK_EVERY = 64  # inferences between two checks of large outputs
_CHECK_ALWAYS_ELEMENTS = 1024  # outputs up to this size are checked for NaN and Inf every time: about 2 us
_ERRORS_KEPT = 20
_Began = tuple[Usage, int] | None
"""What the thread had used when it turned to a model, and when that was; None where the first stage says it."""


class Delivered(NamedTuple):
    """When the last inference of some frames was delivered (ns), and why one failed, '' where none did."""

    end: int
    why: str = ""

    @property
    def failed(self) -> bool:
        """Whether an inference failed."""
        return bool(self.why)


class Pipeline:
    """Runs batches of frames through all models and packs one row per frame and model into the run's sink.

    A worker with several slots keeps that many inferences in flight: the caller submits while there is room (`full`),
    and collects, oldest first. An inference of a worker with one slot is collected before anything else is begun, so
    that a library that computes in the call is timed alone.

    What is only for the record is read and written down (`settle`) when the next inference is on its way, or nothing
    else is to be done: a device does not wait for it. Until then the slot stays taken, for its events hold the times.

    A model that runs after another begins when that one has run on all frames of the batch: their boxes share its
    inferences.

    Args:
        steps: the models in order; each worker belongs to the calling thread.
        run: its state is notified of every frame delivered, with the latency over all models of the frame.
        number: of the worker, recorded.
        whole: `steps` are all models of a frame; otherwise the caller notifies the state (`deliver`).
        free: called with each step when the pipeline is closed; closes its worker by default.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        clock: Clock,
        run: Run,
        number: int = 0,
        *,
        whole: bool = True,
        free: Callable[[Step], None] = lambda step: step.worker.close(),
    ) -> None:
        self._steps = steps
        self._roots = [step for step in steps if step.crops is None]
        self._after = {step.index: _after(step, steps) for step in steps}
        self._later = len(steps) - len(self._roots)  # models that begin when another has run
        self._number = number
        self._whole = whole
        self._free = free
        # Bound once: looked up for every request.
        self._state = run.state
        self._sink = run.sink
        self._finish = run.receiver
        self._on_cut = run.on_cut
        self._batch_ids = run.batch_ids
        self._now = clock.now
        self._usage = thread_usage(clock)
        self._slots = {step.index: deque(range(step.worker.slots)) for step in steps}
        self._flights: deque[Flight] = deque()
        self._unsettled: deque[Flight] = deque()
        self._inferences = 0
        self.errors: list[Exception] = []

    @property
    def busy(self) -> bool:
        """Whether there is something to `collect`."""
        return bool(self._flights or self._unsettled)

    @property
    def full(self) -> bool:
        """Whether the next frames would have to wait for a slot."""
        return bool(self._flights) and not all(self._slots.values())

    def process(self, frames: Sequence[Frame]) -> Delivered:
        """Run every model on `frames` to the end."""
        group = self.submit(frames)
        self.drain()
        return Delivered(group.end, group.why)

    def submit(self, frames: Sequence[Frame]) -> Group:
        """Start every model on `frames`; a failed inference is a failed row, and the frames go on to the next model."""
        group = Group(frames)
        group.pending = self._later
        parts = []
        for step in self._roots:
            of_step = step.parts(frames)
            group.pending += len(of_step)
            parts.append((step, of_step))
        for step, of_step in parts:
            self._launch(step, group, of_step)
        return group

    def collect(self) -> None:
        """Settle what was delivered; then wait for the oldest inference in flight, if there is one, and deliver it."""
        self._settle()
        if self._flights:
            flight = self._flights.popleft()
            flight.back = self._usage()
            self._collect(flight)

    def drain(self) -> None:
        """Collect all that is in flight."""
        while self.busy:
            self.collect()

    def prime(self) -> None:
        """Run the set-up that only the first inferences need in every worker; nothing is recorded."""
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
        """Free the workers of all steps, or hand them to whoever keeps them; what was delivered is written down."""
        with suppress(Exception):  # something else has ended the run
            self._settle()
        for step in self._steps:
            self._free(step)

    def _launch(self, step: Step, group: Group, parts: Sequence[Sequence[Frame]], began: _Began = None) -> None:
        """Run a model on the frames of a group, which it takes in these parts; it has `began` with the first."""
        group.left[step.index] = len(parts)
        for part in parts:
            if not self._slots[step.index]:
                self._await_slot(step)
            flight = self._start(step, group, part)
            if began is not None:
                flight.before, flight.batched = began
                began = None
            if step.worker.slots == 1:
                self._collect(flight)
            else:
                flight.left = self._usage()
                self._flights.append(flight)
                self._settle()

    def _make_room(self, step: Step) -> None:
        """Free the slots that are held only for the record, where no other is free."""
        if not self._slots[step.index]:
            self._settle()

    def _await_slot(self, step: Step) -> None:
        self._make_room(step)
        while not self._slots[step.index]:
            self.collect()
            self._make_room(step)

    def _start(self, step: Step, group: Group, frames: Sequence[Frame]) -> Flight:
        worker = step.worker
        slot = self._slots[step.index].popleft()
        clock = worker.sm_clock()
        flight = Flight(step, group, frames, slot, next(self._batch_ids), self._usage(), self._now(), clock)
        try:
            if step.prepare is not None:
                step.fill(frames, slot)
            flight.started = self._now()
            worker.enqueue(slot, len(frames))
        except HookNeverWorked:
            raise
        except Exception as error:
            flight.fail(error)
        flight.enqueued = self._now()
        return flight

    def _collect(self, flight: Flight) -> None:
        step = flight.step
        outputs: Tensors = {}
        try:
            if flight.error is None:
                outputs = dict(step.worker.wait(flight.slot))
                flight.finished = self._now()
                if step.states is not None:
                    step.states.keep(flight.frames, outputs, step.axes)
                self._hand_out(step, flight, outputs)
        except HookNeverWorked:
            raise
        except Exception as error:
            flight.fail(error)
        flight.delivered = self._now()
        flight.after = self._usage()
        flight.outputs = outputs
        self._judge(flight)
        self._unsettled.append(flight)
        if step.worker.slots == 1:
            self._settle()
        if self._after[step.index]:
            self._go_on(step, flight.group)
        self._deliver(flight.group, flight.delivered)

    def _judge(self, flight: Flight) -> None:
        """Tell the run whether an inference succeeded, and note what the run was at."""
        if self._state.warming:
            flight.marks |= Mark.WARMUP
        if flight.error is None:
            self._state.succeeded = True
            return
        self._state.failed()
        self._note(flight.error)
        flight.group.why = one_line(flight.error)

    def _settle(self) -> None:
        """Read what is only for the record, and write it down, of all that was delivered."""
        while self._unsettled:
            flight = self._unsettled.popleft()
            try:
                self._read(flight)
            finally:
                self._slots[flight.step.index].append(flight.slot)
                for row in packed_rows(flight, self._number):
                    self._sink(row)

    def _read(self, flight: Flight) -> None:
        flight.marks |= self._check(flight.outputs)
        if not flight.finished:
            return
        worker = flight.step.worker
        try:
            flight.times = worker.times(flight.slot) or flight.times
            flight.clock_after = worker.sm_clock()
        except Exception:
            if not self._flights:  # otherwise a device was lost meanwhile, and what is in flight tells how
                raise

    def _go_on(self, step: Step, group: Group) -> None:
        """Begin the models that run on what `step` found, once it has run on all frames of the group."""
        group.left[step.index] -= 1
        if group.left[step.index]:
            return
        said = group.said.pop(step.index, [])
        for follower in self._after[step.index]:
            self._make_room(follower)
            began = (self._usage(), self._now()) if self._slots[follower.index] else None
            crops = self._cut(follower, group, said)
            parts = follower.parts(crops) if crops else []
            group.pending += len(parts) - 1
            self._launch(follower, group, parts, began)
            if not parts:
                self._skip(follower, group)

    def _skip(self, step: Step, group: Group) -> None:
        """There is nothing for a model, and so nothing for those after it."""
        for follower in self._after[step.index]:
            group.pending -= 1
            self._skip(follower, group)

    def _cut(self, step: Step, group: Group, said: Sequence[Said]) -> list[Crop]:
        """What a model runs on; nothing where pictures cannot be cut, which fails their frames."""
        assert step.crops is not None
        try:
            found = cuts(said, step.crops)
        except Exception as error:
            group.why = one_line(error)
            self._state.failed()
            self._note(error)
            return []
        for cut in found:
            self._on_cut(step.name, cut)
        return [crop for cut in found for crop in cut.crops]

    def _deliver(self, group: Group, delivered: int) -> None:
        group.pending -= 1
        group.end = max(group.end, delivered)
        if self._whole and group.pending == 0:
            tell(self._state, group.frames, group.end, group.why)

    def _hand_out(self, step: Step, flight: Flight, outputs: Tensors) -> None:
        if self._finish is None and not self._after[step.index]:
            return
        for place, frame in enumerate(flight.frames):
            part = divided(outputs, place, step.axes)
            answer = None if self._finish is None else self._finish(step.name, part, frame)
            if self._after[step.index]:
                self._keep(step, flight.group, frame, part, answer)

    def _keep(self, step: Step, group: Group, frame: Frame, outputs: Tensors, answer: Any) -> None:
        """Keep what a model found in a frame for those that run after it."""
        if answer is None:
            assert step.read is not None
            answer = answer_of(step.read, outputs, frame)
        for follower in self._after[step.index]:
            check(answer, follower.crops)
        group.said.setdefault(step.index, []).append((frame, answer))

    def _check(self, outputs: Tensors) -> int:
        """Mark.NAN if an output is not finite; large outputs are checked now and then, after the stamps."""
        self._inferences += 1
        for out in outputs.values():
            checked = out.size <= _CHECK_ALWAYS_ELEMENTS or self._inferences % _CHECK_EVERY == 1
            if checked and out.dtype.kind == "f" and not _is_finite(out):
                return Mark.NAN
        return 0

    def _note(self, error: Exception) -> None:
        if isinstance(error, DeviceLost):
            self._state.stop("device lost")
        if len(self.errors) < _ERRORS_KEPT:
            self.errors.append(error)


def _is_finite(out: NDArray[Any]) -> bool:
    """Whether all numbers are; the sum of their squares says so in half the time, unless it is too large."""
    return math.isfinite(np.vdot(out, out)) or bool(np.isfinite(out).all())


def _after(step: Step, steps: Sequence[Step]) -> list[Step]:
    """The steps that run on what `step` found."""
    return [other for other in steps if other.crops is not None and other.crops.after == step.name]


def deliver(state: RunState, frames: Sequence[Frame], parts: Sequence[Delivered]) -> None:
    """Tell `state` that `frames` were delivered, whose models ran in `parts`."""
    tell(state, frames, max(part.end for part in parts), next((part.why for part in parts if part.why), ""))


def tell(state: RunState, frames: Sequence[Frame], end: int, why: str) -> None:
    """Tell `state` that `frames` were delivered at `end` (ns); `why` a model failed, '' where none did."""
    if state.sources is not None:
        state.sources.end(frames)
    if state.batches is not None:
        state.batches.end(frames, end, bool(why))
    if state.frames is not None:
        state.frames.end(frames, end, why)
    for frame in frames:
        state.delivered(end - frame.due, end)
