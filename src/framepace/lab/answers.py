"""Whether the settings of a plan answer what the plain way answers, found where the plan's models are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from framepace.errors import FramepaceError
from framepace.facts.heldanswers import HeldAnswers
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case
from framepace.lab.lab import Lab, on_device
from framepace.lab.measuringprocess import MeasuringProcess
from framepace.measure.frames import decoding_gpu
from framepace.numerics.held import chosen, comparable_models, held, kept, not_held
from framepace.progress import Tell

_Call = Callable[..., HeldAnswers]
"""Calls a function for models, with arguments, where they may be run."""


def held_answers(case: Case, tell: Tell) -> tuple[HeldAnswers, ...]:
    """Of each model of a plan whose settings may change its answers, once per variant and machine.

    On a device it is done in a process of its own, which takes along what goes wrong.
    """

    def call(models: Sequence[ModelPlan], function: _Call, *arguments: Any) -> HeldAnswers:
        tell(f"holding the answers of {models[0].name} against the plain way", None)
        if not any(map(on_device, models)):
            return function(*arguments)
        with closing(MeasuringProcess(engines=0)) as process:
            return process.call(function, *arguments)

    return tuple(_each(case, call))


def held_in(lab: Lab, case: Case) -> tuple[HeldAnswers, ...]:
    """The same with a lab, as its time allows."""

    def call(models: Sequence[ModelPlan], function: _Call, *arguments: Any) -> HeldAnswers:
        lab.say(f"holding the answers of {models[0].name} against the plain way")
        return lab.call(models, function, *arguments)

    return tuple(_each(case, call))


def held_change(lab: Lab, before: Case, after: Case) -> tuple[HeldAnswers, ...]:
    """Of the models that a change of settings may make answer otherwise; none where it changes what is asked."""
    same_question = [model.model for model in before.plan.models] == [model.model for model in after.plan.models]
    if not same_question or before.workload.input != after.workload.input or _ways(before) == _ways(after):
        return ()
    return held_in(lab, after)


def _ways(case: Case) -> list[dict[str, str]]:
    """The settings of each model that may change its answers; none where a model cannot be run plainly."""
    gpu = decoding_gpu(case.plan)
    return [chosen(model, gpu) for model in comparable_models(case.plan.models, gpu)]


def _each(case: Case, call: _Call) -> Iterator[HeldAnswers]:
    gpu = decoding_gpu(case.plan)
    for model in comparable_models(case.plan.models, gpu):
        answers = kept(model, case.workload.input, gpu)
        if answers is None:
            try:
                answers = call([model], held, model, case.workload.input, gpu)
            except FramepaceError as error:  # also of a process that died
                answers = not_held(model, error, gpu)
        yield answers
