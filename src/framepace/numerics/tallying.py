"""Outputs of two ways to run a model held against each other, frame by frame, and the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from framepace.analyze.agreement import Tally, judged, metric_scores
from framepace.backends.base import Tensors
from framepace.errors import ModelError
from framepace.facts.accuracy import Agreement, Gate, OutputAgreement
from framepace.numerics.metrics import Metric, optional_metric
from framepace.progress import Tell, silent

LEAST = 0.99  # of a metric, on average over the frames


class Numbers(msgspec.Struct):
    """The numbers in the cache, without a verdict, so that another gate needs no other run."""

    frames: int
    outputs: tuple[OutputAgreement, ...]
    scores: tuple[float | None, ...] = ()  # of a metric
    notes: tuple[str, ...] = ()
    complete: bool = True


def agreement_of(
    outputs: Iterable[tuple[Tensors, Tensors]],
    count: int,
    gate: Gate,
    *,
    metric: str | None = None,
    least: float = LEAST,
    tell: Tell = silent,
    stoppable: bool = False,
) -> Agreement:
    """`gate.agreement` of outputs that are there already: pairs of both ways', of `count` frames."""
    return verdict(tallied(outputs, count, tell, optional_metric(metric, stoppable), stoppable), gate, metric, least)


def verdict(numbers: Numbers, gate: Gate, metric: str | None, least: float) -> Agreement:
    """What a gate, or a metric in place of it, makes of the numbers."""
    if metric is None:
        made = judged(numbers.frames, numbers.outputs, gate)
        return replace(made, notes=(*made.notes, *numbers.notes), complete=numbers.complete)
    scores = metric_scores(metric, numbers.scores, least, numbers.notes)
    return replace(judged(numbers.frames, numbers.outputs, gate, scores), complete=numbers.complete)


def tallied(
    outputs: Iterable[tuple[Tensors, Tensors]], count: int, tell: Tell, metric: Metric, stoppable: bool = False
) -> Numbers:
    """The numbers of all outputs; where it is `stoppable`, of those before Ctrl-C, if there are any.

    Args:
        outputs: pairs of the reference's and the candidate's for each frame.
    """
    tallies: dict[str, Tally] = {}
    scores: list[float | None] = []
    notes: tuple[str, ...] = ()
    try:
        for done, (expected, made) in enumerate(outputs, 1):
            actual = _as_named(expected, made)
            notes = tuple(_renamed(expected, made))
            _add(tallies, expected, actual)
            scores.append(metric.score(expected, actual))
            tell("comparing outputs", done / count)
    except KeyboardInterrupt:
        if not (stoppable and scores):
            raise
    results = tuple(tally.result() for tally in tallies.values())
    notes = (*notes, *metric.notes())
    return Numbers(len(scores), results, tuple(scores), notes, complete=len(scores) == count)


def _as_named(expected: Tensors, actual: Tensors) -> Tensors:
    """The candidate's outputs by the reference's names: where a converter gave others, in their order.

    Raises ModelError where there are more or fewer.
    """
    if expected.keys() == actual.keys():
        return actual
    if len(expected) != len(actual):
        problem = "the outputs are not those of the reference"
        fix = "compare two forms of the same model"
        raise ModelError(problem, got=list(actual), expected=list(expected), fix=fix)
    return dict(zip(expected, actual.values(), strict=True))


def _renamed(expected: Tensors, actual: Tensors) -> Iterator[str]:
    """Which output is held against which, where their names differ."""
    if expected.keys() != actual.keys():
        pairs = ", ".join(f"{other} with {name}" for name, other in zip(expected, actual, strict=True))
        yield f"outputs have other names, and are compared in their order: {pairs}"


def _add(tallies: dict[str, Tally], expected: Tensors, actual: Tensors) -> None:
    for name, values in expected.items():
        tallies.setdefault(name, Tally(name)).add(values, actual[name])
