"""The records of which frames are made, from the calls of one process: pictures and inferences."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from framepace.attaching.calls import RAISED, Calls

_OPENED = ("PIL.Image.open", "cv2.imread", "cv2.imdecode")  # of a part of a picture, where others decode pictures


@dataclass(frozen=True)
class Picture:
    """A picture of a source, when it was decoded (ns), and by which thread."""

    source: int
    begin: int
    end: int
    thread: int = -1


@dataclass(frozen=True)
class Inference:
    """One call of a model (ns), and the thread that made it.

    `end` is when the model was done, `returned` when the call was: earlier, where a device goes on (-1: the same).
    """

    model: int
    begin: int
    end: int
    failed: bool = False
    thread: int = -1
    returned: int = -1


@dataclass
class Frame:
    """One frame of a thread; times in ns, -1 for what is not known.

    `pictures` are several where they are inferred together. `taken` is when the thread took the frame, `delivered` when
    it had finished it. `idle` is since when it had waited for another thread to give it one, where it did.
    """

    thread: int
    taken: int
    inferences: list[Inference]
    pictures: list[Picture] = field(default_factory=list)
    delivered: int = -1
    idle: int = -1

    @property
    def ended(self) -> int:
        """When its last inference ended."""
        return max(inference.end for inference in self.inferences)

    @property
    def parallel(self) -> bool:
        """Whether several threads infer it."""
        return len({inference.thread for inference in self.inferences}) > 1

    @property
    def began(self) -> int:
        """When its first inference began."""
        return self.inferences[0].begin


def pictures_of(calls: Calls) -> dict[int, list[Picture]]:
    """The pictures that came, by thread; what the thread grabbed before belongs to the next one."""
    pictures: dict[int, list[Picture]] = {}
    grabbed: dict[int, int] = {}
    for stage, begin, end, thread, value in _decoding(calls).rows():
        if stage == "grab":
            grabbed.setdefault(thread, begin)
            continue
        picture = Picture(value, grabbed.pop(thread, begin), end, thread)
        pictures.setdefault(thread, []).append(picture)
    return pictures


def _decoding(calls: Calls) -> Calls:
    """The calls that bring a picture, or a part of the way to one."""
    decoding = calls.where((calls.stage == "grab") | ((calls.stage == "decode") & (calls.value >= 0)))
    opening = [number for number, (_, name) in enumerate(calls.facts.names) if name in _OPENED]
    opened = np.isin(decoding.name, opening)
    if opened.all():
        return decoding
    return decoding.where(~opened)


def inferences_of(calls: Calls, thread: int) -> Iterator[Inference]:
    """The inferences of a thread, in order."""
    chosen = calls.where((calls.stage == "infer") & (calls.thread == thread))
    done = _Done(calls, thread)
    for _, begin, end, _, value in chosen.rows():
        if value <= RAISED:
            yield Inference(RAISED - value, begin, end, failed=True, thread=thread)
        else:
            yield Inference(value, begin, done.after(begin, end), thread=thread, returned=end)


class _Done:
    """When a device had done the calls of a thread."""

    def __init__(self, calls: Calls, thread: int) -> None:
        rows = calls.where((calls.stage == "device") & (calls.thread == thread))
        self._begins: list[int] = rows.begin.tolist()
        self._ends: list[int] = rows.end.tolist()

    def after(self, begin: int, end: int) -> int:
        """When a call was done that began and returned then."""
        place = bisect_left(self._begins, begin)
        if place < len(self._begins) and self._begins[place] <= end:
            return max(end, self._ends[place])
        return end
