"""How an engine starts at a place: its process, what the place carries, the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from framepace.errors import FramepaceError, one_line
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

    def link(self, place: Place, listener: Listener) -> Link:
        """The link of an engine at a place; its trace is written there, and brought to the same folder here."""
        out = self._options.out
        options = self._options
        if out is not None:
            out = out.absolute() / folder(place)
            options = replace(options, out=out)

        def begin(engine: Engine) -> Capacity:
            engine.ready()
            capacity = self._capacities.of(engine, place)  # first: a plan at work would disturb it
            engine.load()
            return capacity

        def finish(engine: Engine) -> None:
            if out is not None:
                self._bring(engine, out, place)

        return Link(place.name, lambda: self._make(place, self._plan, options), begin, finish, listener)

    def _bring(self, engine: Engine, out: Path, place: Place) -> None:
        try:
            fetch(engine, out, out)
        except FramepaceError as error:
            self._note(f"the trace of {place.name} is still on {place.host}, in {out}: {one_line(error)}")
