"""Functions that add a row for each call of another. Standard library only.

A call of the program comes after milliseconds in which its model took the caches: what it runs through here is cold, so
that each function of Python more costs some microseconds. Hence one function per call, and no more.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from _framepace_marks import FRAME

if TYPE_CHECKING:
    from _framepace_probe import Probe

FAILED = -1  # the value of a call that brought no picture
RAISED = -2  # less the value: that of a call that raised


class Numbers:
    """Numbers for the objects whose method is timed: the last number of a row.

    `known` holds them by the object's id. `wanted` says by number how many more results `keep` is to be given.
    """

    is_result: Callable[[Any], Any] | None = None  # from what was returned: whether it is a result

    def __init__(self) -> None:
        self.known: dict[int, int] = {}
        self.wanted: dict[int, int] = {}

    def number(self, source: Any) -> int:
        """The number of an object, also of a new one."""
        raise NotImplementedError

    def keep(self, number: int, arguments: tuple[Any, ...], options: dict[str, Any], result: Any) -> None:
        """A call whose result is wanted."""


def timed_function(probe: Probe, function: Callable[..., Any], number: int) -> Callable[..., Any]:
    """The function, with a row for each call."""
    add = probe.add
    clock = time.perf_counter_ns
    thread = threading.get_ident
    frame = FRAME.get

    def timed(*arguments: Any, **options: Any) -> Any:
        begin = clock()
        try:
            result = function(*arguments, **options)
        except Exception:  # what Ctrl-C cut off has not failed
            add((number, begin, clock(), thread(), RAISED, frame()))
            raise
        add((number, begin, clock(), thread(), 0, frame()))
        return result

    return looks_like(timed, function)


def timed_method(probe: Probe, function: Callable[..., Any], number: int, numbers: Numbers) -> Callable[..., Any]:
    """The method, with a row for each call, whose last number is that of its object."""
    add = probe.add
    clock = time.perf_counter_ns
    thread = threading.get_ident
    frame = FRAME.get
    known = numbers.known
    is_result = numbers.is_result
    wanted = numbers.wanted.get

    def timed(*arguments: Any, **options: Any) -> Any:
        begin = clock()
        try:
            result = function(*arguments, **options)
        except Exception:  # what Ctrl-C cut off has not failed
            add((number, begin, clock(), thread(), RAISED - _number(probe, numbers, arguments), frame()))
            raise
        end = clock()
        try:
            value = known[id(arguments[0])]
            if is_result is not None and not is_result(result):
                value = FAILED
        except Exception:
            value = _value(probe, numbers, arguments, result)
        add((number, begin, end, thread(), value, frame()))
        if wanted(value):
            with contextlib.suppress(Exception):  # an error of the probe is none of the program
                numbers.keep(value, arguments, options, result)
        return result

    return looks_like(timed, function)


def _value(probe: Probe, numbers: Numbers, arguments: tuple[Any, ...], result: Any) -> int:
    """The value of a call of a new object, or of one with a result that is not understood."""
    if numbers.is_result is not None and not (result and numbers.is_result(result)):
        return FAILED
    return _number(probe, numbers, arguments)


def _number(probe: Probe, numbers: Numbers, arguments: tuple[Any, ...]) -> int:
    """The number of an object; 0 where it has none: an error of the probe is none of the program."""
    try:
        return numbers.number(arguments[0])
    except Exception as error:
        probe.note(f"a call was not understood: {type(error).__name__}: {error}")
        return 0


def looks_like(timed: Callable[..., Any], function: Any) -> Callable[..., Any]:
    """The replacement with the name and the text of what it replaces, as far as those can be had."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        with contextlib.suppress(AttributeError, TypeError):
            setattr(timed, name, getattr(function, name))
    timed.__wrapped__ = function  # type: ignore[attr-defined]
    return timed
