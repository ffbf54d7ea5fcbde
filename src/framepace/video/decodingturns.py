"""Turns at decoding on the host: at most as many threads decode at once as there are cores.

More decode no faster. But each asks for the interpreter lock again after every picture, and the lock goes round: where
64 sources decode without a pause, a worker has it once in 65 turns.
"""

from __future__ import annotations

import os
import threading
import time

__all__ = ["DecodingTurns", "decoding_turn"]

_PATIENCE_S = 5.0  # for a turn; where none ends for so long, a decoder hangs
_SLICE_S = 0.003  # as schedulers have them: a decoder that goes on finds its pictures in the caches


class DecodingTurns:
    """A context manager that is entered by `count` threads at most; others wait in line, without the interpreter lock.

    A thread may have turn after turn for `slice_s`; then whoever is first in the line is next. Else the threads that
    are at it would have all turns, and other sources none. Who has waited for `patience_s` takes the oldest turn over,
    so that a decoder that hangs stops no other.
    """

    def __init__(self, count: int, patience_s: float = _PATIENCE_S, slice_s: float = _SLICE_S) -> None:
        self._count = count
        self._patience_s = patience_s
        self._slice_s = slice_s
        self.renew()

    def renew(self) -> None:
        """All turns are free again: for a process that was forked, whose other threads have gone."""
        self._changing = threading.Lock()
        self._inside: dict[int, None] = {}  # threads, in the order of their turns
        self._line: dict[int, threading.Event] = {}  # threads, and what calls them
        self._own = threading.local()

    @property
    def inside(self) -> int:
        """How many threads have a turn."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """How many threads are in the line."""
        return len(self._line)

    def __enter__(self) -> None:
        thread = threading.get_ident()
        with self._changing:
            if len(self._inside) < self._count:
                self._inside[thread] = None
                return
            called = self._line[thread] = threading.Event()
        while called.wait(self._patience_s):
            if self._comes_in(thread):
                return
        self._take_over(thread)

    def __exit__(self, *_: object) -> None:
        with self._changing:
            if self._inside.pop(threading.get_ident(), self) is self:  # it was taken over
                return
            if self._line and time.monotonic() - getattr(self._own, "since", 0.0) >= self._slice_s:
                self._admit(next(iter(self._line))).set()
            self._call()

    def _comes_in(self, thread: int) -> bool:
        """Whether a thread that was called has a turn, or may have one; otherwise it sleeps on."""
        with self._changing:
            if thread in self._line:
                if len(self._inside) >= self._count:
                    self._line[thread].clear()
                    return False
                self._admit(thread)
            self._call()
            self._own.since = time.monotonic()
            return True

    def _take_over(self, thread: int) -> None:
        """Take the turn that began first, unless the thread has been given one just now."""
        with self._changing:
            if thread in self._line:
                del self._inside[next(iter(self._inside))]
                self._admit(thread)

    def _call(self) -> None:
        """Wake whoever is first in the line, where there is a turn for it."""
        if self._line and len(self._inside) < self._count:
            next(iter(self._line.values())).set()

    def _admit(self, thread: int) -> threading.Event:
        """Give a thread that waits a turn; what calls it."""
        self._inside[thread] = None
        return self._line.pop(thread)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


decoding_turn = DecodingTurns(_cores())
"""The turns of this process: nothing that waits for a disk, a network or a camera belongs inside."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=decoding_turn.renew)
