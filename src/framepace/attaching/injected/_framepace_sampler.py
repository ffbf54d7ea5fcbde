"""Where the program's threads are, ten times per second, and the CPU time that they take. Standard library only.

The calls that are timed say how long a stage takes; a line of the program says what of its own code takes it.
"""

from __future__ import annotations

import dis
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from types import CodeType, FrameType
from typing import TYPE_CHECKING

from _framepace_marks import NO_FRAME

if TYPE_CHECKING:
    from _framepace_probe import Probe

PERIOD_S = 0.1
_SAMPLES_PER_FLUSH = 5
_FLUSHES_PER_CPU_TIME = 2
_MOST_THREADS = 32  # a pool may have hundreds, which all wait
_DEPTH = 64
_HERE = os.path.dirname(os.path.abspath(__file__))
_STANDARD = sysconfig.get_paths()["stdlib"]
_PACKAGES = ("site-packages", "dist-packages")
_LIBRARIES = frozenset(("numpy", "cv2", "PIL", "av", "onnxruntime", "tensorrt", "torch", "torchvision", "scipy"))
_LOCKING = ("threading.py", "synchronize.py")  # of the standard library: locks written in Python
_LOCK = ", which waits for a lock"
_WITH = frozenset(dis.opmap[name] for name in ("BEFORE_WITH", "SETUP_WITH") if name in dis.opmap)
_sleep = time.sleep
_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0


class Sampler:
    """Adds rows 'line' (begin: when it was due; end: when the interpreter let it run) and 'cpu' (value: ns)."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._files: dict[str, str] = {}
        self._nowhere: int = probe.number_of("line", "")
        self._lines: dict[tuple[CodeType, int, str], int] = {}
        self._used: dict[int, tuple[int, int]] = {}

    def run(self) -> None:
        """Sample and flush until the process ends."""
        while True:
            for _ in range(_FLUSHES_PER_CPU_TIME):
                for _ in range(_SAMPLES_PER_FLUSH):
                    due = time.perf_counter_ns() + int(PERIOD_S * 1e9)
                    _sleep(PERIOD_S)
                    self._quietly(self._sample, due)
                self._probe.flush_quietly()
            self._quietly(self._add_cpu_times)

    def _quietly(self, sample: Callable[..., None], *arguments: int) -> None:
        try:
            sample(*arguments)
        except Exception as error:  # the program has nothing to do with it
            self._probe.note(f"threads could not be sampled: {type(error).__name__}: {error}")

    def _sample(self, due: int) -> None:
        now = max(due, time.perf_counter_ns())
        own = threading.get_ident()
        for thread, frame in list(sys._current_frames().items())[:_MOST_THREADS]:
            if thread != own:
                self._probe.add((self._number(frame), due, now, thread, 0, NO_FRAME))

    def _number(self, innermost: FrameType) -> int:
        """That of the program's line."""
        frame = self._own(innermost)
        if frame is None:
            return self._nowhere
        line = frame.f_lineno or frame.f_code.co_firstlineno  # between two lines it is None
        waits = _LOCK if _at_a_lock(innermost) else ""
        place = (frame.f_code, line, waits)
        number = self._lines.get(place)
        if number is None:
            name = self._name(frame.f_code.co_filename)
            number = self._lines[place] = self._probe.number_of("line", f"{name}:{line} {frame.f_code.co_name}{waits}")
        return number

    def _own(self, innermost: FrameType) -> FrameType | None:
        """The innermost frame of the program's own code; None where there is none."""
        frame: FrameType | None = innermost
        for _ in range(_DEPTH):
            if frame is None or self._name(frame.f_code.co_filename):
                return frame
            frame = frame.f_back
        return None

    def _name(self, path: str) -> str:
        """A short name of a file; '' where it is of the standard library, of the probe, or of a library like NumPy."""
        if path not in self._files:
            self._files[path] = _short_name(path)
        return self._files[path]

    def _add_cpu_times(self) -> None:
        """A row per thread with its CPU time since the last one."""
        now = time.perf_counter_ns()
        for thread, used in _cpu_times():
            since, before = self._used.get(thread, (now, used))
            if used > before:
                number = self._probe.number_of("cpu", "cpu")
                self._probe.add((number, since, now, thread, used - before, NO_FRAME))
            self._used[thread] = (now, used)


def _at_a_lock(innermost: FrameType) -> bool:
    """Whether a thread enters a `with` that no code of Python enters, as one that waits for a lock does.

    Interpreters that have no instruction of its own for that (3.14) tell of locks written in Python alone.
    """
    code = innermost.f_code
    if code.co_name in ("__enter__", "acquire"):
        return code.co_filename.endswith(_LOCKING)
    return innermost.f_lasti >= 0 and code.co_code[innermost.f_lasti] in _WITH


def _short_name(path: str) -> str:
    if path.startswith(("<", _HERE)):
        return ""
    parts = path.split(os.sep)
    for folder in _PACKAGES:
        if folder in parts:
            within = parts[parts.index(folder) + 1 :]
            return "" if within[0] in _LIBRARIES else "/".join(within)
    return "" if path.startswith(_STANDARD) else parts[-1]


def _cpu_times() -> Iterator[tuple[int, int]]:
    """Threads that were started by Python, and the CPU time that each has used (ns)."""
    if not sys.platform.startswith("linux"):
        return
    own = threading.get_ident()
    for thread in threading.enumerate()[:_MOST_THREADS]:
        if thread.ident is None or thread.ident == own:
            continue
        try:
            with open(f"/proc/self/task/{thread.native_id}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:  # it has ended
            continue
        yield thread.ident, (int(fields[11]) + int(fields[12])) * _NS_PER_TICK
