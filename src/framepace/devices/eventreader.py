"""What events say, read with the interpreter lock held: whether they were reached, and the time between two."""

from __future__ import annotations

import ctypes
from typing import Any

from framepace.devices.heldcalls import held


class EventReader:
    """Reads events through ctypes: the driver answers in a microsecond, and never waits.

    cuda-core lets the interpreter lock go for each reading, four times a request. The first time between two events is
    held against cuda-core's own; where they differ, or there is no such function, cuda-core's are used.

    Args:
        library: a driver's library to use instead of the machine's.
    """

    def __init__(self, library: Any = None) -> None:
        pointer = ctypes.c_void_p
        self._read = held("cuEventElapsedTime", pointer, pointer, pointer, library=library) or _silent
        self._query = held("cuEventQuery", pointer, library=library) or _silent
        self._ms = ctypes.c_float()
        self._out = ctypes.byref(self._ms)
        self._handles: dict[int, tuple[int, Any]] = {}  # with the event, whose id is its own as long as it lives
        self._checked = False

    def is_reached(self, event: Any) -> bool:
        """Whether an event was reached; False where the driver does not say, or tells an error."""
        entry = self._handles.get(id(event)) or self._remembered(event)
        return self._query(entry[0]) == 0

    def elapsed(self, first: Any, second: Any) -> float:
        """From one event to another, ns. Raises what cuda-core does for events that were not reached."""
        one = self._handles.get(id(first)) or self._remembered(first)
        other = self._handles.get(id(second)) or self._remembered(second)
        code = self._read(self._out, one[0], other[0])
        if code == 0 and self._checked:
            return self._ms.value * 1e6
        return self._by_library(first, second, code) * 1e6

    def _remembered(self, event: Any) -> tuple[int, Any]:
        self._handles[id(event)] = (int(event.handle), event)
        return self._handles[id(event)]

    def _by_library(self, first: Any, second: Any, code: int) -> float:
        """By cuda-core (ms), whose words an error has; from here on by the driver where it reads the same."""
        expected = float(second - first)
        if not self._checked and (code != 0 or self._ms.value != expected):
            self._read = _silent
        self._checked = True
        return expected


def _silent(*_: Any) -> int:
    """What stands for a function that the driver does not have, or that is not to be trusted."""
    return 1
