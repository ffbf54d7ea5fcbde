"""What is given to an engine: who loads its models, and who receives their outputs; and what a session answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from framepace.backends.base import Prepare, Session, Tensors, get_backend
from framepace.clock.system import Clock, SystemClock
from framepace.engine.engine import Engine
from framepace.engine.step import finish_hook
from framepace.errors import ModelError, UsageError
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.trace import Outcome
from framepace.facts.workload import Scope
from framepace.feeds.feed import Feed
from framepace.feeds.pacer import Idle
from framepace.video.frame import Frame
from tests.doubles.engine import Rows, run_state

NULLS = tuple(ModelPlan(name=name, model="null", backend="null") for name in "ab")
RECEIVED: list[tuple[str, int]] = []


def hook(model: str, outputs: Mapping[str, Any], number: int) -> None:
    """A finish hook as users write it."""
    RECEIVED.append((model, number))


class Two(Feed):
    """Two frames, whose payload is a number."""

    def __init__(self) -> None:
        self._frames = [Frame(number, 0, 0, 0, 0, 0, 0, picture=number) for number in (1, 0)]

    def take(self, idle: Idle | None, wait: bool = True) -> list[Frame] | None:
        """The next frame."""
        if not self._frames:
            return None
        return [self._frames.pop()]


class Loader:
    """Loads models by their backends, and sessions that take numbers instead of pictures."""

    def __init__(self, clock: Clock, fails_at: str = "") -> None:
        self.sessions: list[Session] = []
        self.prepared: list[tuple[str, int, Any]] = []
        self._clock = clock
        self._fails_at = fails_at

    def __call__(self, model: ModelPlan) -> Session:
        """See engine.Load."""
        if model.name == self._fails_at:
            raise UsageError("this one does not load")
        session = get_backend(model.backend).load(model, self._clock)
        session.preparer = self._preparer  # type: ignore[method-assign]
        self.sessions.append(session)
        return session

    def _preparer(self, model: ModelPlan, index: int = 0) -> Prepare:
        def prepare(frame: Frame, inputs: Tensors, place: int) -> None:
            self.prepared.append((model.name, frame.number, frame.picture))
            for array in inputs.values():
                array[place] = frame.picture

        return prepare


def run(engine: Engine, scope: Scope = "pipeline") -> Rows:
    """Two frames."""
    rows = Rows()
    assert engine.run(scope, Two, run_state(2), rows) == []
    engine.close()
    return rows


def test_who_loads_the_models_and_receives_their_outputs_is_given() -> None:
    """Each model is loaded by the given function, and each frame's outputs go to the other, with the frame."""
    received: list[tuple[str, Frame]] = []
    load = Loader(SystemClock())
    engine = Engine(
        Plan(models=NULLS),
        SystemClock(),
        load=load,
        outputs=lambda name, outputs, frame: received.append((name, frame)),
    )
    assert list(engine.sessions) == load.sessions
    rows = run(engine).columns
    assert [(name, frame.number) for name, frame in received] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert all(rows["outcome"] == Outcome.OK)
    assert all(session.closed for session in load.sessions)


def test_how_a_frame_gets_into_the_inputs_is_the_sessions_to_say() -> None:
    """What the session answers is called with each frame, whatever it carries; not in the scope 'model'."""
    load = Loader(SystemClock())
    run(Engine(Plan(models=NULLS[:1]), SystemClock(), load=load))
    assert load.prepared == [("a", 0, 0), ("a", 1, 1)]
    run(Engine(Plan(models=NULLS[:1]), SystemClock(), load=load), "model")
    assert len(load.prepared) == 2


def test_the_users_hook_takes_the_number_of_the_frame() -> None:
    """The plan's hook is called with (model, outputs, frame number), unless the outputs go elsewhere."""
    RECEIVED.clear()
    plan = Plan(models=NULLS[:1], engine=EnginePlan(finish=f"{__name__}:hook"))
    run(Engine(plan, SystemClock(), load=Loader(SystemClock())))
    assert RECEIVED == [("a", 0), ("a", 1)]
    run(Engine(plan, SystemClock(), load=Loader(SystemClock()), outputs=lambda *_: None))
    run(Engine(plan, SystemClock(), load=Loader(SystemClock())), "model")
    assert len(RECEIVED) == 2
    assert finish_hook(None) is None


def test_models_loaded_before_one_that_does_not_load_are_freed() -> None:
    """The error is raised, and nothing stays loaded."""
    load = Loader(SystemClock(), fails_at="b")
    with pytest.raises(UsageError, match="does not load"):
        Engine(Plan(models=NULLS), SystemClock(), load=load)
    assert [session.closed for session in load.sessions] == [True]


def test_a_picture_becomes_the_image_input_where_nothing_else_is_said() -> None:
    """The null model's own preparer writes a grey picture, scaled to 0-1, into the place it is told."""
    session = get_backend("null").load(NULLS[0], SystemClock())
    inputs = session.worker().staging(0)
    image = session.resolved.image
    assert image is not None
    white = np.full((image.height, image.width, 3), 255, np.uint8)
    session.preparer(NULLS[0])(Frame(0, 0, 0, 0, 0, 0, 0, white), inputs, 0)
    assert inputs[image.name].min() == inputs[image.name].max() == 1


def test_a_model_without_an_image_input_takes_no_pictures() -> None:
    """It says which inputs there are, and what to do."""
    session = get_backend("null").load(NULLS[0], SystemClock())
    session.resolved = type(session.resolved)(session.resolved.inputs, None, session.resolved.batched)
    with pytest.raises(ModelError, match="--scope model"):
        session.preparer(NULLS[0])
