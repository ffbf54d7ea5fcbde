"""The counts of sources over engines that come and go, under any order of events."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from framepace.errors import UsageError
from framepace.facts.running import Result, SourceSpec, SourceStatus
from framepace.fleet.book import Book
from framepace.fleet.capacities import Reference
from framepace.fleet.messages import Add, Change, Order, Remove
from framepace.fleet.placing import Capacity

_CAMERAS = ("door", "yard", "gate")
_ENGINES = ("one", "two", "three")


def _spec(name: str) -> SourceSpec:
    return SourceSpec(name=name, address=f"rtsp://host/{name}")


def _book(*names: str) -> Book:
    book = Book(Reference(fps=10.0, size=(64, 96)))
    for name in names:
        book.add(_spec(name))
    return book


@dataclass
class _Reader:
    """What an engine does with a source: every picture ends in one of its counts."""

    first: int
    taken: int = 0
    skipped: int = 0
    dropped: int = 0
    unsent: list[int] = field(default_factory=list)  # results that were made, and not fetched
    leaves: bool = False

    def status(self, name: str) -> SourceStatus:
        return SourceStatus(
            name=name, address="", state="live", taken=self.taken, skipped=self.skipped, failed=0, waiting=0, late=0,
            delivered=self.taken - self.skipped - self.dropped, dropped={"stale": self.dropped} if self.dropped else {},
            reconnections=0, fps_in=None, fps_out=None, age_ms=None, p99_ms=None, size=None, every=1,
        )  # fmt: skip


def _result(name: str, number: int) -> Result:
    return Result(source=name, number=number, time=0.0, age_ms=1.0, late=False, answers={})


class Fleet(RuleBasedStateMachine):
    """Engines that read, are asked, are lost and come back; sources that are added, moved and removed."""

    def __init__(self) -> None:
        super().__init__()
        self.book = _book(*_CAMERAS)
        self.live: dict[str, dict[str, _Reader]] = {}
        self.arrived: dict[str, list[int]] = {name: [] for name in _CAMERAS}

    @rule(name=st.sampled_from(_ENGINES))
    def starts(self, name: str) -> None:
        """An engine takes orders."""
        self.live.setdefault(name, {})
        self._place()

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def is_lost(self, data: st.DataObject) -> None:
        """What waited there is counted as lost, and nothing else."""
        name = data.draw(st.sampled_from(sorted(self.live)))
        before = {source: self.book_status(source) for source in self.live[name]}
        self.book.lose(name)
        del self.live[name]
        for source, status in before.items():
            after = self.book_status(source)
            assert after.dropped.get("engine lost", 0) - status.dropped.get("engine lost", 0) == status.waiting
        self._place()

    @rule(data=st.data(), count=st.integers(1, 5), fate=st.sampled_from(["result", "skipped", "dropped"]))
    def reads(self, data: st.DataObject, count: int, fate: str) -> None:
        """An engine takes pictures."""
        readers = [reader for engine in self.live.values() for reader in engine.values()]
        if not readers:
            return
        reader = data.draw(st.sampled_from(readers))
        for _ in range(count):
            if fate == "result":
                reader.unsent.append(reader.first + reader.taken)
            else:
                setattr(reader, fate, getattr(reader, fate) + 1)
            reader.taken += 1

    @rule(name=st.sampled_from(_ENGINES), with_status=st.booleans())
    def is_asked(self, name: str, with_status: bool) -> None:
        """An engine brings results, says how it stands, and lets go of what was removed."""
        gone = []
        for source, reader in list(self.live.get(name, {}).items()):
            for number in reader.unsent:
                assert self.book.take(name, _result(source, number))
                self.arrived[source].append(number)
            reader.unsent = []
            if with_status:
                self.book.stand(name, [reader.status(source)])
            if reader.leaves:
                gone.append(reader.status(source))
                del self.live[name][source]
        self.book.gone(name, gone)
        self._place()

    @rule(name=st.sampled_from(_CAMERAS))
    def comes_or_goes(self, name: str) -> None:
        """A source is added, or removed."""
        if any(spec.name == name for spec in self.book.specs):
            self.book.remove(name)
        else:
            self.book.add(_spec(name))
        self._place()

    @invariant()
    def every_result_arrived_once_and_in_order(self) -> None:
        """Over all engines of a source."""
        for numbers in self.arrived.values():
            assert numbers == sorted(set(numbers))

    @invariant()
    def every_picture_is_in_one_count(self) -> None:
        """At every moment."""
        for status in self.book.statuses(0.0):
            counted = status.delivered + status.skipped + status.failed + status.waiting + sum(status.dropped.values())
            assert counted == status.taken
            assert status.delivered == len(self.arrived[status.name])
            assert status.waiting >= 0

    @invariant()
    def a_source_is_read_once(self) -> None:
        """By one engine at most."""
        readers = [source for engine in self.live.values() for source in engine]
        assert len(readers) == len(set(readers))

    def book_status(self, name: str) -> SourceStatus:
        """How a source stands."""
        return next(status for status in self.book.statuses(0.0) if status.name == name)

    def _place(self) -> None:
        self.book.place({name: Capacity(100.0) for name in self.live})
        for engine, order in self.book.orders():
            self._do(engine, order)

    def _do(self, engine: str, order: Order) -> None:
        if isinstance(order, Add):
            self.live[engine][order.spec.name] = _Reader(order.first)
        elif isinstance(order, Remove):
            self.live[engine][order.name].leaves = True


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_results_of_a_lost_engine_are_left_out() -> None:
    """What arrives late from an engine that has lost its source is not counted, or it would come twice."""
    book = _book("door")
    book.place({"one": Capacity(100.0)})
    list(book.orders())
    assert book.take("one", _result("door", 0))
    book.lose("one")
    book.place({"two": Capacity(100.0)})
    (_, order), *_ = book.orders()
    assert isinstance(order, Add)
    assert order.first == 1
    assert not book.take("one", _result("door", 1))
    assert book.take("two", _result("door", 1))
    assert not book.take("two", _result("door", 1))


def test_a_source_that_no_engine_can_read_is_left_where_it_is() -> None:
    """It has ended, with what the engine said; the others are over when they are."""
    book = _book("door")
    book.place({"one": Capacity(100.0)})
    list(book.orders())
    book.refused("one", "door", "there is no file")
    book.place({"one": Capacity(100.0)})
    assert list(book.orders()) == []
    (status,) = book.statuses(0.0)
    assert (status.state, status.note) == ("ended", "there is no file")
    assert book.is_over()


def test_a_change_goes_to_the_engine_that_has_the_source() -> None:
    """And to none where none has it: the next that gets it gets it as it is then."""
    book = _book("door")
    changed = SourceSpec(name="door", address="rtsp://host/door", every=4)
    assert book.change(changed) is None
    book.place({"one": Capacity(100.0)})
    list(book.orders())
    assert book.change(changed) == ("one", Change(changed))


def test_names_are_checked() -> None:
    """Two of one name, and one that is not there."""
    book = _book("door")
    with pytest.raises(UsageError, match="there is a source of that name"):
        book.add(_spec("door"))
    with pytest.raises(UsageError, match="there is no such source"):
        book.remove("yard")
