"""A Python function as a sink: called with each result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property, partial
from typing import Any

from numpy.typing import NDArray

from framepace.errors import PlanError, SinkError
from framepace.facts.running import Result
from framepace.hooks import hook_function
from framepace.sinks.base import ResultSink
from framepace.sinks.pictures import Pictures
from framepace.sinks.sinktext import SinkText


class Pictured(Result):
    """A result whose picture becomes uint8 RGB [height, width, 3] when it is first looked at, by any thread.

    Most functions look at few: an array of a picture of 1920x1080 takes 7 ms.
    """

    _array: Callable[[], NDArray[Any]]

    @classmethod
    def of(cls, result: Result, pictures: Pictures) -> Pictured:
        """The result, with `pictures` to make the array."""
        made = cls.__new__(cls)
        vars(made).update(vars(result))
        vars(made)["_array"] = partial(pictures, vars(made).pop("picture"))
        return made

    @cached_property
    def picture(self) -> Any:
        """See Result."""
        array = self._array()
        vars(self)["_array"] = lambda: array  # lets the frame go, which may be in the memory of a GPU
        return array

    def __repr__(self) -> str:
        return super().__repr__().replace(type(self).__qualname__, Result.__qualname__, 1)

    def __reduce__(self) -> tuple[Any, ...]:
        return Result, tuple(getattr(self, field.name) for field in fields(Result))


class Function(ResultSink):
    """Calls a function with one Result at a time, whose picture is uint8 RGB [height, width, 3] once it is looked at.

    What the function raises costs that result; one that does not return holds up this sink alone.
    """

    batch = 1
    linger_s = 0.0
    capacity = 32
    wants_pictures = True

    def __init__(self, function: Callable[[Result], Any]) -> None:
        self.name = getattr(function, "__qualname__", type(function).__name__)
        self._function = function
        self._pictures = Pictures()

    def open(self) -> None:
        """Nothing to make ready."""

    def write(self, results: Sequence[Result]) -> None:
        """Call the function with each. Raises whatever it raises."""
        for result in results:
            if result.picture is not None:
                result = Pictured.of(result, self._pictures)
            try:
                self._function(result)
            except SystemExit as error:  # would end the sink's thread without a word
                raise SinkError(f"it called sys.exit({error.code})") from error

    def close(self) -> None:
        """Nothing to free."""


class Callback(Function):
    """Calls 'module:function', which is imported when the sink is opened; without pictures with `pictures=no`."""

    def __init__(self, text: SinkText) -> None:
        text.check_options(("pictures",))
        super().__init__(_not_imported)
        self.name = text.name
        self.wants_pictures = text.choice("pictures", ("yes", "no")) == "yes"
        self._place = text.place

    def open(self) -> None:
        """Import the function. Raises SinkError."""
        try:
            self._function = hook_function(self._place)
        except PlanError as error:
            raise SinkError(error.what, got=error.got, expected=error.expected, fix=error.fix) from error


def _not_imported(result: Result) -> None:
    """Stands for the function until the sink is opened."""
