"""Whether two runs of a program answered the same to the same inputs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec

from framepace.facts.programtrial import Answers

_TOLERANCE = 1e-3  # of the largest value: sums in another order differ by a hundredth of that


class Output(msgspec.Struct, frozen=True):
    """Values from all over an output; None for what is not finite."""

    shape: tuple[int, ...]
    values: tuple[float | None, ...]


class Answer(msgspec.Struct, frozen=True):
    """What a model answered to an input, which is known by its checksum, and in which arm (see `turns`)."""

    input: int
    outputs: tuple[Output, ...]
    arm: int = 0


@dataclass
class Compared:
    """The answers of runs with a setting against those of runs as it is, to the same inputs.

    An input to which the program as it is answers now this and now that decides nothing.
    """

    _as_it_is: dict[int, Answer] = field(default_factory=dict)
    _unsteady: set[int] = field(default_factory=set)
    _same: set[int] = field(default_factory=set)
    _changed: set[int] = field(default_factory=set)

    def add(self, before: Iterable[Answer], after: Iterable[Answer]) -> None:
        """A run as it is, and one with the setting."""
        for answer in before:
            if not agree(self._as_it_is.setdefault(answer.input, answer), answer):
                self._unsteady.add(answer.input)
        for answer in after:
            known = self._as_it_is.get(answer.input)
            if known is not None:
                (self._same if agree(known, answer) else self._changed).add(answer.input)

    @property
    def verdict(self) -> Answers:
        """Of the inputs that decide; not compared where there is none."""
        if self._changed - self._unsteady:
            return "changed"
        return "same" if self._same - self._unsteady else "not compared"


def agree(a: Answer, b: Answer) -> bool:
    """Whether two answers are the same but for the order of sums."""
    if len(a.outputs) != len(b.outputs):
        return False
    return all(_alike(one, other) for one, other in zip(a.outputs, b.outputs, strict=True))


def _alike(a: Output, b: Output) -> bool:
    if a.shape != b.shape or len(a.values) != len(b.values):
        return False
    return all(_near(x, y, _largest(a.values)) for x, y in zip(a.values, b.values, strict=True))


def _largest(values: Sequence[float | None]) -> float:
    return max((abs(value) for value in values if value is not None), default=0.0)


def _near(a: float | None, b: float | None, largest: float) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= _TOLERANCE * largest
