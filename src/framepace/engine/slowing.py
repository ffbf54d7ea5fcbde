"""The engine with a known delay in one stage: wrappers around what prepares, infers and finishes.

Without the setting nothing is wrapped, so that it costs nothing per frame. The delay keeps the core busy, as a slower
stage would.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framepace.backends.base import Prepare, Tensors, Worker
from framepace.clock.system import Clock
from framepace.engine.step import Finish, Step
from framepace.engine.wrapping import WrappedWorker
from framepace.facts.slowing import Slow, delay_in
from framepace.video.frame import Frame


class SlowWorker(WrappedWorker):
    """A worker each of whose inferences takes longer by `ns`."""

    def __init__(self, worker: Worker, clock: Clock, ns: int) -> None:
        super().__init__(worker)
        self._clock = clock
        self._ns = ns

    def enqueue(self, slot: int, count: int) -> None:
        """See Worker."""
        self._clock.spin_until(self._clock.now() + self._ns)
        self.worker.enqueue(slot, count)


def slowed_step(step: Step, slow: Slow | None, clock: Clock) -> Step:
    """The step with the delay of its preparation or inference; itself where there is none."""
    prepare_ns = delay_in(slow, "prepare")
    if prepare_ns and step.prepare is not None:
        step = replace(step, prepare=_slowed_preparation(step.prepare, clock, prepare_ns))
    infer_ns = delay_in(slow, "infer")
    if infer_ns:
        step = replace(step, worker=SlowWorker(step.worker, clock, infer_ns))
    return step


def _slowed_preparation(prepare: Prepare, clock: Clock, ns: int) -> Prepare:
    def slowly(frame: Frame, inputs: Tensors, place: int) -> None:
        prepare(frame, inputs, place)
        clock.spin_until(clock.now() + ns)

    return slowly


def slowed_finish(finish: Finish | None, slow: Slow | None, clock: Clock) -> Finish | None:
    """What receives the outputs, with its delay; itself where there is none."""
    ns = delay_in(slow, "finish")
    if not ns:
        return finish

    def slowly(model: str, outputs: Tensors, frame: Frame) -> Any:
        answer = None if finish is None else finish(model, outputs, frame)
        clock.spin_until(clock.now() + ns)
        return answer

    return slowly
