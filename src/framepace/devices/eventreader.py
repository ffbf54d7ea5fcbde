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
        self._read = held("cuEventElapsedTime", pointer, pointer, pointer, library=library)
        self._query = held("cuEventQuery", pointer, library=library)
        self._ms = ctypes.c_float()
        self._out = ctypes.byref(self._ms)
        self._handles: dict[int, tuple[int, Any]] = {}  # with the event, whose id is its own as long as it lives
        self._checked = False

    def is_reached(self, event: Any) -> bool:
        """Whether an event was reached; False where the driver does not say, or tells an error."""
        return self._query is not None and self._query(self._handle(event)) == 0

    def between(self, first: Any, second: Any) -> float:
        """From one event to another, ms. Raises what cuda-core does for events that were not reached."""
        given = self._handle(first), self._handle(second)
        if self._read is None or self._read(self._out, *given) != 0 or not self._checked:
            return self._by_library(first, second)
        return self._ms.value

    def _handle(self, event: Any) -> int:
        entry = self._handles.get(id(event))
        if entry is None:
            entry = self._handles[id(event)] = (int(event.handle), event)
        return entry[0]

    def _by_library(self, first: Any, second: Any) -> float:
        """By cuda-core, whose words an error has; from here on by the driver where it reads the same."""
        expected = float(second - first)
        if not self._checked:
            self._checked = True
            if self._read is not None and self._ms.value != expected:
                self._read = None
        return expected
