"""What people and programs see of a run while it goes on: a live view or a log, and the dashboard."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from framepace.cli import options as o

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer
    from rich.console import Console

    from framepace.facts.plan import Plan
    from framepace.facts.running import Result, RunStatus
    from framepace.facts.trace import TraceMeta
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
_SPANS = "share of the frames as OpenTelemetry spans, to where OTEL_EXPORTER_OTLP_ENDPOINT says"
Spans = Annotated[float | None, o.number_option("--spans", least=1e-9, most=1.0, help=_SPANS)]


class Watched(Protocol):
    """What is needed of a run."""

    plan: Plan

    def status(self) -> RunStatus:
        """How it stands."""

    def follow(self, take: Callable[[Result], None]) -> None:
        """Call `take` with each result and its picture from now on."""

    def follow_rows(self, take: Callable[[bytes, TraceMeta], None]) -> None:
        """Call `take` with the packed rows of its trace from now on."""


@dataclass(frozen=True)
class Watch:
    """What is made ready before anything slow begins, and then shows a run.

    Attributes:
        listener: of the dashboard, if there is one.
        tracer: of spans, if there are any.
        spans: the share of frames that have them.
        prints_results: whether a sink writes to the same terminal.
    """

    log: LogFormat
    listener: Listener | None
    tracer: Tracer | None
    spans: float
    prints_results: bool

    @contextmanager
    def of(self, run: Watched) -> Iterator[None]:
        """Inside, the run is shown."""
        from framepace.watching.looking import looking

        with ExitStack() as stack:
            if self.tracer is not None:
                _follow(run, self.tracer, self.spans)
            if self.listener is not None:
                stack.enter_context(_dashboard(run, self.listener, self.log))
            stack.enter_context(looking(run.status, _watchers(self.log, self.prints_results)))
            yield


@contextmanager
def prepared(dashboard: str | None, log: LogFormat, spans: float | None, sinks: Sequence[str] = ()) -> Iterator[Watch]:
    """What the options ask for, for as long as the run may last.

    Args:
        dashboard: '[HOST:]PORT', None for none.
        spans: the share of frames, None for no spans.
        sinks: the texts of the sinks.

    Raises UsageError where the port is taken, or a package is not installed.
    """
    listener = None
    tracer = None
    with ExitStack() as stack:
        if dashboard is not None:
            from framepace.watching.server import Listener, endpoint

            listener = stack.enter_context(Listener(endpoint(dashboard)))
        if spans is not None:
            from framepace.watching.spans import tracing

            tracer = stack.enter_context(tracing())
        yield Watch(log, listener, tracer, spans or 0.0, "stdout" in sinks)


def _follow(run: Watched, tracer: Tracer, share: float) -> None:
    from framepace.watching.spans import Spans

    run.follow_rows(Spans(tracer, share, len(run.plan.models)).take)


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
