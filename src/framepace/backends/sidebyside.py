"""Whether requests of a worker answer the same when all run at once as when each runs alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.backends.base import Tensors, Worker
from framepace.backends.requestgraphs import differing

_TURNS = 3
Answers = Mapping[str, NDArray[Any]]


def disagreeing(worker: Worker, count: int) -> Sequence[str]:
    """Names of the outputs of `count` items that differ, where those of requests alone do not differ from each other.

    Each slot gets inputs of its own, for a race between equal requests shows nowhere; what was there is put back.
    """
    with _varied(worker):
        alone = _alone(worker, count)
        wrong = {name for _ in range(_TURNS) for name in _wrong(alone, _together(worker, count))}
        return sorted(wrong.difference(_wrong(alone, _alone(worker, count))))


@contextmanager
def _varied(worker: Worker) -> Iterator[None]:
    """Inside, each slot has inputs of its own."""
    before = [_copied(worker.staging(slot)) for slot in range(worker.slots)]
    for slot in range(worker.slots):
        _vary(worker.staging(slot), slot)
    try:
        yield
    finally:
        for slot, inputs in enumerate(before):
            for name, array in inputs.items():
                worker.staging(slot)[name][...] = array


def _copied(tensors: Tensors) -> dict[str, NDArray[Any]]:
    return {name: array.copy() for name, array in tensors.items()}


def _vary(inputs: Tensors, slot: int) -> None:
    """Numbers of its own for a slot; whole numbers stay, which may be places or lengths."""
    for array in inputs.values():
        if array.dtype.kind == "f":
            array[...] = np.random.default_rng(slot).random(array.shape)


def _alone(worker: Worker, count: int) -> list[Answers]:
    """What each slot answers alone."""
    answers: list[Answers] = []
    for slot in range(worker.slots):
        worker.enqueue(slot, count)
        answers.append(_copied(worker.wait(slot)))
    return answers


def _together(worker: Worker, count: int) -> list[Answers]:
    for slot in range(worker.slots):
        worker.enqueue(slot, count)
    return [_copied(worker.wait(slot)) for slot in range(worker.slots)]


def _wrong(expected: Sequence[Answers], got: Sequence[Answers]) -> set[str]:
    return {name for one, other in zip(expected, got, strict=True) for name in differing(one, other)}
