"""A plan on live sources, run by several engines: sources placed, moved, and counted over all of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from framepace.deadline import together
from framepace.errors import BackendError, FramepaceError, UsageError, one_line
from framepace.facts.address import without_secrets
from framepace.facts.place import Place
from framepace.facts.plan import Plan
from framepace.facts.running import Result, RunStatus, SourceSpec
from framepace.facts.trace import Stopped, TraceMeta
from framepace.fleet.book import Book
from framepace.fleet.capacities import Capacities
from framepace.fleet.loads import reference_of
from framepace.fleet.members import Members
from framepace.fleet.messages import Add, Order, Record, Reply, Stop
from framepace.fleet.places import at_engines, at_place, folder, usable
from framepace.fleet.placing import Capacity
from framepace.fleet.starting import Make, Starter
from framepace.progress import Tell, silent
from framepace.running.options import Options, Sink, check
from framepace.running.sourcesfile import SourcesFile

RECORDINGS = Path("framepace-out")  # where a run without a folder of its own keeps recordings
_TICK_S = 0.1
_SECOND_S = 1.0
_ENDING_S = 30.0  # for what is on its way at the end
_BRINGING_S = 60.0  # for their traces to be brought here
_LEAST_S = 5.0  # for those of engines that died, however long the others took
_NOTES_KEPT = 20


class FleetRun:
    """A plan on live sources, run by an engine at each of some places; used like running.run.Run.

    Args:
        plan: what runs.
        sources: those it begins with.
        sinks: receive the results of all engines, each source's in its order; the run opens and closes them.
        options: see Options; folders are on the hosts of the engines.
        places: where engines can be.
        make: starts an engine.
        tell: called with slow steps until the sources are placed.
        at_end: called when all engines have ended, or the run cannot begin.

    Raises:
        UsageError: no place fits the plan, or two sources have one name.
        FramepaceError: see `start`.
    """

    def __init__(
        self,
        plan: Plan,
        sources: Sequence[SourceSpec],
        sinks: Sequence[Sink],
        options: Options,
        *,
        places: Sequence[Place],
        make: Make,
        tell: Tell = silent,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.plan = plan
        self.options = options
        self.hanging = 0
        self._file = None if options.sources_file is None else SourcesFile(options.sources_file, options.of_sources)
        if self._file is not None:
            sources = (*sources, *self._file.sources)
        self._sinks = tuple(sinks)
        self._at_end = at_end
        self._followers: tuple[Callable[[Result], None], ...] = ()
        self._notes: tuple[str, ...] = ()
        self._stopped: Stopped | None = None
        self._failure: FramepaceError | None = None
        self._must_place = False
        self._done = threading.Event()
        self._begin()
        self._prepare(sources, usable(places, plan), make, tell)

    def _begin(self) -> None:
        """Time counts from here."""
        self._began = time.time()
        self._began_at = time.monotonic()
        self._next_second = self._began_at

    def _prepare(self, sources: Sequence[SourceSpec], places: Sequence[Place], make: Make, tell: Tell) -> None:
        """The parts of the run. Raises UsageError or SourceError for what can never run."""
        plan = self.plan
        check(plan, sources if all(place.here for place in places) else ())
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        reference = reference_of(plan, sources)
        self._capacities = Capacities(at_place(plan), reference, tell)
        self._starter = Starter(at_place(plan), self.options, make, self._capacities, self.note)
        self._members = Members(
            places, lambda place: self._starter.link(place, self), plan.target.budget_ms, self._began_at
        )
        self._book = Book(reference)
        for spec in sources:
            self._book.add(at_engines(spec))

    def start(self) -> FleetRun:
        """Open the sinks, start the engines, place the sources on those that can run the plan.

        Raises SinkError; and the first error of an engine where none can run the plan.
        """
        with ExitStack() as on_error:
            on_error.callback(self._at_end)
            on_error.callback(self._kill)
            for sink in self._sinks:
                on_error.callback(sink.close)
                sink.start()
            self._start_engines()
            on_error.pop_all()
        self._begin()
        threading.Thread(target=self._watch, name="run", daemon=True).start()
        return self

    def stop(self, stopped: Stopped = "finished") -> None:
        """End the run: nothing more is read; what was taken is still inferred and delivered."""
        with self._lock:
            if self._stopped is not None:
                return
            self._stopped = stopped
            for member in self._members.by_name.values():
                member.stop(stopped)
            self._changed.notify_all()

    def wait(self, seconds: float | None = None) -> RunStatus:
        """Wait for the end, for so many seconds at most; how the run stands then. Raises what ended it early."""
        self._done.wait(seconds)
        if self._failure is not None:
            raise self._failure
        return self.status()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._done.is_set()

    @property
    def sources(self) -> tuple[SourceSpec, ...]:
        """The sources there are."""
        with self._lock:
            return self._book.specs

    def add(self, spec: SourceSpec) -> None:
        """Add a source. Raises UsageError where there is one of that name."""
        with self._lock:
            self._book.add(at_engines(spec))
            self._place_again()

    def remove(self, name: str) -> None:
        """Remove a source; frames of it that wait are dropped. Raises UsageError where there is none."""
        with self._lock:
            self._book.remove(name)
            self._place_again()

    def change(self, spec: SourceSpec) -> None:
        """Change the source of that name. Raises UsageError where there is none."""
        with self._lock:
            order = self._book.change(at_engines(spec))
            if order is not None:
                self._order(*order)

    def follow(self, take: Callable[[Result], None]) -> None:
        """Call `take` with each result from now on, without pictures: these stay where they are decoded."""
        self._followers = (*self._followers, take)

    def follow_rows(self, take: Callable[[bytes, TraceMeta], None]) -> None:
        """Rows of traces stay with their engines. Raises UsageError."""
        raise UsageError(
            "spans of a run on several engines are not collected",
            got="--spans",
            fix="leave it out; --out keeps a trace per engine, which explain and report read",
        )

    def record(self, why: str) -> Path:
        """Write the last minute of each engine as a trace, brought here; the folder of all. Raises FramepaceError."""
        with self._lock:
            live = [(member.place, member.link) for member in self._members.live.values() if member.link is not None]
        out = (self.options.out or RECORDINGS).absolute()
        answers = [(place, link, link.order(Record(why))) for place, link in live]
        recorded = [link.brought(answer, out / folder(place)) for place, link, answer in answers]
        if not any(recorded):
            raise BackendError("there is nothing to record", got="no engine at work", fix="try again")
        return out

    def note(self, text: str) -> None:
        """Add a sentence to the status, unless it is there; the oldest go."""
        text = without_secrets(text)
        if text not in self._notes:
            self._notes = (*self._notes, text)[-_NOTES_KEPT:]

    def restrict(self, names: Sequence[str] | None) -> None:
        """Let sources be on these engines alone, None: on all; those of others move."""
        with self._lock:
            self._members.allowed = None if names is None else frozenset(names)
            self._place_again()

    def kill(self, name: str) -> None:
        """End the process of the engine at a place, as an accident would: for trials of what then happens."""
        member = self._members.by_name[name]
        if member.link is not None:
            member.link.kill()

    def status(self) -> RunStatus:
        """How it stands now."""
        with self._lock:
            now = time.monotonic()
            return RunStatus(
                plan=self.plan.names,
                began=self._began,
                seconds=now - self._began_at,
                target_ms=self.plan.target.budget_ms,
                sources=self._book.statuses(now),
                sinks=tuple(sink.status() for sink in self._sinks),
                devices=self._members.devices(),
                degraded=self._members.degraded(),
                notes=(*self._notes, *self._members.notes()),
                engines=tuple(member.shown() for member in self._members.by_name.values()),
            )

    # What engines say, on their threads.

    def ready(self, name: str, capacity: Capacity) -> None:
        """See Listener."""
        with self._lock:
            member = self._members.by_name[name]
            member.begin(time.monotonic(), capacity)
            if self._stopped is not None and member.link is not None:
                member.link.order(Stop(self._stopped))
            self._place_again()

    def took(self, name: str, reply: Reply) -> None:
        """See Listener."""
        with self._lock:
            for result in reply.results:
                if self._book.take(name, result):
                    self._emit(result)
            if reply.status is not None:
                self._members.by_name[name].status = reply.status
                self._book.stand(name, reply.status.sources)
            if reply.gone:
                self._book.gone(name, reply.gone)
                self._place_again()

    def ended(self, name: str, error: FramepaceError | None) -> None:
        """See Listener."""
        with self._lock:
            member = self._members.by_name[name]
            if self._stopped is not None:
                self._book.end(name)
                member.end()
            else:
                names = self._book.lose(name)
                member.lose(time.monotonic(), error)
                self._note_loss(name, error, len(names))
            self._place_again()

    # Engines.

    def _start_engines(self) -> None:
        """Start an engine at each place, and wait until each either takes orders or never will."""
        with self._changed:
            for member in self._members.by_name.values():
                self._members.start(member)
            while any(member.state == "starting" for member in self._members.by_name.values()):
                self._changed.wait(_SECOND_S)
            if self._capacities.note:
                self.note(self._capacities.note)
            if self._failure is not None:
                raise self._failure
            self._place()

    def _note_loss(self, name: str, error: FramepaceError | None, sources: int) -> None:
        """Say that an engine is gone; where none is left, nor will be, the run fails."""
        if error is None:
            error = BackendError("an engine ended", got=name, fix="look at its log")
        self.note(f"{name}: {one_line(error)}" + (f"; {sources} sources go elsewhere" if sources else ""))
        if not self._members.live and not self._members.may_come:
            self._failure = error
            self.stop("failed")

    # Sources.

    def _place_again(self) -> None:
        self._must_place = True
        self._changed.notify_all()

    def _place(self) -> None:
        """Find a place for every source, and order what has to be done for it."""
        self._must_place = False
        if self._stopped is not None:
            return
        predicted = self._book.place(self._members.capacities())
        self._members.settle(time.monotonic(), predicted)
        full = {name: asked.share for name, asked in predicted.items() if asked.share > 1}
        if full:
            name = max(full, key=full.__getitem__)
            self.note(
                f"there are more sources than can be carried: {name} is asked for {full[name]:.0%} of what it can"
            )
        for order in self._book.orders():
            self._order(*order)

    def _order(self, name: str, order: Order) -> None:
        link = self._members.by_name[name].link
        if link is not None:
            link.order(order).add_done_callback(partial(self._answered, name, order))

    def _answered(self, name: str, order: Order, answer: Future[str]) -> None:
        """An engine did what was ordered, or refused it; what was given to one that died is ordered of another."""
        if answer.cancelled():
            return
        problem = answer.exception()
        if problem is None:
            return
        with self._lock:
            self.note(f"{name}: {one_line(problem)}")
            if isinstance(order, Add):
                self._book.refused(name, order.spec.name, one_line(problem))
                self._place_again()

    def _emit(self, result: Result) -> None:
        for sink in self._sinks:
            sink.put(result)
        for take in self._followers:
            take(result)

    # The thread that watches.

    def _watch(self) -> None:
        try:
            while self._stopped is None:
                self._look()
        except FramepaceError as error:
            self._failure = error
            self.stop("failed")
        finally:
            self._end()

    def _look(self) -> None:
        """Wait until something happens, and do what follows from it."""
        with self._changed:
            if not self._must_place:
                self._changed.wait(_TICK_S)
            now = time.monotonic()
            if now >= self._next_second:
                self._next_second = now + _SECOND_S
                self._look_each_second(now)
            self._members.start_due(now)
            if self._must_place:
                self._place()

    def _look_each_second(self, now: float) -> None:
        """What is decided once per second."""
        if self._file is not None:
            self._file.look(self)
        hot = [name for name, member in self._members.by_name.items() if member.look(now)]
        for name in hot:
            self.note(f"{name} is hot: it is taken to carry less, and others get sources of it where they have room")
        self._must_place = self._must_place or bool(hot)
        limit = self.options.seconds
        if limit is not None and now - self._began_at >= limit:
            self.stop()
        if not self.options.stays and self._file is None and self._book.is_over():
            self.stop()

    def _end(self) -> None:
        seconds = _ENDING_S if self.options.out is None else _ENDING_S + _BRINGING_S
        deadline = time.monotonic() + seconds
        for member in list(self._members.by_name.values()):
            link = member.link
            if link is not None and not link.join(max(0.0, deadline - time.monotonic())):
                self.note(f"{member.place.name} did not end in {seconds:g} s")
        self._kill()
        self._starter.bring_rest(max(_LEAST_S, deadline - time.monotonic()))
        self._at_end()
        together([sink.close for sink in self._sinks])
        self._done.set()

    def _kill(self) -> None:
        """End the processes of all engines."""
        for member in list(self._members.by_name.values()):
            if member.link is not None:
                member.link.kill()
