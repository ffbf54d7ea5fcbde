"""Stream capture on CUDA: events that a graph records in each launch, and graphs that another library captured."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

from framepace.devices.heldcalls import held


class CapturingStream:
    """A stream whose work is being captured. Its events become nodes: each launch of the graph records them anew.

    Without CU_EVENT_RECORD_EXTERNAL an event that is captured only orders work within the graph, and has no time; one
    that is awaited without CU_EVENT_WAIT_EXTERNAL must have been captured in the same graph (CUDA driver API,
    cuEventRecordWithFlags and cuStreamWaitEvent).
    """

    def __init__(self, handle: int, core: Any = None) -> None:
        from cuda.bindings import driver

        self.handle = handle
        self.core = core
        self._driver = driver
        self._record = int(driver.CUevent_record_flags.CU_EVENT_RECORD_EXTERNAL)
        self._wait = int(driver.CUevent_wait_flags.CU_EVENT_WAIT_EXTERNAL)

    def record(self, event: Any) -> None:
        """See Stream."""
        check(self._driver.cuEventRecordWithFlags(event.handle, self.handle, self._record))

    def wait(self, event: Any) -> None:
        """See Stream: each launch waits for what `event` was last recorded for when it is launched."""
        check(self._driver.cuStreamWaitEvent(self.handle, event.handle, self._wait))


class LibraryGraph:
    """See Graph: one that a library captured and frees by `free`; `executable` is its CUgraphExec as an int.

    Its first launch takes it to the device, which may last; those after it keep the interpreter lock.
    """

    def __init__(self, executable: int, free: Callable[[], None], library: Any = None) -> None:
        from cuda.bindings import driver

        self._driver = driver
        self._executable = executable
        self._free: Callable[[], None] | None = free
        self._again: Callable[[int, int], int] | None = None
        self._library = library

    def launch(self, stream: Any) -> None:
        """See Graph."""
        if self._again is None or self._again(self._executable, stream.handle) != 0:
            self._launch(stream)

    def _launch(self, stream: Any) -> None:
        """By the bindings, whose words an error has."""
        check(self._driver.cuGraphLaunch(self._driver.CUgraphExec(self._executable), stream.handle))
        self._again = held("cuGraphLaunch", ctypes.c_void_p, ctypes.c_void_p, library=self._library)

    def close(self) -> None:
        """See Graph."""
        if self._free is not None:
            self._free()
        self._free = None


def check(result: tuple[Any]) -> None:
    """Raise RuntimeError for the error of a call of the driver that returns nothing else."""
    (error,) = result
    if int(error) != 0:
        raise RuntimeError(f"{error.name} ({int(error)})")
