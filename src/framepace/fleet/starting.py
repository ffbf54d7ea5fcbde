"""How an engine starts at a place: its process, what the place carries, the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from framepace.facts.place import Place
from framepace.facts.plan import Plan
from framepace.fleet.capacities import Capacities
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
    """

    def __init__(self, plan: Plan, options: Options, make: Make, capacities: Capacities) -> None:
        self._plan = plan
        smaller = None if options.smaller is None else at_place(options.smaller)
        canary = None if options.canary is None else at_place(options.canary)
        self._options = replace(options, seconds=None, sources_file=None, stays=True, smaller=smaller, canary=canary)
        self._make = make
        self._capacities = capacities

    def link(self, place: Place, listener: Listener) -> Link:
        """The link of an engine at a place; it keeps its trace in a folder of its own."""
        options = self._options
        if options.out is not None:
            options = replace(options, out=options.out.absolute() / folder(place))

        def begin(engine: Engine) -> Capacity:
            capacity = self._capacities.of(engine, place)  # first: a plan at work would disturb it
            engine.load()
            return capacity

        return Link(place.name, lambda: self._make(place, self._plan, options), begin, listener)
