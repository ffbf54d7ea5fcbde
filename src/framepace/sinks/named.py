"""Sinks by name: the entry points of the group 'framepace.sinks', the built-in ones among them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from framepace.clock.system import Clock
from framepace.errors import UsageError, unknown
from framepace.sinks.base import ResultSink
from framepace.sinks.bounded import DropPolicy
from framepace.sinks.queued import QueuedSink
from framepace.sinks.sinktext import SinkText, parse

GROUP = "framepace.sinks"
MakeSink = Callable[[SinkText], ResultSink]
"""Makes a sink of its text, without opening it. Raises UsageError for a place or an option that cannot be."""
_registered: dict[str, MakeSink] = {}


def register(kind: str, make: MakeSink) -> None:
    """Make a kind of sink available in this process (tests, plug-ins without an entry point)."""
    _registered[kind] = make


def sink_kinds() -> list[str]:
    """All kinds of sinks: installed entry points and registered ones."""
    return sorted({*_entry_points(), *_registered})


def queued_sink(text: str, clock: Clock, environment: Mapping[str, str] = os.environ) -> QueuedSink:
    """The sink that a text names, behind its queue; it is not opened yet.

    The options `queue` (results that may wait) and `drop` (oldest or newest) belong to the queue. Raises UsageError
    for a text that names no sink, an option it does not have, or a library that is missing.
    """
    named = parse(text, environment)
    sink = _maker(named.kind)(named)
    drop: DropPolicy = "newest" if named.choice("drop", ("oldest", "newest")) == "newest" else "oldest"
    return QueuedSink(sink, clock, capacity=named.whole("queue", sink.capacity), drop=drop)


@lru_cache
def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _maker(kind: str) -> MakeSink:
    if kind in _registered:
        return _registered[kind]
    points = _entry_points()
    if kind not in points:
        raise unknown("kind of sink", kind, sink_kinds())
    try:
        make: MakeSink = points[kind].load()
    except ImportError as error:
        fix = "install what its package needs"
        raise UsageError(f"sink {kind!r} needs a library that is not installed", got=error, fix=fix) from error
    return make
