"""An inference in flight: its frames, its stamps, and the rows of the trace that say what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from framepace.backends.base import DeviceTimes, Tensors
from framepace.clock.usage import NOTHING, Usage
from framepace.engine.crops import Said
from framepace.engine.packedrows import ROW
from framepace.engine.step import Step
from framepace.errors import BackendError, DeviceLost
from framepace.facts.trace import DropCause, Outcome
from framepace.video.frame import Frame

_NO_TIMES = DeviceTimes(-1, -1, -1)


@dataclass(slots=True)
class Group:
    """Frames taken together, until the last of their inferences is collected.

    `pending` counts inferences, and models that have not begun. Of models that others run after, `left` counts the
    inferences, and `said` has what they found.
    """

    frames: Sequence[Frame]
    pending: int = 0
    end: int = 0
    why: str = ""
    left: dict[int, int] = field(default_factory=dict)
    said: dict[int, list[Said]] = field(default_factory=dict)


@dataclass(slots=True)
class Flight:
    """A batch of one model from its preparation until it is written down.

    `before` is the thread's usage when the flight got its attention, `after` when it was delivered; `left` and `back`
    when it was left alone and looked after again, which is nobody's.
    """

    step: Step
    group: Group
    frames: Sequence[Frame]
    slot: int
    batch_id: int
    before: Usage
    batched: int
    clock_before: int
    left: Usage = NOTHING
    back: Usage = NOTHING
    after: Usage = NOTHING
    started: int = 0
    enqueued: int = 0
    finished: int = 0
    delivered: int = 0
    outcome: int = Outcome.OK
    cause: int = DropCause.NONE
    error: Exception | None = None
    outputs: Tensors = field(default_factory=dict)
    times: DeviceTimes = _NO_TIMES
    clock_after: int = -1
    marks: int = 0

    def fail(self, error: Exception) -> None:
        """Note why the inference failed, and whose fault that is."""
        self.outcome = Outcome.FAILED
        self.error = error
        self.cause = DropCause.HOOK  # once the outputs are there, only the user's code can fail
        if not self.finished:
            self.cause = _cause(error)


def packed_rows(flight: Flight, worker: int) -> list[bytes]:
    """The packed rows of the frames of a flight that worker number `worker` ran."""
    tail = _tail(flight)
    rows = []
    for frame in flight.frames:
        head = (frame.number, frame.source, flight.step.index, worker, flight.batch_id, len(flight.frames))
        stamps = (frame.due, frame.available, frame.captured, frame.decoded, frame.queued)
        rows.append(ROW.pack(*head, *stamps, *tail))
    return rows


def _tail(flight: Flight) -> tuple[int, ...]:
    """The columns from 'batched' on, which all frames of a batch share."""
    cpu, switched, preempted, faults, gc = flight.before
    cpu_left, switched_left, preempted_left, faults_left, gc_left = flight.left
    cpu_back, switched_back, preempted_back, faults_back, gc_back = flight.back
    cpu_after, switched_after, preempted_after, faults_after, gc_after = flight.after
    times = flight.times
    delivered = flight.delivered
    return (
        flight.batched,
        # A failed request never reached its later stages: they end where it failed.
        flight.started or flight.enqueued, flight.enqueued, flight.finished or delivered, delivered,
        times.h2d, times.compute, times.d2h, times.h2d_at, times.compute_at, times.d2h_at,
        times.paint, times.paint_at,
        flight.clock_before, flight.clock_after,
        cpu_after - cpu_back + cpu_left - cpu,
        switched_after - switched_back + switched_left - switched,
        preempted_after - preempted_back + preempted_left - preempted,
        faults_after - faults_back + faults_left - faults,
        gc_after - gc_back + gc_left - gc,
        flight.outcome, flight.cause, flight.marks,
    )  # fmt: skip


def _cause(error: Exception) -> int:
    if isinstance(error, DeviceLost):
        return DropCause.DEVICE
    return DropCause.BACKEND if isinstance(error, BackendError) else DropCause.HOOK
