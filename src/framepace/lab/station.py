"""What stands on a place of a cluster: a measuring process, as the lab has one on its own machine."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from framepace.facts.place import Place
from framepace.facts.plan import Plan
from framepace.facts.trace import Trace
from framepace.facts.workload import Workload
from framepace.lab.measuringprocess import MeasuringProcess, measure_apart


class Kept(NamedTuple):
    """What a measuring process keeps, and its time; see `MeasuringProcess`."""

    engines: int
    workers: bool
    videos: bool
    virtual: bool


class Station:
    """Measures on its place. Like the lab's own process, one that failed in a run is not used for the next.

    Args:
        folder: the caller's, which relative paths mean; where the host has none like it, they stay the host's.
    """

    def __init__(self, place: Place, kept: Kept, folder: str) -> None:
        with suppress(OSError):
            os.chdir(folder)
        _forget_script()
        _keep_to(cores_of(place, _allowed()))
        self._process = MeasuringProcess(*kept)

    def measure(self, plan: Plan, workload: Workload, fresh: bool) -> tuple[bytes, float]:
        """The trace, pickled, and the seconds that loading took; `fresh`: in a process of its own."""
        before = self._process.loading
        trace: Trace = measure_apart(plan, workload) if fresh else self._process.measure(plan, workload)
        return pickle.dumps(trace), self._process.loading - before

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
        """What a function answers in the measuring process, pickled."""
        return pickle.dumps(self._process.call(function, *arguments))

    def clear(self) -> None:
        """End the process, and with it all that it keeps."""
        self._process.clear()

    def differing(self, files: dict[str, int]) -> list[str]:
        """Files that are not here, or of another size (bytes)."""
        return [path for path, size in files.items() if _size(path) != size]


def cores_of(place: Place, allowed: Sequence[int]) -> Sequence[int]:
    """The cores that a place keeps to: its own where a host is divided and has enough, else all."""
    count = int(place.cores)
    mine = allowed[place.share * count : (place.share + 1) * count]
    if place.device is not None or len(mine) < max(1, count):
        return allowed
    return mine


def _forget_script() -> None:
    """Keep Ray's own script, which this process runs, from being imported in each process that it starts."""
    main = sys.modules["__main__"]
    if getattr(main, "__spec__", None) is None and hasattr(main, "__file__"):
        del main.__file__


def _allowed() -> Sequence[int]:
    if not hasattr(os, "sched_getaffinity"):
        return ()
    return sorted(os.sched_getaffinity(0))


def _keep_to(cores: Sequence[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


def _size(path: str) -> int | None:
    try:
        return Path(path).stat().st_size
    except OSError:
        return None
