"""One model of a pipeline as a worker runs it: its inputs filled, what writes frames into them, what it keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count as counter
from typing import Any

from framepace.backends.base import Prepare, Session, Tensors, Worker
from framepace.engine.crops import CropRule, OnCut, Read
from framepace.engine.packedrows import Sink
from framepace.engine.ranges import in_ranges
from framepace.facts.plan import ModelPlan
from framepace.facts.workload import Scope
from framepace.feeds.runstate import RunState
from framepace.hooks import load_hook
from framepace.models.states import States
from framepace.video.frame import Frame
from framepace.video.history import sides

Finish = Callable[[str, Tensors, Frame], Any]
"""Receives the name of a model, its outputs of one frame (1 along the batch axis of those that have one), the frame.

Where it reads them it returns the answer, which is then not read again for models that run after that one.
"""


def _nobody(model: str, cut: object) -> None:
    """Learns of cuts in a run that nobody follows."""


@dataclass(frozen=True)
class Run:
    """What all workers of one run share.

    Attributes:
        scope: 'model' runs inference only, on inputs made once from `picture`.
        state: counts deliveries and decides when the run ends.
        sink: takes packed rows (facts.trace.REQUEST_COLUMNS); called from the threads of the workers.
        picture: fills the inputs before the run; None leaves them as the worker made them.
        finish: receives the outputs of every frame, except in the scope 'model'.
        batch_ids: numbers the inferences of all workers.
        states: what models keep between the frames of a source, by the number of the model.
        on_cut: learns on how many boxes of a frame a model runs.
    """

    scope: Scope
    state: RunState
    sink: Sink
    picture: Any = None
    finish: Finish | None = None
    batch_ids: Iterator[int] = field(default_factory=counter)
    states: dict[int, States] = field(default_factory=dict)
    on_cut: OnCut = _nobody

    def states_of(self, index: int, session: Session) -> States | None:
        """What model `index` keeps between the frames of a source in this run, if it keeps anything."""
        if self.scope == "model" or not session.resolved.states:
            return None
        return self.states.setdefault(index, States(session.resolved))

    @property
    def receiver(self) -> Finish | None:
        """The receiver of the frames' outputs, if there is one: in the scope 'model' there are no frames."""
        if self.scope == "model":
            return None
        return self.finish


@dataclass(frozen=True)
class Step:
    """One model of the pipeline as a worker runs it; `prepare` writes each frame into its inputs, if anything does.

    `axes` are the batch axes of its outputs, `states` what it keeps between the frames of a source, `is_native` says
    that every picture is run at its own size. `crops` are the boxes that it runs on, None where it runs on whole
    pictures; `read` reads its answers where other models run on them.
    """

    index: int
    name: str
    worker: Worker
    batch: int
    prepare: Prepare | None
    axes: Mapping[str, int] = field(default_factory=dict)
    states: States | None = None
    is_native: bool = False
    crops: CropRule | None = None
    read: Read | None = None

    def parts(self, frames: Sequence[Frame]) -> list[Sequence[Frame]]:
        """The frames as inferences take them: so many together, and only pictures of one size where each has its own.

        Without preparation there are no pictures, or the inputs are those of one picture.
        """
        if not self.is_native and len(frames) <= self.batch:  # at once: this is called for every request
            return [frames]
        groups = [frames]
        if self.is_native and self.prepare is not None:
            groups = _by_size(frames)
        return [group[first : first + self.batch] for group in groups for first in range(0, len(group), self.batch)]

    def fill(self, frames: Sequence[Frame], slot: int) -> None:
        """Write the frames of one inference into the inputs of a slot. There must be a preparation."""
        assert self.prepare is not None
        if self.is_native:
            self.worker.select(sides(frames[0].picture))
        inputs = self.worker.staging(slot)
        for place, frame in enumerate(frames):
            self.prepare(frame, inputs, place)


def _by_size(frames: Sequence[Frame]) -> list[Sequence[Frame]]:
    groups: dict[tuple[int, int], list[Frame]] = {}
    for frame in frames:
        groups.setdefault(sides(frame.picture), []).append(frame)
    return list(groups.values())


def make_step(index: int, model: ModelPlan, session: Session, worker: Worker, run: Run, number: int) -> Step:
    """Build the step of model `index` for worker `number`; called in the worker's thread.

    Every slot's input is first filled with the picture of the run, if there is one. Raises ModelError for a model that
    is to be fed pictures and cannot take them; `worker` is closed then.
    """
    states = run.states_of(index, session)
    try:
        prepare = _preparation(model, session, worker, run, number)
    except BaseException:
        worker.close()
        raise
    if states is not None:
        prepare = _with_states(prepare, states)
    if model.nvtx:
        worker, prepare = in_ranges(model.name, worker, prepare)
    axes = session.output_axes
    crops = None if run.scope == "model" else CropRule.of(model)
    return Step(index, model.name, worker, model.batch.max, prepare, axes, states, session.is_native, crops)


def _preparation(model: ModelPlan, session: Session, worker: Worker, run: Run, number: int) -> Prepare | None:
    """What writes frames into the inputs of a worker, filled with the run's picture here; None where nothing does."""
    images = session.resolved.images
    if run.scope == "model" and not images:
        return None
    prepare = worker.preparer(model) or session.preparer(model, number)
    if images and run.picture is not None:
        _fill(worker, session, prepare, run.picture)
    if run.scope == "model" or model.prepare.constant:
        return None
    return prepare


def _with_states(prepare: Prepare | None, states: States) -> Prepare:
    def write(frame: Frame, inputs: Tensors, place: int) -> None:
        if prepare is not None:
            prepare(frame, inputs, place)
        states.write(frame, inputs, place)

    return write


def _fill(worker: Worker, session: Session, prepare: Prepare, picture: Any) -> None:
    """Put `picture` into every place of the picture inputs of every slot."""
    frame = Frame(0, 0, 0, 0, 0, 0, 0, picture)
    name = session.resolved.images[0].name
    axis = session.resolved.axis(name)
    if session.is_native:
        worker.select(sides(picture))
    for slot in range(worker.slots):
        inputs = worker.staging(slot)
        places = 1
        if axis is not None:
            places = inputs[name].shape[axis]
        for place in range(places):
            prepare(frame, inputs, place)


def finish_hook(name: str | None) -> Finish | None:
    """The user's hook `name` ('module:function'), which takes (model, outputs, frame number). Raises PlanError."""
    if name is None:
        return None
    hook = load_hook(name)

    def finish(model: str, outputs: Tensors, frame: Frame) -> None:
        hook(model, outputs, frame.number)

    return finish
