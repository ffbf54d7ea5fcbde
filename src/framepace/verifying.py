"""`export --verify`: the plan here beside the same plan in a server, in interleaved rounds under the plan's load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze import verified
from framepace.analyze.verified import Steps
from framepace.backends.base import get_backend
from framepace.errors import BackendError, InferencesFailed, ModelError, UsageError, one_line
from framepace.explaining.trial import block
from framepace.exporting.configuration import NETWORK, PREPARED
from framepace.facts.accuracy import Agreement, default_gate
from framepace.facts.plan import ModelPlan, Plan
from framepace.facts.prepare import Prepare
from framepace.facts.settings import Case
from framepace.facts.trace import Trace
from framepace.facts.verified import ROUNDS, SECONDS, Verification, VerifiedSide
from framepace.facts.workload import Closed, Delay, Load
from framepace.lab.lab import Lab
from framepace.models.spec import inspect
from framepace.numerics.gate import agreement_on, pictures_of, takes_pictures
from framepace.openinference.client.address import location_at, server_at
from framepace.predicting.predict import predict
from framepace.predicting.primitives import measure_primitives
from framepace.progress import Tell, silent, within
from framepace.video.history import newest
from framepace.video.history import sides as sides_of

_FRAMES = 16  # on which answers are compared
_IN_FLIGHT = 16  # as bench has for servers: an open load does not wait for answers
_PICTURE = "picture"
INTERRUPTED = "interrupted"
_CONVERTED = "clients send RGB, and colours that are converted before resizing are others than after it"
_HERE = "here"
_THERE = "the server"
_ORDERS = ((_HERE, _THERE), (_THERE, _HERE))


def verify(
    case: Case, url: str, *, rounds: int = ROUNDS, seconds: float = SECONDS, tell: Tell = silent
) -> Verification:
    """Hold `case.plan` here against the models of the same names of the server at `url`.

    First the answers are compared, then what the server will do under the load is predicted from requests that were
    sent one after the other, then both sides take turns under the load. Ctrl-C ends it with what there is by then.

    Args:
        rounds: of each side.
        seconds: of each round, after its warm-up.

    Raises:
        UsageError: pictures of several sizes for models that take whole pictures.
        ModelError: the server has no such model, or one with other inputs or outputs.
        BackendError: the server does not answer. KeyboardInterrupt: before there is anything.
    """
    pictures = _pictures(case)
    sides = _Rounds(case, replace(case, plan=served_plan(case, url, pictures)))
    result = Verification(server=str(server_at(url)), answers=_answers(sides, pictures, tell))
    if not result.passed:
        return result
    result = replace(result, notes=tuple(_converted_first(sides, pictures)))
    return _under_load(result, sides, lambda: sides.run(rounds, seconds, tell), tell)


def _under_load(result: Verification, sides: _Rounds, run: Callable[[], None], tell: Tell) -> Verification:
    """The prediction and the rounds, as far as they come."""
    try:
        result = _with_prediction(result, sides, tell)
        run()
    except KeyboardInterrupt:
        result = replace(result, stopped=INTERRUPTED)
    except (InferencesFailed, BackendError) as error:  # a queue that refuses what comes too late; a server that is gone
        result = replace(result, stopped=one_line(error))
    return sides.added_to(result)


def _with_prediction(result: Verification, sides: _Rounds, tell: Tell) -> Verification:
    """What the server will do under the load; one that refuses requests even then, or is gone, is not predicted."""
    try:
        return replace(result, predicted=_predicted(sides, tell))
    except (InferencesFailed, BackendError) as error:
        return replace(result, notes=(*result.notes, f"not predicted: {one_line(error)}"))


def _pictures(case: Case) -> Sequence[Any]:
    """What answers are compared on; numbers where no model takes pictures."""
    if any(map(takes_pictures, case.plan.models)):
        return pictures_of(case.workload.input, _FRAMES, case.workload.seed)
    return range(_FRAMES)


def served_plan(case: Case, server: str, pictures: Sequence[Any]) -> Plan:
    """The plan with the models of the server in place of its own."""
    models = tuple(_served(model, server, pictures) for model in case.plan.models)
    engine = replace(case.plan.engine, workers=_in_flight(case.workload.load, case.plan), heartbeat_ms=None)
    return replace(case.plan, models=models, engine=engine, machine=None, traces=())


def _in_flight(load: Load, plan: Plan) -> int:
    """Requests in flight: as many as the plan has workers where the load waits for answers."""
    if isinstance(load, Closed):
        return load.concurrency or plan.engine.workers
    if isinstance(load, Delay):
        return 1
    return _IN_FLIGHT


def _served(model: ModelPlan, server: str, pictures: Sequence[Any]) -> ModelPlan:
    """A model as the server has it: it takes whole pictures, or what the client prepares."""
    remote = ModelPlan(name=model.name, model=location_at(server, model.name), backend="server", post=model.post)
    if _takes_pictures_whole(remote):
        return replace(remote, size=_one_size(pictures), prepare=Prepare())
    prepare = replace(model.prepare, place="host", constant=False)
    return replace(remote, size=model.size, shapes=model.shapes, inputs=model.inputs, prepare=prepare)


def _takes_pictures_whole(remote: ModelPlan) -> bool:
    """Whether a model of a server prepares pictures itself."""
    return [tensor.name for tensor in inspect(remote.model).inputs] == [_PICTURE]


def _one_size(pictures: Sequence[Any]) -> tuple[int, int]:
    """The size of all pictures. Raises UsageError where they differ."""
    every = sorted({sides_of(picture) for picture in pictures})
    if len(every) > 1:
        got = ", ".join(f"{width}x{height}" for height, width in every[:3])
        fix = "verify with sources of one size at a time"
        raise UsageError("the sources have pictures of several sizes", got=got, expected="one size", fix=fix)
    return every[0]


def _answers(sides: _Rounds, pictures: Sequence[Any], tell: Tell) -> dict[str, Agreement]:
    """How far the outputs of each model are those of the plan; asked anew each time, for a server may change."""
    answers = {}
    for model, served in zip(sides.ours.plan.models, sides.theirs.plan.models, strict=True):
        tell(f"comparing answers of {model.name}", None)
        _check_outputs(model, served)
        seen = pictures
        if _takes_pictures_whole(served):
            seen = [_as_rgb(picture) for picture in pictures]
        answers[model.name] = agreement_on(seen, served, model, default_gate(model.precision))
    return answers


def _check_outputs(model: ModelPlan, served: ModelPlan) -> None:
    """Raise ModelError where the server's model has more outputs, or fewer."""
    ours, theirs = (len(inspect(one.model).outputs) for one in (model, served))
    if ours != theirs:
        fix = "load the exported model there, or correct the name in the plan"
        problem = f"the server has another model under the name {model.name!r}"
        raise ModelError(problem, got=f"outputs: {theirs}", expected=f"outputs: {ours}", fix=fix)


def _as_rgb(picture: Any) -> NDArray[np.uint8]:
    """The picture as a client sends it; here it would be resized before its colours are converted."""
    picture = newest(picture)
    if isinstance(picture, np.ndarray):
        return picture
    rgb: NDArray[np.uint8] = picture.to_ndarray(format="rgb24")
    return rgb


def _converted_first(sides: _Rounds, pictures: Sequence[Any]) -> Iterator[str]:
    """How far outputs move because clients send RGB: framepace resizes what the decoder gives, and converts then."""
    for model, served in zip(sides.ours.plan.models, sides.theirs.plan.models, strict=True):
        if _takes_pictures_whole(served):
            moved = agreement_on(pictures, served, model, default_gate(model.precision))
            if not moved.passed:
                yield f"{model.name}: on frames as they are decoded, {'; '.join(moved.why)}: {_CONVERTED}"


def _predicted(sides: _Rounds, tell: Tell) -> VerifiedSide:
    """The load on as many instances as the plan has workers, each as fast as requests are one after the other."""
    plan = sides.ours.plan
    sizes = sorted({size for model in plan.models for size in (1, model.batch.max)})
    tell = within(tell, "the server, one request after the other: ", None)
    primitives = measure_primitives(sides.theirs, batches=sizes, workers=plan.engine.workers, tell=tell)
    return verified.side([predict(_batching_there(sides), sides.ours.workload, primitives)])


def _batching_there(sides: _Rounds) -> Plan:
    """The plan of a server that batches by itself, and has a worker per instance."""
    pairs = zip(sides.ours.plan.models, sides.theirs.plan.models, strict=True)
    models = tuple(replace(served, batch=model.batch) for model, served in pairs)
    engine = replace(sides.theirs.plan.engine, workers=sides.ours.plan.engine.workers)
    return replace(sides.theirs.plan, models=models, engine=engine)


@dataclass
class _Rounds:
    """The rounds of both sides as they come in."""

    ours: Case
    theirs: Case
    traces_ours: list[Trace] = field(default_factory=list)
    traces_theirs: list[Trace] = field(default_factory=list)
    steps: dict[str, Steps] = field(default_factory=dict)

    def run(self, rounds: int, seconds: float, tell: Tell) -> None:
        """Measure both in turn: A B B A ..."""
        before = self._counts()
        with Lab(2 * rounds * (seconds + 1), tell=tell, engines=2) as lab:
            for number in range(rounds):
                for name in _ORDERS[number % 2]:
                    lab.say(f"round {number + 1} of {rounds}, {name}")
                    case, traces = self._side(name)
                    traces.append(block(lab, case, seconds))
                self.steps = {name: _since(now, before[name]) for name, now in self._counts().items()}

    def added_to(self, result: Verification) -> Verification:
        """The verification with all whole rounds."""
        rounds = min(len(self.traces_ours), len(self.traces_theirs))
        ours = self.traces_ours[:rounds]
        theirs = self.traces_theirs[:rounds]
        if not rounds:
            return result
        return replace(
            result,
            rounds=rounds,
            here=verified.side(ours),
            there=verified.side(theirs, self.steps),
            ratios=verified.ratios(ours, theirs),
            served=verified.served_over(theirs),
        )

    def _side(self, name: str) -> tuple[Case, list[Trace]]:
        if name == _HERE:
            return self.ours, self.traces_ours
        return self.theirs, self.traces_theirs

    def _counts(self) -> dict[str, Steps]:
        """What the server has counted of the steps of ensembles."""
        steps = {model.name: _counted(model) for model in self.theirs.plan.models}
        return {name: counts for name, counts in steps.items() if counts is not None}


def _counted(model: ModelPlan) -> Steps | None:
    """The counts of both steps of a model; None of one that is no ensemble of framepace's."""
    backend = get_backend("server")
    prepare, network = (backend.counts(replace(model, model=f"{model.model}{step}")) for step in (PREPARED, NETWORK))
    if prepare is None or network is None:
        return None
    return Steps(prepare, network)


def _since(now: Steps, before: Steps) -> Steps:
    return Steps(now.prepare.since(before.prepare), now.network.since(before.network))
