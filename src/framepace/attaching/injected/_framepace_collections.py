"""A row for each garbage collection. Standard library only.

Python runs handlers of signals at the first instruction after a collection. For one that it makes by itself that is in
the callback here, where an exception of the handler (that of Ctrl-C) would be lost: it is raised again. One that the
program asks for is timed around the call, where such an exception goes its way.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from _framepace_timing import looks_like

if TYPE_CHECKING:
    from _framepace_probe import Probe

_LATER_S = 0.001
_sleep = time.sleep


def watch_collections(probe: Probe) -> None:
    """Begin."""
    number = probe.number_of("gc", "gc")
    began = [0]

    def watch(phase: str, info: dict[str, int]) -> None:
        now = time.perf_counter_ns()
        if phase == "start":
            began[0] = now
        else:
            probe.add_row(number, began[0], now, info.get("generation", 0))

    others = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if unraisable.object is watch:
            _thread.start_new_thread(_raise_later, (_thread.get_ident(), unraisable.exc_type))
        else:
            others(unraisable)

    gc.callbacks.append(watch)
    gc.collect = _timed(probe, number, watch)
    sys.unraisablehook = hook


def _timed(probe: Probe, number: int, watch: Callable[..., None]) -> Any:
    """What the program calls to collect."""
    original = gc.collect

    def collect(*arguments: Any, **options: Any) -> int:
        with contextlib.suppress(ValueError):  # another thread collects too
            gc.callbacks.remove(watch)
        begin = time.perf_counter_ns()
        try:
            return original(*arguments, **options)
        finally:
            probe.add_row(number, begin, time.perf_counter_ns())
            if watch not in gc.callbacks:
                gc.callbacks.append(watch)

    return looks_like(collect, original)


def _raise_later(thread: int, kind: type[BaseException]) -> None:
    """Raise an exception in a thread, which has left the hook by then."""
    import ctypes

    _sleep(_LATER_S)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))
