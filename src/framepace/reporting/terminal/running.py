"""A run while it goes on: a live view in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from types import TracebackType

from rich.cells import set_cell_size
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from framepace.facts.running import RunStatus
from framepace.reporting.terminal.layout import table
from framepace.reporting.views.running import (
    COLUMNS,
    DEVICE_COLUMNS,
    ENGINE_COLUMNS,
    SINK_COLUMNS,
    Fitting,
    Row,
    RunView,
    SourceRow,
    Trouble,
    fitting,
    run_view,
)

_STYLES: dict[Trouble, str] = {"bad": "red", "warn": "yellow", "": ""}
_WIDTHS = (10, 6, 6, 8, 8, 7, 8)  # of the columns after the name
_SHORTEST_NAME = 8
_LONGEST_NAME = 40
_NOTES_SHARE = 4  # of the lines, a quarter at most is for notes
_FEWEST_LINES = 4  # for sources, however low the terminal is


class LiveRun:
    """A context manager that redraws a run in place with each call, and vanishes at the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop", transient=True)

    def __call__(self, status: RunStatus) -> None:
        """Draw how the run stands."""
        drawn = drawn_run(status, self._console.width, self._console.height)
        self._live.update(drawn, refresh=True)

    def __enter__(self) -> LiveRun:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()


def drawn_run(status: RunStatus, width: int, height: int) -> RenderableType:
    """A run as it fits into a terminal of so many columns and lines."""
    view = run_view(status)
    head = [*_head(view, width)]
    notes = _notes(view, width)[-max(height // _NOTES_SHARE, 1) :]
    free = height - len(head) - _lines_of_tables(view) - len(notes) - 1
    return Group(*head, *_sources(fitting(status, max(free, _FEWEST_LINES)), width), *_tables(view), *notes)


def _head(view: RunView, width: int) -> Iterator[Text]:
    yield Text.assemble((view.title, "bold"), "  ", (view.duration, "dim"), no_wrap=True, overflow="ellipsis")
    yield Text(view.sentence, style=_STYLES[view.trouble] or "green")
    yield from map(Text, _flowing([f"{name} {text}" for name, text in view.totals], width))
    for sentence in view.degraded:
        yield from (Text(line, style="yellow") for line in wrap(f"degraded: {sentence}", width))
    yield Text()


def _flowing(items: Sequence[str], width: int) -> list[str]:
    """Lines of items, none of which is parted."""
    lines = [""]
    for item in items:
        longer = f"{lines[-1]}  {item}".strip()
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(item)
    return lines


def _sources(fits: Fitting, width: int) -> Iterator[Text]:
    name_width = _name_width(fits.sources, width)
    yield Text(_line(COLUMNS, name_width), style="dim", no_wrap=True)
    for row in fits.sources:
        yield Text(_line(row.texts, name_width), style=_STYLES[row.trouble], no_wrap=True)
        if row.detail:
            yield Text(f"  {row.detail}", style="dim", no_wrap=True, overflow="ellipsis")
    if fits.rest:
        yield Text(fits.rest, style="dim", no_wrap=True, overflow="ellipsis")


def _tables(view: RunView) -> Iterator[RenderableType]:
    tables = ((ENGINE_COLUMNS, view.engines), (DEVICE_COLUMNS, view.devices), (SINK_COLUMNS, view.sinks))
    for names, rows in tables:
        if rows:
            yield Text()
            yield _table(names, rows)
            yield from (_cut(f"{row.texts[0]}: {row.detail}") for row in rows if row.detail)


def _lines_of_tables(view: RunView) -> int:
    tables = [rows for rows in (view.engines, view.devices, view.sinks) if rows]
    return sum(len(rows) + 2 + sum(bool(row.detail) for row in rows) for rows in tables)


def _notes(view: RunView, width: int) -> list[Text]:
    """The lines of all notes, the newest last."""
    return [_cut(line) for note in view.notes for line in wrap(f"note: {note}", width, subsequent_indent="  ")]


def _cut(sentence: str) -> Text:
    return Text(sentence, style="yellow", no_wrap=True, overflow="ellipsis")


def _name_width(rows: Sequence[SourceRow], width: int) -> int:
    room = width - sum(_WIDTHS) - len(_WIDTHS)
    longest = max((len(row.name) for row in rows), default=0)
    return max(min(longest, room, _LONGEST_NAME), _SHORTEST_NAME)


def _line(texts: Sequence[str], name_width: int) -> str:
    name, state, *numbers = texts
    cells = [_fitting(name, name_width), f"{state:<{_WIDTHS[0]}}"]
    cells += [f"{text:>{size}}" for text, size in zip(numbers, _WIDTHS[1:], strict=True)]
    return " ".join(cells)


def _fitting(name: str, width: int) -> str:
    """A name in exactly so many cells; what is cut is marked."""
    fitted = set_cell_size(name, width)
    return fitted if fitted.rstrip() == name.rstrip() else set_cell_size(name, width - 1) + "~"


def _table(names: Sequence[str], rows: Sequence[Row]) -> Table:
    made = table(*names)
    for row in rows:
        made.add_row(*(Text(text, style=_STYLES[row.trouble]) for text in row.texts))
    return made
