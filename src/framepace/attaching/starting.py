"""When a program made its first inference: until then it starts, which may take minutes (an engine that is built)."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from framepace.units import NS_PER_S

START_LIMIT_S = 600.0
_LOOK_S = 0.1  # how often it is looked whether the probe has written of an inference
Begun = Callable[[float], None]
"""Told how many seconds a program took to the end of its first inference."""


def unheard(seconds: float) -> None:
    """Where nobody wants to know."""


class Start:
    """The start of a program that the probe observes.

    Args:
        folder: where the probe writes.
        limit_s: seconds that it may take; None: as long as it wants.
        begun: told once when it is over.
    """

    def __init__(self, folder: Path, limit_s: float | None, begun: Begun = unheard) -> None:
        self._folder = folder
        self._limit_s = limit_s
        self._begun = begun
        self._began_ns = time.perf_counter_ns()

    def seconds(self) -> float | None:
        """How long the program took to the end of its first inference; None while there was none."""
        firsts = []
        for path in self._folder.glob("*.first"):
            with suppress(OSError, ValueError):  # it is just being written
                firsts.append(int(path.read_text()))
        if not firsts:
            return None
        return max(0.0, (min(firsts) - self._began_ns) / NS_PER_S)

    def passed(self) -> float:
        """Seconds since the program was started."""
        return (time.perf_counter_ns() - self._began_ns) / NS_PER_S

    def wait(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for the first inference, or the end of the process; how long it took.

        Raises subprocess.TimeoutExpired where neither came within the limit.
        """
        while process.poll() is None:
            seconds = self.seconds()
            if seconds is not None:
                self._begun(seconds)
                return seconds
            if self._limit_s is not None and self.passed() > self._limit_s:
                raise subprocess.TimeoutExpired(process.args, self._limit_s)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_LOOK_S)
        return self.passed()
