"""The calls that the probe saw, as it wrote them: one file of rows and one of names per process."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.attaching.answers import Answer
from framepace.facts.program import SessionFacts

Stage = Literal[
    "decode", "grab", "prepare", "infer", "sink", "wait", "load", "gc", "line", "cpu", "frame", "stage", "device"
]
"""What a call does. 'gc' is a collection, 'line' a sample of where a thread is, 'cpu' the CPU time that it used;
'frame' and 'stage' are blocks that the program named, 'device' is a call until a GPU had done it."""
BESIDE: tuple[Stage, ...] = ("gc", "line", "cpu", "frame", "stage", "device")
"""Rows that are no calls of the program and come in the middle of them."""
_COLUMNS = ("name", "begin", "end", "thread", "value", "frame")
RAISED = -2
"""Less the index of its model: the value of a call that raised."""
_LARGEST_FILE = 4 << 30


class ProcessFacts(msgspec.Struct, frozen=True):
    """What a process says of itself and of its rows; see the probe."""

    command: tuple[str, ...]
    names: tuple[tuple[Stage, str], ...]
    models: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    libraries: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    python: str = ""
    parent: int = 0
    main_thread: int = 0
    sessions: dict[str, SessionFacts] = {}
    threads: dict[str, int] = {}
    answers: tuple[Answer, ...] = ()
    refused: dict[str, str] = {}
    unseen: tuple[str, ...] = ()
    raised: str = ""


@dataclass(frozen=True)
class Calls:
    """The calls of one process in the order in which they began, those within another one of their kind left out.

    `stage`, `name` and `thread` have one entry per call; `begin` and `end` are ns. `value` is the index of the model of
    an inference (of the source of a picture), -1 for a picture that did not come, -2 - index for a call that raised.
    `frame` is the number of the frame that the program named, 0 for none.
    """

    pid: int
    facts: ProcessFacts
    stage: NDArray[np.str_]
    name: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    thread: NDArray[np.int64]
    value: NDArray[np.int64]
    frame: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.begin)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.signedinteger[Any]]) -> Calls:
        """Only the calls for which `keep` is true, or those of its indices."""
        columns = {name: getattr(self, name)[keep] for name in ("stage", *_COLUMNS)}
        return dataclasses.replace(self, **columns)

    def rows(self) -> Iterator[tuple[str, int, int, int, int]]:
        """Stage, begin, end, thread and value of each call."""
        columns = (self.stage, self.begin, self.end, self.thread, self.value)
        return zip(*(column.tolist() for column in columns), strict=True)


def read_calls(folder: Path) -> Iterator[Calls]:
    """The calls of each process that was observed; one whose files are damaged is left out."""
    for path in sorted(folder.glob("*.json")):
        try:
            facts = msgspec.json.decode(path.read_bytes(), type=ProcessFacts)
            facts = replace(facts, answers=tuple(_answers(path.with_suffix(".answers"))))
            rows = _rows(path.with_suffix(".events"), len(facts.names))
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            continue
        number = pid_of(path)
        if number is not None:
            yield _outermost(_calls(number, facts, rows))


def read_facts(folder: Path) -> Iterator[ProcessFacts]:
    """What each process said of itself, also those of which no call was seen."""
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
            yield msgspec.json.decode(path.read_bytes(), type=ProcessFacts)


def read_failures(folder: Path) -> list[str]:
    """Why the probe did not start in processes of the program, each reason once."""
    return sorted({path.read_text(errors="replace") for path in folder.glob("*.failed")})


def _answers(path: Path) -> Iterator[Answer]:
    """The whole lines of a file: the last one of a killed process may be cut."""
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield msgspec.json.decode(line, type=Answer)


def pid_of(path: Path) -> int | None:
    """The process that wrote a file ('123-0.json'); None for another file."""
    number = path.stem.partition("-")[0]
    return int(number) if number.isdecimal() else None


def _rows(path: Path, names: int) -> NDArray[np.int64]:
    """The whole rows of a file: the last one of a killed process may be cut."""
    if path.stat().st_size > _LARGEST_FILE:
        raise OSError(f"{path} is too large")
    numbers = np.fromfile(path, np.int64)
    rows = numbers[: len(numbers) // len(_COLUMNS) * len(_COLUMNS)].reshape(-1, len(_COLUMNS))
    return rows[(rows[:, 0] >= 0) & (rows[:, 0] < names)]


def _calls(pid: int, facts: ProcessFacts, rows: NDArray[np.int64]) -> Calls:
    ordered = rows[np.lexsort((-rows[:, 2], rows[:, 1]))]
    stages = np.array([str(stage) for stage, _ in facts.names] or [""])
    columns = {name: np.ascontiguousarray(column) for name, column in zip(_COLUMNS, ordered.T, strict=True)}
    return Calls(pid, facts, stages[columns["name"]], **columns)


def _outermost(calls: Calls) -> Calls:
    """Without calls that lie within an earlier one of the same thread: `read` calls `grab` in some libraries.

    Rows that are no calls stay: they come in the middle of anything.
    """
    keep = np.ones(len(calls), bool)
    ends: dict[int, int] = {}
    for place, (stage, thread, end) in enumerate(zip(calls.stage, calls.thread, calls.end, strict=True)):
        if stage in BESIDE:
            continue
        keep[place] = end > ends.get(thread, -1)
        ends[thread] = max(end, ends.get(thread, -1))
    return calls.where(keep)


def by_name(calls: Calls) -> Mapping[str, int]:
    """How often each call was made; collections too."""
    names = ["" if stage in ("line", "cpu", "stage", "device") else call for stage, call in calls.facts.names]
    counts = np.bincount(calls.name, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True) if name}


def counts_of(processes: Sequence[Calls]) -> dict[str, int]:
    """How often each call was made, over all processes."""
    counts: Counter[str] = Counter()
    for process in processes:
        counts.update(by_name(process))
    return {name: count for name, count in counts.items() if count}
