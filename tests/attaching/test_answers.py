"""Answers of a program's models: whether runs agree, and what is kept of them."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from framepace.attaching.answers import Answer, Compared, Output
from framepace.attaching.program import HOOK


def answer(*values: float | None, number: int = 1) -> Answer:
    """One output to the input of that number."""
    return Answer(number, (Output((len(values),), values),))


def verdict(before: list[Answer], after: list[Answer]) -> str:
    """Of one run on each side."""
    compared = Compared()
    compared.add(before, after)
    return compared.verdict


def test_sums_in_another_order_are_the_same_and_another_value_is_not() -> None:
    """A hundred-thousandth of the largest value; a hundredth."""
    assert verdict([answer(1.0, 1e-9)], [answer(1.00001, 2e-9)]) == "same"
    assert verdict([answer(1.0, 0.0)], [answer(1.0, 0.01)]) == "changed"
    assert verdict([answer(None, 1.0)], [answer(None, 1.0)]) == "same"
    assert verdict([answer(None, 1.0)], [answer(1.0, 1.0)]) == "changed"


def test_another_shape_is_another_answer() -> None:
    """One box fewer."""
    assert verdict([answer(1.0, 1.0)], [answer(1.0)]) == "changed"


def test_other_inputs_decide_nothing() -> None:
    """A camera that shows something else."""
    assert verdict([answer(1.0, number=1)], [answer(2.0, number=2)]) == "not compared"


def test_a_program_that_answers_now_this_and_now_that_is_not_blamed_on_the_setting() -> None:
    """The second run as it is differs from the first; the other input is steady."""
    compared = Compared()
    compared.add([answer(1.0), answer(5.0, number=2)], [answer(3.0), answer(5.0, number=2)])
    verdicts = [compared.verdict]
    compared.add([answer(2.0)], [])
    assert [*verdicts, compared.verdict] == ["changed", "same"]


def test_what_is_kept_tells_inputs_apart_and_is_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first calls of a model; infinities as None, since JSON has none; texts are left out."""
    monkeypatch.setattr(sys, "path", [str(HOOK), *sys.path])
    from _framepace_answers import CALLS, Answers

    answers = Answers()
    answers.expect(0)
    for number in range(CALLS + 4):
        if answers.wanted[0]:
            outputs = [np.array([1.0, math.inf, math.nan], np.float32), np.array(["text"])]
            answers.keep(0, {"image": np.full((1, 3, 64, 64), number % 4, np.float32)}, outputs)
    assert len(answers.kept) == CALLS
    assert len({kept["input"] for kept in answers.kept}) == 4
    assert answers.kept[0]["outputs"] == [{"shape": [3], "values": [1.0, None, None]}]
