"""The log of a run: what happens as lines, for people or as JSON, on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from typing import IO

from framepace.facts.running import RunStatus
from framepace.reporting.views.running import run_line
from framepace.values import one_line
from framepace.watching.events import Changes, Event

LINE_S = 10.0  # between two lines on how the run stands
Now = Callable[[], datetime]


def utc_now() -> datetime:
    """The time of day, in UTC."""
    return datetime.now(timezone.utc)


class JsonLog:
    """A context manager: one JSON object per line and event, with 'time', 'level', 'event', 'text' and its fields."""

    def __init__(self, out: IO[str], now: Now = utc_now) -> None:
        self._out = out
        self._now = now
        self._changes = Changes()

    def __call__(self, status: RunStatus) -> None:
        """Write what happened since the last call."""
        self._write(self._changes.since(status))

    def __enter__(self) -> JsonLog:
        return self

    def __exit__(self, *ended: object) -> None:
        self._write(self._changes.end())

    def _write(self, events: Iterable[Event]) -> None:
        for event in events:
            self._out.write(json_line(event, self._now()))
        self._out.flush()


class TextLog:
    """A context manager: a line per event, and every few seconds one on how the run stands."""

    def __init__(self, out: IO[str], now: Now = utc_now, seconds: float = LINE_S) -> None:
        self._out = out
        self._now = now
        self._seconds = seconds
        self._changes = Changes(seconds)
        self._told = 0.0

    def __call__(self, status: RunStatus) -> None:
        """Write what happened since the last call."""
        self._write(event.text for event in self._changes.since(status))
        if status.seconds - self._told >= self._seconds:
            self._told = status.seconds
            self._write([run_line(status)])

    def __enter__(self) -> TextLog:
        return self

    def __exit__(self, *ended: object) -> None:
        self._write(event.text for event in self._changes.end())

    def _write(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._out.write(f"{self._now().astimezone():%H:%M:%S}  {one_line(line)}\n")
        self._out.flush()


def json_line(event: Event, now: datetime) -> str:
    """An event as one line of JSON."""
    time = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record = {"time": time, "level": event.level, "event": event.name, "text": event.text, **event.fields}
    return json.dumps(record) + "\n"
