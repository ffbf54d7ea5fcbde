"""The counts of each source over all engines that ever read it. Pure: messages in, counts out.

A stint is the time that a source spends on one engine. Its pictures are numbered on from those of the stint before.
What was taken in a stint is delivered (its result arrived), failed, skipped, dropped there by a cause, or waiting; when
the stint ends, what still waits was lost with its engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from framepace.facts.address import shown
from framepace.facts.running import AGE_BOUNDS_MS, Ages, BoxCounts, Result, SourceSpec, SourceStatus
from framepace.facts.trace import DropCause

_LOST = DropCause.NAMES[DropCause.LOST]
_SUMMED = ("taken", "delivered", "skipped", "failed", "late", "reconnections")


_NOTHING = SourceStatus(
    name="",
    address="",
    state="connecting",
    taken=0,
    delivered=0,
    skipped=0,
    failed=0,
    waiting=0,
    dropped={},
    late=0,
    reconnections=0,
    fps_in=None,
    fps_out=None,
    age_ms=None,
    p99_ms=None,
    size=None,
    every=1,
)
"""Of which nothing was said yet."""


@dataclass(eq=False)
class Stint:
    """A source on one engine.

    Attributes:
        first: the number of its first picture.
        next: the number after that of its last result.
        latest: how it stood at last, as its engine said.
    """

    engine: str
    first: int
    next: int
    latest: SourceStatus = _NOTHING
    delivered: int = 0
    failed: int = 0
    late: int = 0
    is_open: bool = True

    @property
    def taken(self) -> int:
        """Pictures taken, as far as that is known."""
        return max(self.next - self.first, self.latest.taken)

    @property
    def skipped(self) -> int:
        """Pictures left out."""
        return self.latest.skipped

    @property
    def reconnections(self) -> int:
        """How often it was connected again."""
        return self.latest.reconnections

    @property
    def dropped(self) -> Counter[str]:
        """Pictures dropped, by cause; what waited at the end is among them."""
        dropped = Counter(self.latest.dropped)
        if not self.is_open and self.unaccounted:
            dropped[_LOST] += self.unaccounted
        return dropped

    @property
    def unaccounted(self) -> int:
        """Pictures of which nothing was heard yet."""
        return self.taken - self.delivered - self.failed - self.skipped - sum(self.latest.dropped.values())

    def take(self, result: Result) -> None:
        """Count a result."""
        self.next = result.number + 1
        self.late += result.late
        if result.error is None:
            self.delivered += 1
        else:
            self.failed += 1


@dataclass(eq=False)
class _Book:
    """All stints of a source."""

    spec: SourceSpec
    stints: list[Stint] = field(default_factory=list)

    @property
    def current(self) -> Stint | None:
        if self.stints and self.stints[-1].is_open:
            return self.stints[-1]
        return None


class Ledger:
    """Counts the pictures of all sources over all engines. Not thread-safe."""

    def __init__(self) -> None:
        self._books: dict[str, _Book] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._books

    def note(self, spec: SourceSpec) -> None:
        """There is such a source, or it changed."""
        self._books.setdefault(spec.name, _Book(spec)).spec = spec

    def forget(self, name: str) -> None:
        """Forget a source and its counts."""
        del self._books[name]

    def open(self, name: str, engine: str) -> int:
        """A source begins on an engine; the number of the picture that it has to begin with."""
        book = self._books[name]
        first = sum(stint.taken for stint in book.stints)
        book.stints = [*_folded(book.stints), Stint(engine, first, first)]
        return first

    def take(self, engine: str, result: Result) -> bool:
        """Count a result that arrived; false where it is none of a source that is on that engine, or came before."""
        stint = self._stint(engine, result.source)
        if stint is None or result.number < stint.next:
            return False
        stint.take(result)
        return True

    def stand(self, engine: str, statuses: Iterable[SourceStatus]) -> None:
        """An engine says how its sources stand."""
        for status in statuses:
            stint = self._stint(engine, status.name)
            if stint is not None:
                stint.latest = status

    def close(self, engine: str, name: str) -> None:
        """A source has ended on an engine, whose last word on it was said, or which was lost."""
        stint = self._stint(engine, name)
        if stint is not None:
            stint.is_open = False

    def lose(self, engine: str) -> list[str]:
        """An engine was lost; the sources that were on it."""
        names = [name for name in self._books if self._stint(engine, name) is not None]
        for name in names:
            self.close(engine, name)
        return names

    def status(self, name: str, note: str = "") -> SourceStatus:
        """How a source stands; `note` says why it is on no engine, else it is in the state that it was in at last."""
        book = self._books[name]
        return _status(book.spec, book.stints, book.current, "" if book.current is not None else note)

    def _stint(self, engine: str, name: str) -> Stint | None:
        book = self._books.get(name)
        if book is None or book.current is None or book.current.engine != engine:
            return None
        return book.current


def _folded(stints: list[Stint]) -> list[Stint]:
    """Past stints as one, or a source that moves for months would have thousands."""
    if len(stints) < 2:
        return stints
    return [_joined(*stints)]


def _joined(one: Stint, other: Stint) -> Stint:
    """Two stints that have ended, as one."""
    counts = _counts((one, other))
    joined = Stint(other.engine, one.first, one.first + counts["taken"], is_open=False)
    joined.delivered = counts["delivered"]
    joined.failed = counts["failed"]
    joined.late = counts["late"]
    joined.latest = replace(other.latest, **counts)
    return joined


def _counts(stints: Sequence[Stint]) -> dict[str, Any]:
    """The counts of a status, of all stints together."""
    counts: dict[str, Any] = {name: sum(getattr(stint, name) for stint in stints) for name in _SUMMED}
    dropped: Counter[str] = sum((stint.dropped for stint in stints), Counter())
    return {**counts, "dropped": dict(dropped), "ages": _ages(stints), "boxes": _boxes(stints)}


def _status(spec: SourceSpec, stints: Sequence[Stint], current: Stint | None, note: str) -> SourceStatus:
    latest = stints[-1].latest if stints else _NOTHING
    return replace(
        latest,
        name=spec.name,
        address=shown(spec.address),
        state="connecting" if note else latest.state,
        note=note or latest.note,
        waiting=0 if current is None else current.unaccounted,
        engine=None if current is None else current.engine,
        **_counts(stints),
    )


def _boxes(stints: Iterable[Stint]) -> dict[str, BoxCounts]:
    """What became of the boxes of all stints, by model."""
    boxes: dict[str, BoxCounts] = {}
    for stint in stints:
        for model, counts in stint.latest.boxes.items():
            boxes[model] = _sum_of(boxes.get(model, BoxCounts()), counts)
    return boxes


def _sum_of(one: BoxCounts, other: BoxCounts) -> BoxCounts:
    return BoxCounts(**{name: getattr(one, name) + getattr(other, name) for name in BoxCounts.__struct_fields__})


def _ages(stints: Iterable[Stint]) -> Ages | None:
    """The ages of all stints together."""
    counted = [stint.latest.ages for stint in stints if stint.latest.ages is not None]
    if not counted:
        return None
    counts = [sum(column) for column in zip(*(ages.counts for ages in counted), strict=True)]
    assert len(counts) == len(AGE_BOUNDS_MS) + 1
    return Ages(counts=tuple(counts), sum_ms=sum(ages.sum_ms for ages in counted))
