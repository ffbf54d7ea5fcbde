"""A run as a time line: what every source, worker and stream did, in lanes in which nothing overlaps."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from framepace.facts.trace import Column, Outcome, Trace

Doing = Literal[
    "decode", "prepare", "launch", "in flight", "infer", "finish", "to device", "preparation", "kernels", "to host"
]
DOING: tuple[Doing, ...] = get_args(Doing)
Place = Literal["source", "worker", "in flight", "device"]
Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Lane:
    """One line of the picture: a source, a worker, or a stream of a worker's device."""

    place: Place
    name: str


@dataclass(frozen=True)
class Timeline:
    """Spans of time, ordered by start. `spans` has a row per span, its columns as `_COLUMNS` names them.

    `lane` is an index into `lanes` and `doing` one into DOING; `start` and `end` are ns of the trace's clock; `row` is
    the first row of the trace's requests that a span belongs to, and `frames` how many frames share it.
    """

    lanes: tuple[Lane, ...]
    spans: Column

    def __len__(self) -> int:
        return len(self.spans)

    def column(self, name: str) -> Column:
        """One column: lane, doing, start, end, row or frames."""
        return self.spans[:, _COLUMNS.index(name)]

    def part(self, chosen: slice | NDArray[np.bool_]) -> Timeline:
        """Some of the spans; all lanes stay."""
        return Timeline(self.lanes, self.spans[chosen])


_COLUMNS = ("lane", "doing", "start", "end", "row", "frames")
_START = _COLUMNS.index("start")
_END = _COLUMNS.index("end")


def timeline(trace: Trace) -> Timeline:
    """All spans of a trace: decoding per source, the rest per inference.

    Lanes are by source, worker (and model, where there are several) and stream; what overlaps in one of them, such as
    models side by side in one worker, gets a second lane of the same name.
    """
    lanes: list[Lane] = []
    parts = [np.zeros((0, len(_COLUMNS)), np.int64)]
    for lane, spans in (*_of_sources(trace), *_of_inferences(trace)):
        for number, part in enumerate(_apart(spans)):
            part[:, 0] = len(lanes)
            parts.append(part)
            lanes.append(Lane(lane.place, _numbered(lane.name, number)))
    return Timeline(tuple(lanes), _by_start(parts))


def _numbered(name: str, number: int) -> str:
    if number == 0:
        return name
    return f"{name} ({number + 1})"


def _spans(doing: Doing, start: Column, end: Column, row: Indices, frames: Column) -> Column:
    """Spans of one kind that last; their lane is not said yet."""
    columns = [np.zeros_like(start), np.full_like(start, DOING.index(doing)), start, end, row, frames]
    made = np.stack(columns, axis=1).astype(np.int64)
    return made[(start >= 0) & (end > start)]


def _by_start(parts: Sequence[Column]) -> Column:
    joined = np.concatenate(parts)
    return np.asarray(joined[np.argsort(joined[:, _START], kind="stable")])


def _of_sources(trace: Trace) -> Iterator[tuple[Lane, Column]]:
    """Decoding, per source: of the first row of each frame."""
    r = trace.requests
    _, rows = np.unique(r["frame"], return_index=True)
    for source in np.unique(r["source"][rows]):
        of_source = rows[r["source"][rows] == source]
        captured = r["captured"][of_source]
        spans = _spans("decode", captured, r["decoded"][of_source], of_source, np.ones_like(captured))
        if len(spans):
            yield Lane("source", f"decode, source {source}"), _by_start([spans])


def _of_inferences(trace: Trace) -> Iterator[tuple[Lane, Column]]:
    """What workers and their streams did, per inference."""
    batches = _Batches.of(trace)
    workers = batches.first("worker")
    models = batches.first("model")
    for worker, model in sorted(set(zip(workers.tolist(), models.tolist(), strict=True))):
        members = (workers == worker) & (models == model)
        name = _name(worker, model, trace.meta.names)
        for (place, ending), kinds in _LANES.items():
            spans = _by_start([batches.spans(kind, members) for kind in kinds])
            if len(spans):
                yield Lane(place, f"{name}{ending}"), spans


def _name(worker: int, model: int, models: Sequence[str]) -> str:
    """'worker 0', with the model where there are several."""
    if len(models) < 2 or not 0 <= model < len(models):
        return f"worker {worker}"
    return f"worker {worker}, {models[model]}"


# Lanes of a worker, with what is done in each. 'infer' is of libraries that compute in the call.
_LANES: dict[tuple[Place, str], tuple[Doing, ...]] = {
    ("worker", ""): ("prepare", "launch", "infer", "finish"),
    ("in flight", ", in flight"): ("in flight",),
    ("device", ", to device"): ("to device",),
    ("device", ", kernels"): ("preparation", "kernels"),
    ("device", ", to host"): ("to host",),
}


@dataclass(frozen=True)
class _Batches:
    """The rows of a trace by inference: `rows` ordered so that those of one inference follow each other."""

    trace: Trace
    rows: Indices
    starts: Indices

    @staticmethod
    def of(trace: Trace) -> _Batches:
        """Of all rows that were run and did not fail."""
        r = trace.requests
        rows = np.flatnonzero((r["outcome"] == Outcome.OK) & (r["started"] >= 0))
        rows = rows[np.lexsort((rows, r["model"][rows], r["batch_id"][rows]))]
        changes = (np.diff(r["batch_id"][rows], prepend=-2) != 0) | (np.diff(r["model"][rows], prepend=-2) != 0)
        return _Batches(trace, rows, np.flatnonzero(changes))

    def first(self, column: str) -> Column:
        """The value of each inference's first row."""
        return self.trace.requests[column][self.rows[self.starts]]

    def _reduced(self, function: np.ufunc, column: str) -> Column:
        if not len(self.starts):
            return np.zeros(0, np.int64)
        return np.asarray(function.reduceat(self.trace.requests[column][self.rows], self.starts), np.int64)

    def spans(self, doing: Doing, members: NDArray[np.bool_]) -> Column:
        """The spans of one kind of some inferences."""
        start, end = self._ends(doing)
        sizes = np.diff(self.starts, append=len(self.rows))
        return _spans(doing, start[members], end[members], self.rows[self.starts][members], sizes[members])

    def _ends(self, doing: Doing) -> tuple[Column, Column]:
        """When a part of each inference began and ended, ns; both 0 where it had no such part."""
        if doing in _ON_DEVICE:
            began, took = (self.first(column) for column in _ON_DEVICE[doing])
            return self._only((began >= 0) & (took >= 0), began, began + took)
        if doing == "prepare":
            return self._reduced(np.minimum, "batched"), self.first("started")
        if doing == "finish":
            return self.first("finished"), self._reduced(np.maximum, "delivered")
        first, last = _OF_HOST[doing]
        on_device = self.first("compute_at") >= 0
        return self._only(on_device == (doing != "infer"), self.first(first), self.first(last))

    @staticmethod
    def _only(keep: NDArray[np.bool_], start: Column, end: Column) -> tuple[Column, Column]:
        return np.where(keep, start, 0), np.where(keep, end, 0)


# The call is the inference itself where the library computes in it.
_OF_HOST: dict[Doing, tuple[str, str]] = {
    "launch": ("started", "enqueued"),
    "in flight": ("enqueued", "finished"),
    "infer": ("started", "finished"),
}
_ON_DEVICE: dict[Doing, tuple[str, str]] = {
    "to device": ("h2d_at", "h2d"),
    "preparation": ("paint_at", "paint"),
    "kernels": ("compute_at", "compute"),
    "to host": ("d2h_at", "d2h"),
}


def _apart(spans: Column) -> Iterator[Column]:
    """The spans divided so that none overlaps another: each goes to the first part that is free."""
    starts = spans[:, _START]
    ends = spans[:, _END]
    if (starts[1:] >= np.maximum.accumulate(ends)[:-1]).all():
        yield spans
        return
    part = np.array(_parts(starts.tolist(), ends.tolist()))
    for number in range(int(part.max()) + 1):
        yield spans[part == number]


def _parts(starts: Sequence[int], ends: Sequence[int]) -> list[int]:
    """The number of the lowest part that is free, for each span; `starts` ascend."""
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    parts: list[int] = []
    for start, end in zip(starts, ends, strict=True):
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        part = len(busy)
        if free:
            part = heapq.heappop(free)
        heapq.heappush(busy, (end, part))
        parts.append(part)
    return parts


def waiting(trace: Trace) -> tuple[Column, Column]:
    """How many frames were in buffers: times (ns) at which that changed, and the count from then on."""
    r = trace.requests
    _, rows = np.unique(r["frame"], return_index=True)
    rows = rows[(r["queued"][rows] >= 0) & (r["batched"][rows] >= r["queued"][rows])]
    ends = np.concatenate([r["queued"][rows], r["batched"][rows]])
    steps = np.repeat([1, -1], len(rows))
    times, places = np.unique(ends, return_inverse=True)
    changes = np.zeros(len(times), np.int64)
    np.add.at(changes, places, steps)
    return times, np.cumsum(changes)
