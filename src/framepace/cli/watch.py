"""What people and programs see of a run while it goes on: a live view or a log, and the dashboard."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from framepace.facts.running import Result, RunStatus
    from framepace.watching.looking import Watcher
    from framepace.watching.server import Listener

TOKEN = "FRAMEPACE_TOKEN"
"""Name of the environment variable with the token that the dashboard asks for."""
_DASHBOARD = (
    f"serve a live page, pictures, /status and /metrics; 0.0.0.0:8080 for others, who need ${TOKEN} if it is set"
)
Dashboard = Annotated[str | None, typer.Option("--dashboard", metavar="[HOST:]PORT", help=_DASHBOARD)]


class LogFormat(str, Enum):
    """What is written to standard error while a plan runs."""

    auto = "auto"
    text = "text"
    json = "json"
    off = "off"


_LOG = "on standard error: a live view in a terminal and lines elsewhere (auto), lines, JSON per event, or nothing"
Log = Annotated[LogFormat, typer.Option("--log", help=_LOG)]


class Watched(Protocol):
    """What is needed of a run."""

    def status(self) -> RunStatus:
        """How it stands."""

    def follow(self, take: Callable[[Result], None]) -> None:
        """Call `take` with each result and its picture from now on."""


@contextmanager
def listening(dashboard: str | None) -> Iterator[Listener | None]:
    """Inside, the dashboard's port is taken, before anything slow begins. Raises UsageError where it cannot be."""
    if dashboard is None:
        yield None
        return
    from framepace.watching.server import Listener, endpoint

    with Listener(endpoint(dashboard)) as listener:
        yield listener


@contextmanager
def watching(run: Watched, listener: Listener | None, log: LogFormat, sinks: Sequence[str] = ()) -> Iterator[None]:
    """Inside, the run is shown as the options ask.

    Args:
        listener: of the dashboard, if there is one.
        sinks: the texts of its sinks, one of which may write to the same terminal.
    """
    from framepace.watching.looking import looking

    with ExitStack() as stack:
        if listener is not None:
            stack.enter_context(_dashboard(run, listener, log))
        stack.enter_context(looking(run.status, _watchers(log, "stdout" in sinks)))
        yield


@contextmanager
def _dashboard(run: Watched, listener: Listener, log: LogFormat) -> Iterator[None]:
    from framepace.watching.newest import NewestPictures
    from framepace.watching.server import exposure, serving

    token = os.environ.get(TOKEN) or None
    pictures = NewestPictures()
    run.follow(pictures.take)
    _tell(log, "dashboard", listener.url)
    warning = exposure(listener.at, token)
    if warning:
        _tell(log, "note", warning)
    with serving(listener, run.status, pictures.newest, token):
        yield


def _tell(log: LogFormat, name: str, text: str) -> None:
    """A line on standard error, of the log's kind."""
    from framepace.watching.events import Event
    from framepace.watching.log import json_line, utc_now

    line = f"{name}: {text}\n"
    if log is LogFormat.json:
        line = json_line(Event(name, text), utc_now())
    sys.stderr.write(line)


def _watchers(log: LogFormat, prints_results: bool) -> list[Watcher]:
    from framepace.watching.log import JsonLog, TextLog

    if log is LogFormat.off:
        return []
    if log is LogFormat.json:
        return [JsonLog(sys.stderr)]
    console = _live_console()
    if log is LogFormat.text or console is None or (prints_results and os.isatty(1)):
        return [TextLog(sys.stderr)]
    from framepace.reporting.terminal.running import LiveRun

    return [LiveRun(console)]


def _live_console() -> Console | None:
    """A console that can be redrawn; None where standard error is none."""
    from framepace.reporting.terminal.layout import console

    found = console(sys.stderr)
    return found if found.is_terminal and not found.is_dumb_terminal else None
