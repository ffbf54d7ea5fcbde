"""A Python function as a sink: called with each result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from framepace.errors import PlanError, SinkError
from framepace.facts.running import Result
from framepace.hooks import hook_function
from framepace.sinks.base import ResultSink
from framepace.sinks.sinktext import SinkText


class Callback(ResultSink):
    """Calls 'module:function' with one Result at a time, with its picture unless `pictures=no`.

    What the function raises costs that result; one that does not return holds up this sink alone.
    """

    batch = 1
    linger_s = 0.0
    capacity = 32

    def __init__(self, text: SinkText) -> None:
        text.check_options(("pictures",))
        self.name = text.name
        self.wants_pictures = text.choice("pictures", ("yes", "no")) == "yes"
        self._place = text.place
        self._function: Callable[[Result], Any] | None = None

    def open(self) -> None:
        """Import the function. Raises SinkError."""
        try:
            self._function = hook_function(self._place)
        except PlanError as error:
            raise SinkError(error.what, got=error.got, expected=error.expected, fix=error.fix) from error

    def write(self, results: Sequence[Result]) -> None:
        """Call the function with each. Raises whatever it raises."""
        assert self._function is not None
        for result in results:
            try:
                self._function(result)
            except SystemExit as error:  # would end the sink's thread without a word
                raise SinkError(f"{self._place} called sys.exit", got=error.code) from error

    def close(self) -> None:
        """Nothing to free."""


class Function(ResultSink):
    """Calls a Python function with one Result at a time, with its picture; see Callback."""

    batch = 1
    linger_s = 0.0
    capacity = 32
    wants_pictures = True

    def __init__(self, function: Callable[[Result], Any]) -> None:
        self.name = getattr(function, "__qualname__", type(function).__name__)
        self._function = function

    def open(self) -> None:
        """Nothing to make ready."""

    def write(self, results: Sequence[Result]) -> None:
        """Call the function with each. Raises whatever it raises."""
        for result in results:
            self._function(result)

    def close(self) -> None:
        """Nothing to free."""
