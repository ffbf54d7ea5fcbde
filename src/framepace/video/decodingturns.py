"""Turns at decoding on the host: at most as many threads decode at once as there are cores.

More decode no faster. But each asks for the interpreter lock again after every picture, and the lock goes round: where
64 sources decode without a pause, a worker has it once in 65 turns.
"""

from __future__ import annotations

import os
from queue import SimpleQueue

__all__ = ["DecodingTurns", "decoding_turn"]


class DecodingTurns:
    """A context manager that is entered by `count` threads at most; others wait, without the interpreter lock."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.renew()

    def renew(self) -> None:
        """All turns are free again: for a process that was forked, whose other threads have gone."""
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._count):
            self._free.put(None)

    def __enter__(self) -> None:
        self._free.get()

    def __exit__(self, *_: object) -> None:
        self._free.put(None)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


decoding_turn = DecodingTurns(_cores())
"""The turns of this process: nothing that waits for a disk, a network or a camera belongs inside."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=decoding_turn.renew)
