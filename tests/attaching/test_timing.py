"""Rows of timed calls: what is written of one that returns, fails, or is cut off."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from framepace.attaching.calls import RAISED
from framepace.attaching.program import HOOK


class Probe:
    """Keeps rows and notes."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, ...]] = []
        self.notes: list[str] = []
        self.add = self.rows.append
        self.note = self.notes.append


def values(
    monkeypatch: pytest.MonkeyPatch, method: Callable[[Any], Any], is_result: Any = None
) -> tuple[list[int], Any]:
    """The last numbers of the rows of a call of an object whose number is 3, and what came of it."""
    monkeypatch.setattr(sys, "path", [str(HOOK), *sys.path])
    from _framepace_timing import Numbers, timed_method

    class Three(Numbers):  # type: ignore[misc]
        """Everything is number 3."""

        def number(self, source: Any) -> int:
            """It."""
            return 3

    probe = Probe()
    numbers = Three()
    numbers.is_result = is_result
    try:
        came = timed_method(probe, method, 0, numbers)(object())
    except BaseException as error:
        came = type(error)
    return [row[4] for row in probe.rows], came


def raising(kind: type[BaseException]) -> Callable[[Any], Any]:
    """A method that raises."""

    def method(_: Any) -> None:
        raise kind

    return method


def test_a_call_that_returns_has_the_number_of_its_object(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that found no picture says so, whatever it returned."""
    assert values(monkeypatch, lambda _: "answer") == ([3], "answer")
    assert values(monkeypatch, lambda _: (False, None), is_result=lambda result: result[0]) == ([-1], (False, None))
    assert values(monkeypatch, lambda _: None, is_result=lambda result: result[0]) == ([-1], None)


def test_a_call_that_raises_has_failed_and_one_that_ctrl_c_cut_off_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both reach the program."""
    assert values(monkeypatch, raising(ValueError)) == ([RAISED - 3], ValueError)
    assert values(monkeypatch, raising(KeyboardInterrupt)) == ([], KeyboardInterrupt)
