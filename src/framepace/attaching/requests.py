"""The frames of a program as request rows of a trace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from framepace.attaching.calls import Calls
from framepace.attaching.frame import Frame, Inference, Picture
from framepace.attaching.frames import frames_of
from framepace.facts.trace import REQUEST_COLUMNS, Column, DropCause, Mark, Outcome, table
from framepace.units import NS_PER_S

_WARMUP_NS = NS_PER_S
_LARGEST_WARMUP = 10  # parts of the rows, of which it is one
_COLUMNS = tuple(REQUEST_COLUMNS)


@dataclass
class Observed:
    """The request columns of a program, and the names that they count."""

    requests: Mapping[str, Column]
    models: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.requests["due"])

    def packed(self) -> bytes:
        """The rows as a recorder takes them."""
        return np.stack([self.requests[name] for name in _COLUMNS], axis=1).astype("<i8").tobytes()


def observed(processes: Sequence[Calls]) -> Observed:
    """All frames of all processes. The first ones are warm-up (see `_marks`)."""
    models: list[str] = []
    sources: list[str] = []
    rows: list[dict[str, int]] = []
    for calls in processes:
        numbers = (_numbers(models, calls.facts.models), _source_numbers(sources, calls))
        workers = 1 + max((row["worker"] for row in rows), default=-1)
        rows += _rows_of(calls, *numbers, workers)
    rows.sort(key=lambda row: (row["due"], row["started"]))
    return Observed(_columns(rows), tuple(models), tuple(sources) or ("program",))


def _rows_of(
    calls: Calls, models: Sequence[int], sources: Sequence[int], first_worker: int
) -> Iterator[dict[str, int]]:
    """The rows of a process, whose workers are its threads."""
    collections = _Collections(calls)
    threads: dict[int, int] = {}
    for frame in frames_of(calls):
        worker = first_worker + threads.setdefault(frame.thread, len(threads))
        for row in _rows(frame, models, sources):
            yield {**row, "worker": worker, "gc": collections.within(row)}


def _numbers(names: list[str], further: Sequence[str]) -> list[int]:
    """The places of names in a list to which the new ones are added."""
    names += [name for name in further if name not in names]
    return [names.index(name) for name in further]


def _source_numbers(names: list[str], calls: Calls) -> list[int]:
    """The same for the sources of a process of which any picture came by itself."""
    used = set(calls.value[calls.stage == "decode"].tolist())
    _numbers(names, [name for place, name in enumerate(calls.facts.sources) if place in used])
    return [names.index(name) if name in names else 0 for name in calls.facts.sources]


def _rows(frame: Frame, models: Sequence[int], sources: Sequence[int]) -> Iterator[dict[str, int]]:
    """A row for each model and picture of a frame."""
    taken = frame.taken
    if taken < 0:
        taken = frame.began
    pictures = frame.pictures or [Picture(0, taken, taken)]
    taken = max(taken, *(picture.end for picture in pictures))
    groups = list(_by_model(frame.inferences).values())
    for group in groups:
        ran = _stamps_of(frame, group, taken, last=group is groups[-1])
        for picture in pictures:
            source = _at(sources, picture.source)
            yield {**_decoded(picture), **ran, "source": source, "model": _at(models, group[0].model)}
        if not frame.parallel:
            taken = ran["finished"]


def _decoded(picture: Picture) -> dict[str, int]:
    """The stamps of a picture until it lay ready."""
    begin = dict.fromkeys(("due", "available", "captured"), picture.begin)
    return {**begin, "decoded": picture.end, "queued": picture.end}


def _stamps_of(frame: Frame, group: Sequence[Inference], taken: int, last: bool) -> dict[str, int]:
    """What became of a frame in one model, from when its thread took it for that model."""
    begin = group[0].begin
    end = group[-1].end
    stamps = {"batched": taken, "started": begin, "enqueued": end, "finished": end, "delivered": end}
    if group[-1].returned >= 0:
        stamps["enqueued"] = group[-1].returned
    stamps["batch_size"] = max(1, len(frame.pictures))
    if last:
        stamps["delivered"] = frame.delivered
    if any(inference.failed for inference in group):
        return {**stamps, "outcome": Outcome.FAILED, "cause": DropCause.BACKEND}
    return {**stamps, "outcome": Outcome.OK, "cause": DropCause.NONE}


def _at(places: Sequence[int], index: int) -> int:
    """The place of a name; that of the first where the index is none."""
    if 0 <= index < len(places):
        return places[index]
    return 0


def _by_model(inferences: Sequence[Inference]) -> dict[int, list[Inference]]:
    """The inferences of each model, in the order of their first ones."""
    groups: dict[int, list[Inference]] = {}
    for inference in inferences:
        groups.setdefault(inference.model, []).append(inference)
    return groups


class _Collections:
    """How long collections of a process took within spans."""

    def __init__(self, calls: Calls) -> None:
        chosen = calls.stage == "gc"
        self._begin = calls.begin[chosen]
        self._end = calls.end[chosen]

    def within(self, row: Mapping[str, int]) -> int:
        """ns of them while a row was worked on; they hold the interpreter lock, whichever thread made them."""
        overlap = np.minimum(self._end, row["delivered"]) - np.maximum(self._begin, row["batched"])
        return int(np.maximum(overlap, 0).sum())


def _columns(rows: Sequence[dict[str, int]]) -> dict[str, Column]:
    """Rows as columns; -1 for what was not observed."""
    unknown = dict.fromkeys(_COLUMNS, -1) | dict.fromkeys(("switched", "preempted"), 0)
    numbers = [list((unknown | row).values()) for row in rows]
    columns = table(_COLUMNS, np.array(numbers, np.int64).reshape(-1, len(_COLUMNS)))
    columns["frame"] = _numbered(columns, "due", "worker", "source")
    columns["batch_id"] = _numbered(columns, "started", "worker")
    columns["marks"] = _marks(columns["due"])
    return columns


def _marks(due: Column) -> Column:
    """Warm-up: the first second, but no more than a tenth of the rows, which are in order of time."""
    warm = due < due[:1].sum() + _WARMUP_NS
    warm[len(due) // _LARGEST_WARMUP :] = False
    return np.where(warm, Mark.WARMUP, 0)


def _numbered(columns: Mapping[str, Column], *names: str) -> Column:
    """A number per row: the same where all the columns that are named are the same."""
    keys = np.stack([columns[name] for name in names])
    _, numbers = np.unique(keys, axis=1, return_inverse=True)
    return np.asarray(numbers, np.int64).ravel()
