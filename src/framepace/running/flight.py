"""The flight recorder: the last minute of a run, whole and in memory, written when something goes wrong."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from framepace.errors import StoreError, one_line
from framepace.facts.trace import REQUEST_COLUMNS, Trace, TraceMeta
from framepace.recording.recorder import Writer
from framepace.store import MemoryWriter, TraceWriter, new_folder, trace_id
from framepace.units import NS_PER_S

KEPT_S = 60
_SOURCE = tuple(REQUEST_COLUMNS).index("source")


@dataclass(frozen=True)
class _Chunk:
    at: int
    name: str
    rows: bytes


class Ring:
    """A writer that keeps the rows of the last `seconds` in memory (64 sources at 30 fps: 30 MB a minute)."""

    def __init__(self, now: Callable[[], int], seconds: float = KEPT_S) -> None:
        self._now = now
        self._kept_ns = round(seconds * NS_PER_S)
        self._chunks: deque[_Chunk] = deque()
        self._lock = threading.Lock()

    def append(self, name: str, rows: bytes) -> None:
        """See Writer."""
        now = self._now()
        with self._lock:
            self._chunks.append(_Chunk(now, name, bytes(rows)))
            while self._chunks[0].at < now - self._kept_ns:
                self._chunks.popleft()

    def sources(self) -> list[int]:
        """The numbers of the sources of which there are rows."""
        with self._lock:
            chunks = [chunk.rows for chunk in self._chunks if chunk.name == "requests"]
        rows = np.frombuffer(b"".join(chunks), np.int64).reshape(-1, len(REQUEST_COLUMNS))
        return [int(number) for number in np.unique(rows[:, _SOURCE])]

    def close(self, meta: TraceMeta) -> Trace:
        """See Writer: what is kept, as a trace in memory."""
        return self._written(MemoryWriter(meta), meta)

    def save(self, folder: Path, meta: TraceMeta) -> Trace:
        """Write what is kept as a trace. Raises StoreError."""
        return self._written(TraceWriter(folder, meta, overwrite=True), meta)

    def _written(self, writer: Writer, meta: TraceMeta) -> Trace:
        with self._lock:
            chunks = list(self._chunks)
        for chunk in chunks:
            writer.append(chunk.name, chunk.rows)
        return writer.close(meta)


class Followed:
    """A writer whose rows others see, too, once they follow."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._followers: tuple[Callable[[bytes], None], ...] = ()
        self.close = writer.close

    def follow(self, take: Callable[[bytes], None]) -> None:
        """Call `take` with the packed rows of requests from now on."""
        self._followers = (*self._followers, take)

    def append(self, name: str, rows: bytes) -> None:
        """See Writer."""
        self._writer.append(name, rows)
        if name == "requests":
            for take in self._followers:
                take(rows)


class Tee:
    """Writes rows to the flight recorder's memory, and to a writer; the trace is the writer's."""

    def __init__(self, ring: Ring, writer: Writer) -> None:
        self._ring = ring
        self._writer = writer

    def append(self, name: str, rows: bytes) -> None:
        """See Writer."""
        self._ring.append(name, rows)
        self._writer.append(name, rows)

    def close(self, meta: TraceMeta) -> Trace:
        """See Writer."""
        return self._writer.close(meta)


@dataclass
class Trigger:
    """When a recording is made by itself: a moment after a result came late, and not again for some time. Pure.

    Attributes:
        after_s: what follows a miss is part of the recording.
        pause_s: between two recordings.
        most: recordings of one run; none where it is 0.
    """

    after_s: float = 2.0
    pause_s: float = 600.0
    most: int = 10
    _due: int | None = None
    _free_at: int | None = None
    _made: int = 0

    def missed(self, now: int) -> None:
        """Results came late at `now` (ns)."""
        if self._due is None and self._made < self.most and (self._free_at is None or now >= self._free_at):
            self._due = now + round(self.after_s * NS_PER_S)

    def is_due(self, now: int) -> bool:
        """Whether a recording is to be made now; counts it."""
        if self._due is None or now < self._due:
            return False
        self._due = None
        self._free_at = now + round(self.pause_s * NS_PER_S)
        self._made += 1
        return True


class Misses:
    """Makes recordings by itself when results come later than the target.

    Args:
        record: makes one, and says where. Raises StoreError.
        note: takes a sentence about what happened.
    """

    def __init__(self, wanted: bool, record: Callable[[str], Path], note: Callable[[str], None]) -> None:
        self._trigger = Trigger() if wanted else Trigger(most=0)
        self._record = record
        self._note = note
        self._late = 0

    def look(self, now: int, late: int) -> None:
        """So many results were late by `now` (ns)."""
        if late > self._late:
            self._trigger.missed(now)
        self._late = late
        if self._trigger.is_due(now):
            self._make()

    def _make(self) -> None:
        try:
            path = self._record("results came later than the target")
        except StoreError as error:
            self._note(f"a recording could not be written: {one_line(error)}")
        else:
            self._note(f"results came late: recorded in {path}")


Describe = Callable[[Path, Sequence[int]], TraceMeta]
"""Describes a recording in a folder, whose rows are of these sources (numbers)."""


class FlightRecorder:
    """Makes recordings of the last minute in folders below `folder`."""

    def __init__(self, folder: Path, ring: Ring, describe: Describe) -> None:
        self._folder = folder
        self._ring = ring
        self._describe = describe
        self._lock = threading.Lock()

    def save(self, why: str) -> Path:
        """Write a recording; the note of its trace says why it was made. Raises StoreError."""
        with self._lock:
            path = new_folder(self._folder, f"recording-{datetime.now():%Y%m%d-%H%M%S}")
            meta = self._describe(path, self._ring.sources())
            note = f"the last minute of a run, recorded because {why}"
            self._ring.save(path, replace(meta, id=trace_id(), stopped="rotated", notes=(note, *meta.notes)))
            return path
