"""Device time between two events, read with the interpreter lock held."""

from __future__ import annotations

import ctypes
from typing import Any

_DRIVER = "libcuda.so.1"


class EventTimes:
    """Reads it through ctypes: the driver answers in a microsecond, and never waits.

    cuda-core lets the interpreter lock go for each reading (cuda_core/cuda/core/_event.pyx, `__sub__`), four times a
    request, and each time another worker may take it first. The first reading is held against cuda-core's own; where
    they differ, or there is no such function, cuda-core's are used.

    Args:
        library: a driver's library to use instead of the machine's.
    """

    def __init__(self, library: Any = None) -> None:
        self._read = _function(library)
        self._ms = ctypes.c_float()
        self._out = ctypes.byref(self._ms)
        self._handles: dict[int, tuple[int, Any]] = {}  # with the event, whose id is its own as long as it lives
        self._checked = False

    def between(self, first: Any, second: Any) -> float:
        """From one event to another, ms. Raises what cuda-core does for events that were not reached."""
        handles = self._handles
        try:
            given = handles[id(first)][0], handles[id(second)][0]
        except KeyError:
            self._remember(first, second)
            return self.between(first, second)
        if self._read is None or self._read(self._out, *given) != 0 or not self._checked:
            return self._by_library(first, second)
        return self._ms.value

    def _remember(self, *events: Any) -> None:
        for event in events:
            self._handles[id(event)] = (int(event.handle), event)

    def _by_library(self, first: Any, second: Any) -> float:
        """By cuda-core, whose words an error has; from here on by the driver where it reads the same."""
        expected = float(second - first)
        if not self._checked:
            self._checked = True
            if self._read is not None and self._ms.value != expected:
                self._read = None
        return expected


def _function(library: Any) -> Any | None:
    """The driver's function, called with the interpreter lock held; None where there is none."""
    try:
        function = (library or ctypes.PyDLL(_DRIVER)).cuEventElapsedTime
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    function.restype = ctypes.c_int
    return function
