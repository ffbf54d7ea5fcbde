"""Whether other ways to run the models give the same outputs as the original plan."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from framepace.analyze.agreement import worst_frames
from framepace.backends.base import get_backend
from framepace.clock.system import SystemClock
from framepace.errors import FramepaceError
from framepace.facts.accuracy import Agreement, agreement_text
from framepace.facts.plan import ModelPlan
from framepace.facts.questions import mend_question
from framepace.facts.workload import Input
from framepace.measure.frames import decoding_gpu
from framepace.models.spec import stem
from framepace.numerics.blame import Blamed, blamed
from framepace.reporting.views.mending import node_name
from framepace.tuning.state import TuningState

Gate = Callable[..., Agreement]
"""Holds a model on an input's frames against FP32; `decoded_on` names the GPU that decodes them, where one does."""
_BLAME_S = 20.0
_BLAME_SHARE = 0.25  # of the time that is left
_PREPARED = {"graph": "with preparation in the graph", "device": "with preparation on the GPU"}


class Accuracy:
    """Passes candidates whose outputs agree with the original plan's; each way is compared once."""

    def __init__(self, state: TuningState, gate: Gate | None) -> None:
        self._state = state
        self._gate = gate
        self._objections: dict[tuple[bytes, int | None], str | None] = {}
        self._blamed: dict[tuple[str, str], str] = {}

    def admit(self, number: int) -> bool:
        """Whether a candidate may be measured. One whose outputs do not agree fails, with the reason."""
        if self._state.candidates[number].error is not None:
            return False
        way = (self._state.way_of(number), decoding_gpu(self._state.case_of(number).plan))
        if way not in self._objections:
            self._objections[way] = self._accuracy_objection(number)
        objection = self._objections[way]
        if objection is not None:
            self._state.journal.change(number, error=objection)
        return objection is None

    def _accuracy_objection(self, number: int) -> str | None:
        """Why the outputs of a candidate's models are not accepted; None where they are."""
        plan, given = self._state.case_of(number).plan, self._state.case.plan
        gpu = decoding_gpu(plan)
        decoded_anew = gpu != decoding_gpu(given)
        for model, as_given in zip(plan.models, given.models, strict=True):
            if decoded_anew or _computed(model) != _computed(as_given):
                objection = self._objection_to(model, gpu)
                if objection is not None:
                    return objection
        return None

    def _objection_to(self, model: ModelPlan, gpu: int | None) -> str | None:
        if self._gate is None or get_backend(model.backend).simulated:
            return None
        gate = self._gate if gpu is None else partial(self._gate, decoded_on=gpu)
        source = self._state.case.workload.input
        self._state.lab.say(f"comparing the outputs of {model.name} {_way(model)}")
        try:
            agreement = self._state.lab.call([model], gate, model, source)
        except FramepaceError as error:
            return str(error)
        if not agreement.passed:
            return f"accuracy: {'; '.join(agreement.why)}{self._guilty(model, source, agreement)}"
        self._state.notes.append(
            f"{stem(model.model)} {_way(model)} passes the accuracy gate: {agreement_text(agreement)}"
        )
        return None

    def _guilty(self, model: ModelPlan, source: Input, refused: Agreement) -> str:
        """Which frame and node are to blame, as far as that is found in seconds, and the command that finds more."""
        if model.precision == "fp32":
            return ""
        return f"{_worst_frame(refused)}{self._node(model, source, refused)}{_mending(model, source.videos)}"

    def _node(self, model: ModelPlan, source: Input, refused: Agreement) -> str:
        """The node to blame, looked for once per precision of a file, in a share of the time that is left."""
        way = (model.model, model.precision)
        if way not in self._blamed:
            seconds = min(_BLAME_S, _BLAME_SHARE * self._state.lab.left)
            self._state.lab.say(f"looking for the node that {model.precision} breaks in {model.name}")
            self._blamed[way] = _blame(blamed(model, source, refused, seconds, SystemClock()))
        return self._blamed[way]


def _worst_frame(refused: Agreement) -> str:
    """'; worst is frame 3 (error 0.8)'; '' where no frame could be compared."""
    for worst in worst_frames(refused, 1):
        error = "NaN or infinite" if worst.lost or worst.error is None else f"error {worst.error:.2g}"
        return f"; worst is frame {worst.frame} ({error})"
    return ""


def _blame(found: Blamed | None) -> str:
    """': NaN or infinity begins at /pool/GlobalAveragePool (accumulation)'; '' where nothing was found in the time."""
    if found is None:
        return ""
    if found.fault is not None:
        return f": there NaN or infinity begins at {node_name(found.node)} ({found.node.operator}, {found.fault})"
    error = "an output is not finite" if found.error is None else f"an error of {found.error:.2g}"
    tried = "" if found.complete else " of those that there was time for"
    return f": there {node_name(found.node)} ({found.node.operator}) costs most{tried}, {error} by itself"


def _computed(model: ModelPlan) -> tuple[object, ...]:
    """What of a plan changes the arithmetic, and so may change the outputs.

    Graphs are not among it: each is held against the plain request where it is captured.
    """
    return model.precision, model.backend, model.graph_shapes, model.prepare.place, dict(model.options)


def _mending(model: ModelPlan, videos: tuple[str, ...]) -> str:
    """What finds the nodes that a precision breaks, where that is why a model was refused."""
    command = mend_question(model, videos)
    if not command:
        return ""
    return f"; '{command}' finds the nodes to keep in FP32"


def _way(model: ModelPlan) -> str:
    """How a model is run, for people."""
    parts = [f"in {model.precision} by {model.backend}"]
    if model.graph_shapes == "fixed":
        parts.append("with fixed shapes")
    if model.prepare.place != "host":
        parts.append(_PREPARED[model.prepare.place])
    parts.extend(f"option.{name}={value}" for name, value in model.options.items())
    return " ".join(parts)
