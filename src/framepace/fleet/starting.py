"""How an engine starts at a place: its process, what the place carries, the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from framepace.deadline import together, within
from framepace.errors import PlaceLost, one_line
from framepace.facts.place import Place
from framepace.facts.plan import Plan
from framepace.fleet.capacities import Capacities
from framepace.fleet.fetching import fetch
from framepace.fleet.link import Link, Listener
from framepace.fleet.messages import Engine
from framepace.fleet.places import at_place, folder
from framepace.fleet.placing import Capacity
from framepace.running.options import Options

Make = Callable[[Place, Plan, Options], Engine]
"""Starts the process of an engine at a place. Raises FramepaceError."""


class Starter:
    """Makes the links of engines, which are not started yet.

    Args:
        plan: as engines run it (see places.at_place).
        options: of the whole run.
        note: takes a sentence on what went wrong without harm to the run.
    """

    def __init__(
        self, plan: Plan, options: Options, make: Make, capacities: Capacities, note: Callable[[str], None]
    ) -> None:
        self._plan = plan
        self._note = note
        smaller = None if options.smaller is None else at_place(options.smaller)
        canary = None if options.canary is None else at_place(options.canary)
        self._options = replace(options, seconds=None, sources_file=None, stays=True, smaller=smaller, canary=canary)
        self._make = make
        self._capacities = capacities
        self._unbrought: dict[str, Place] = {}  # where engines were at work whose traces were not brought

    def link(self, place: Place, listener: Listener) -> Link:
        """The link of an engine at a place; its trace is written there, and brought to the same folder here."""
        options = self._at(place)

        def begin(engine: Engine) -> Capacity:
            engine.ready()
            capacity = self._capacities.of(engine, place)  # first: a plan at work would disturb it
            engine.load()
            self._unbrought[place.name] = place
            return capacity

        def finish(engine: Engine) -> None:
            self._bring(place, lambda: _fetch(engine, options))
            del self._unbrought[place.name]

        return Link(place.name, lambda: self._make(place, self._plan, options), begin, finish, listener)

    def bring_rest(self, seconds: float) -> None:
        """Bring the traces of engines that died from hosts that are still there, in so many seconds at most."""
        if self._options.out is not None:
            far = [place for place in self._unbrought.values() if not place.here]
            together([partial(self._bring_rest_of, place, seconds) for place in far])

    def _at(self, place: Place) -> Options:
        """The options of an engine at a place: its trace has a folder of its own."""
        out = self._options.out
        return self._options if out is None else replace(self._options, out=out.absolute() / folder(place))

    def _bring(self, place: Place, fetch_all: Callable[[], None]) -> None:
        try:
            fetch_all()
        except Exception as error:  # whatever a library raises on the other side, the run goes on
            out = self._at(place).out
            self._note(f"the trace of {place.name} is still on {place.host}, in {out}: {one_line(error)}")

    def _bring_rest_of(self, place: Place, seconds: float) -> None:
        fetch_all = partial(self._fetch_by_another, place)
        problem = "nothing could be fetched"
        self._bring(place, lambda: within(seconds, problem, fetch_all, got=place.name, error=PlaceLost))

    def _fetch_by_another(self, place: Place) -> None:
        """Fetch what is at a place by a process that is started there for that alone."""
        options = self._at(place)
        engine = self._make(place, self._plan, options)
        try:
            engine.ready()
            _fetch(engine, options)
        finally:
            engine.kill()


def _fetch(engine: Engine, options: Options) -> None:
    """Bring what an engine wrote to the same folder here."""
    if options.out is not None:
        fetch(engine, options.out, options.out)
