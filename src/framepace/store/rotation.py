"""Rotation: a run without an end, written as a sequence of traces of which the last ones are kept."""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from msgspec.structs import replace

from framepace.errors import StoreError, UsageError
from framepace.facts.trace import Trace, TraceMeta
from framepace.store.folder import OutputFolder
from framepace.store.traces import ROWS_LOST, TraceWriter, is_trace, row_bytes

_SEGMENT = re.compile(r"segment-(\d{6,})")


@dataclass(frozen=True)
class Rotation:
    """When a segment is full: at `rows` of either table or after `seconds`, whichever comes first.

    `keep` segments stay beside the one that is being written; None keeps all. A million request rows take 256 MB while
    they are written, and about 35 MB afterwards.
    """

    rows: int | None = 1_000_000
    seconds: float | None = None
    keep: int | None = 10

    def __post_init__(self) -> None:
        if self.rows is None and self.seconds is None:
            raise UsageError("a rotation needs a limit", got="neither rows nor seconds", fix="set one of them")
        for name, limit in (("rows", self.rows), ("seconds", self.seconds), ("keep", self.keep)):
            if limit is not None and limit <= 0:
                raise UsageError("a rotation's limit must be positive", got=f"{name}={limit}", expected="more than 0")


class RotatingWriter:
    """Writes segments `folder`/segment-000001 and so on; the same protocol as TraceWriter.

    Every segment is a trace that `load_trace` reads, also while it is written and after a kill. Every row is in
    exactly one segment; the rows of one frame may lie in two. Segments that an earlier run left in the folder count
    as older ones: numbers go on, and `keep` holds over all.

    Args:
        describe: the meta of the run as known now; asked at the start and the end of each segment. A segment has the
            run's id with its number behind it, and its own `created`.
        now: seconds on a monotonic clock.

    Raises StoreError when the folder cannot be written, or another run writes to it.
    """

    def __init__(
        self,
        folder: Path,
        describe: Callable[[], TraceMeta],
        rotation: Rotation | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = folder
        self._describe = describe
        self._rotation = rotation or Rotation()
        self._now = now
        self._lock = threading.Lock()
        self._error: StoreError | None = None
        self._output = OutputFolder(folder, "segments")
        self._output.claim()
        try:
            self._remove_old()
            self._start_segment(_last_number(folder) + 1)
        except BaseException:
            self._output.release()
            raise

    def append(self, name: str, rows: bytes) -> None:
        """Append packed rows to 'requests' or 'telemetry', from any thread.

        The call that finds a segment full turns it into Parquet files. Raises StoreError when rows cannot be written,
        and from then on: nothing may follow rows that are missing.
        """
        view = memoryview(rows)
        with self._lock:
            if self._error is not None:
                raise self._error
            while view:
                if self._is_full():
                    self._rotate()
                size = min(len(view), self._room(name))
                self._writer.append(name, view[:size])
                self._sizes[name] += size
                view = view[size:]

    def close(self, meta: TraceMeta) -> Trace:
        """End the last segment, described by `meta`, and return its trace."""
        if self._error is not None:
            meta = replace(meta, notes=(*meta.notes, ROWS_LOST))
        with self._lock:
            try:
                return self._writer.close(self._of_segment(meta))
            finally:
                self._output.release()

    def abort(self) -> None:
        """Stop writing and leave the files as a killed run would."""
        with self._lock:
            self._writer.abort()
            self._output.release()

    def _start_segment(self, number: int) -> None:
        created = datetime.now(timezone.utc).isoformat(timespec="seconds")
        meta = self._describe()
        meta = replace(meta, id=_segment_id(meta, number), created=created)
        self._writer = TraceWriter(self.folder / f"segment-{number:06d}", meta)
        self._number = number
        self._created = created
        self._started = self._now()
        self._sizes = {"requests": 0, "telemetry": 0}

    def _rotate(self) -> None:
        full = self._writer
        meta = replace(self._of_segment(self._describe()), stopped="rotated")
        self._remove_old()
        try:
            self._start_segment(self._number + 1)  # if that fails, the full one is still open and ends the run
        except StoreError as error:
            self._error = error
            raise
        full.finish(meta)

    def _of_segment(self, meta: TraceMeta) -> TraceMeta:
        return replace(meta, id=_segment_id(meta, self._number), created=self._created)

    def _is_full(self) -> bool:
        limit = self._rotation.seconds
        too_old = limit is not None and self._now() - self._started >= limit and any(self._sizes.values())
        return too_old or any(self._room(name) <= 0 for name in self._sizes)

    def _room(self, name: str) -> int:
        """Bytes until the segment is full of the table's rows."""
        if self._rotation.rows is None:
            return 1 << 62
        return self._rotation.rows * row_bytes(name) - self._sizes[name]

    def _remove_old(self) -> None:
        """Remove the oldest segments, so that `keep` of those that are not written any more are left."""
        if self._rotation.keep is not None:
            for path in segments(self.folder)[: -self._rotation.keep]:
                shutil.rmtree(path, ignore_errors=True)  # one that is in use is removed next time


def segments(folder: Path) -> list[Path]:
    """The segments in a folder, oldest first; none when it is no folder of segments."""
    if not folder.is_dir():
        return []
    numbered = [(int(match[1]), path) for path in folder.iterdir() if (match := _SEGMENT.fullmatch(path.name))]
    return [path for _, path in sorted(numbered) if is_trace(path)]


def _segment_id(meta: TraceMeta, number: int) -> str:
    return f"{meta.id}.{number}"


def _last_number(folder: Path) -> int:
    paths = segments(folder)
    if not paths:
        return 0
    return int(paths[-1].name.removeprefix("segment-"))
