"""Sizes and numbers with which a network runs, found by running it: the answer to a question that is asked anyway.

A file leaves sizes open that its network does not take all of: a recogniser of a fixed height, a voice detector of 512
samples at 16 kHz, a state as large as a quarter of the picture. Usual sizes are tried, the most usual first.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.model import TensorSpec
from framepace.interrupts import INFERENCE_S, ended_after
from framepace.models.dtypes import dtype_of, is_float
from framepace.models.gridsizes import grid_sides
from framepace.models.inputs import draw
from framepace.models.sideinputs import fitted, read_value

Sizes = tuple[int, ...]
Arrays = Mapping[str, NDArray[Any]]
_PICTURES = (
    (480, 640),
    (224, 224),
    (320, 320),
    (64, 160),
    (256, 256),
    (64, 64),
    (48, 320),
    (384, 384),
)  # height, width
_LINE = 5  # width over height of a picture whose height alone is fixed: a line of text
_SAMPLES = (512, 16_000, 256, 1536, 80, 64)  # of sound, on the open axis of two
_LENGTHS = (16, 1, 8, 32, 64, 128)
_NUMBERS = (None, 16_000, 8_000, 1, 16)  # of an input of one whole number; None: whatever it holds
_RATE = re.compile(r"(^|_)(sr|\w*rate|freq\w*)$", re.IGNORECASE)
_RATES = (16_000, 8_000, None)
_SIZE = re.compile(r"size|shape", re.IGNORECASE)
_SIZE_VALUES = (480, 640)  # of an input of two numbers that is called a size
_CLIPS = ((112, 112), (224, 224), (64, 64))  # pictures of a clip
_MOST_TRIES = 40
_LONGEST_S = 6.0  # of work in this thread: no try begins later
_LONGEST_WAIT_S = 30.0  # on a machine that others use, too
_MOST_BYTES = 1 << 29  # a larger model is not loaded for a question
_REMEDY = "say the sizes, which are not tried then (--size WIDTHxHEIGHT, --shape INPUT=SIZES)"
_LIKE_ENOUGH = 0.5  # of the names of a state's input and output


@dataclass(frozen=True)
class OpenInput:
    """An input: its shape with a batch of one and names where sizes are open, the axes of height and width.

    `value` is what the plan gives it, as it is typed.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    sides: tuple[int, ...] = ()
    value: str | None = None

    def apart(self) -> OpenInput:
        """With names of its own for its open axes, unless it takes pictures."""
        if self.sides:
            return self
        own = (f"{self.name} {size}" if isinstance(size, str) and size != "?" else size for size in self.shape)
        return replace(self, shape=tuple(own))

    @property
    def is_number(self) -> bool:
        """Whether it takes one whole number, and nobody gave it."""
        return self.value is None and "int" in self.dtype and all(size == 1 for size in self.shape) and not self.sides

    @property
    def is_size(self) -> bool:
        """Whether it takes the size of a picture as two numbers, and nobody gave it."""
        pair = [size for size in self.shape if size != 1] == [2]
        return pair and self.value is None and not self.sides and _SIZE.search(self.name) is not None

    @property
    def is_open(self) -> bool:
        """Whether sizes are left open."""
        return any(isinstance(size, str) for size in self.shape)


@dataclass(frozen=True)
class Question:
    """A network and its inputs; `states` are pairs of an input and the output that comes back to it."""

    location: str
    sha256: str
    inputs: tuple[OpenInput, ...]
    outputs: tuple[str, ...]
    states: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Answer:
    """Shapes of all inputs with which the network runs, and the numbers that it needs in some, in their order."""

    shapes: Mapping[str, Sizes]
    numbers: Mapping[str, Sizes]


@dataclass(frozen=True)
class _Try:
    """What stands in for open sizes: of pictures, of sound, of anything else; and a number."""

    picture: tuple[int, int]
    samples: int
    length: int
    number: int | None

    def answer(self, question: Question) -> Answer:
        """The inputs with these sizes, those of one name alike."""
        named: dict[str, int] = {}
        shapes = {tensor.name: self._shape(tensor, named) for tensor in question.inputs}
        numbers: dict[str, Sizes] = {tensor.name: _SIZE_VALUES for tensor in question.inputs if tensor.is_size}
        if self.number is not None:
            numbers |= {tensor.name: (self.number,) for tensor in question.inputs if tensor.is_number}
        return Answer(shapes, numbers)

    def _shape(self, tensor: OpenInput, named: dict[str, int]) -> Sizes:
        sizes = []
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, str):
                usual = self._size(tensor, axis)
                size = usual if size == "?" else named.setdefault(size, usual)
            sizes.append(size)
        return tuple(sizes)

    def _size(self, tensor: OpenInput, axis: int) -> int:
        if axis in tensor.sides:
            return side(tensor, axis, self.picture)
        if len(tensor.shape) == 2 and is_float(tensor.dtype):
            return self.samples
        return self.length


def side(tensor: OpenInput, axis: int, picture: tuple[int, int]) -> int:
    """A side of a picture; of one whose height is fixed, that of a line of text."""
    height = tensor.shape[tensor.sides[0]]
    if isinstance(height, int) and axis == tensor.sides[1]:
        return height * _LINE
    return picture[tensor.sides.index(axis)]


def usual(question: Question) -> Answer:
    """The most usual sizes of those that were not tried; the most usual ones where there are no others."""
    tries = list(_tries(question))
    _, count = _searched(question)
    untried = tries[count:] or tries
    return untried[0].answer(question)


def rehearsed(question: Question) -> Answer | None:
    """Sizes and numbers with which the network runs; None where none were found, or it cannot be tried here."""
    return _searched(question)[0]


@lru_cache(maxsize=32)
def _searched(question: Question) -> tuple[Answer | None, int]:
    """The answer, and how many sizes were tried."""
    session = _session(question.location)
    if session is None:
        return None, 0
    is_over = _time_limit()
    count = 0
    for attempt in itertools.islice(_tries(question), _MOST_TRIES):
        if count and is_over():
            break
        count += 1
        answer = attempt.answer(question)
        outputs = _run(session, question, answer)
        if outputs is not None:
            return _with_states(session, question, answer, outputs), count
    return None, count


def _time_limit() -> Callable[[], bool]:
    """Whether no try begins any more. Work counts and not the time, most of which other programs may have."""
    worked = time.thread_time()
    began = time.monotonic()
    return lambda: time.thread_time() - worked > _LONGEST_S or time.monotonic() - began > _LONGEST_WAIT_S


def _tries(question: Question) -> Iterator[_Try]:
    """Every combination of sizes that matter, those closest to the most usual ones first."""
    kinds: tuple[Sequence[Any], ...] = (
        _pictures(question),
        _SAMPLES if any(_is_sound(t) for t in question.inputs) else _SAMPLES[:1],
        _LENGTHS if any(_has_length(t) for t in question.inputs) else _LENGTHS[:1],
        _numbers(question),
    )
    places = itertools.product(*(range(len(kind)) for kind in kinds))
    for chosen in sorted(places, key=sum):
        yield _Try(*(kind[place] for kind, place in zip(kinds, chosen, strict=True)))


def _pictures(question: Question) -> Sequence[tuple[int, int]]:
    pictures = [tensor for tensor in question.inputs if tensor.sides and tensor.is_open]
    if any(len(tensor.shape) > 4 for tensor in pictures):
        return _CLIPS
    if not pictures:
        return _PICTURES[:1]
    likely = [(side, side) for side in grid_sides(question.location)]
    return tuple(dict.fromkeys([*likely, *_PICTURES]))


def _numbers(question: Question) -> Sequence[int | None]:
    names = [tensor.name for tensor in question.inputs if tensor.is_number]
    if not names:
        return (None,)
    if any(_RATE.search(name) for name in names):
        return _RATES
    return _NUMBERS


def _is_sound(tensor: OpenInput) -> bool:
    return tensor.is_open and len(tensor.shape) == 2 and is_float(tensor.dtype)


def _has_length(tensor: OpenInput) -> bool:
    others = [size for axis, size in enumerate(tensor.shape) if axis not in tensor.sides]
    return not _is_sound(tensor) and any(isinstance(size, str) for size in others)


def _session(location: str) -> Any:
    """The network on the CPU, without a word in the terminal; None where it is not to be had."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        if os.path.getsize(location) > _MOST_BYTES:
            return None
        return ort.InferenceSession(location, options, providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime's own classes: whatever is wrong with the file is said when it is loaded
        return None


def _run(session: Any, question: Question, answer: Answer) -> dict[str, NDArray[Any]] | None:
    """The outputs with these sizes and numbers; None where the network does not run with them."""
    try:
        with ended_after(INFERENCE_S, "the first inference of the model", _REMEDY):
            results = session.run(list(question.outputs), _feed(question, answer))
    except Exception:  # as above
        return None
    return dict(zip(question.outputs, results, strict=True))


def _feed(question: Question, answer: Answer) -> Arrays:
    return {tensor.name: _array(tensor, answer) for tensor in question.inputs}


def _array(tensor: OpenInput, answer: Answer) -> NDArray[Any]:
    """What an input gets: the value of the plan, a number that is tried, or what is made up."""
    shape = answer.shapes[tensor.name]
    if tensor.value is not None:
        spec = TensorSpec(name=tensor.name, dtype=tensor.dtype, shape=shape)
        value = fitted(tensor.name, read_value(tensor.name, tensor.value), spec, None)
        first: NDArray[Any] = value.frames[0]
        return first
    array = np.empty(shape, dtype_of(tensor.dtype))
    draw(array, np.random.default_rng(0))
    if tensor.name in answer.numbers:
        array[...] = np.reshape(answer.numbers[tensor.name], shape)
    return array


def _with_states(session: Any, question: Question, answer: Answer, outputs: Arrays) -> Answer:
    """The answer with open states of the shapes that come back, where the network then gives the same shapes again."""
    pairs = dict(question.states) or _likely_states(question, outputs)
    back = {name: np.shape(outputs[output]) for name, output in pairs.items()}
    if all(answer.shapes[name] == shape for name, shape in back.items()):
        return answer
    fed_back = Answer({**answer.shapes, **back}, answer.numbers)
    again = _run(session, question, fed_back)
    if again is None or any(np.shape(again[pairs[name]]) != shape for name, shape in back.items()):
        return answer
    return fed_back


def _likely_states(question: Question, outputs: Arrays) -> dict[str, str]:
    """For each open input that is no picture, the output that is called like it and may be fed back."""
    pairs = {}
    for tensor in question.inputs:
        fitting = [name for name, output in outputs.items() if _fits(np.shape(output), tensor.shape)]
        if not fitting or tensor.sides or not tensor.is_open or not is_float(tensor.dtype):
            continue
        best = max(fitting, key=lambda name: _likeness(tensor.name, name))
        if _likeness(tensor.name, best) >= _LIKE_ENOUGH:
            pairs[tensor.name] = best
    return pairs


def _likeness(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def _fits(shape: Sizes, declared: tuple[int | str, ...]) -> bool:
    if len(shape) != len(declared):
        return False
    return all(isinstance(size, str) or size == actual for size, actual in zip(declared, shape, strict=True))
