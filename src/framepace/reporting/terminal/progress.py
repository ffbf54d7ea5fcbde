"""Progress for people: one line on standard error that says what is being tried and why."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

from framepace.facts.address import redacted


class Progress:
    """A context manager whose line vanishes at the end; silent when standard error is not a terminal.

    Report with `progress(text, share)`: `share` is the part of the time or work that is done (0-1), None when unknown.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, markup=False, emoji=False, highlight=False)
        text = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        columns = (SpinnerColumn(), text, BarColumn(bar_width=16), TimeElapsedColumn())
        silent = not self._console.is_terminal
        # Drawn on calls only: a thread that redraws ten times per second would show up in the latencies.
        self._bar = RichProgress(
            *columns, console=self._console, transient=True, expand=True, disable=silent, auto_refresh=False
        )
        self._task = self._bar.add_task("", total=None)

    def __call__(self, text: str, share: float | None = None) -> None:
        """Show `text`, and how far along the whole is."""
        text = redacted(text)
        if share is None:
            self._bar.update(self._task, description=text, refresh=True)
        else:
            self._bar.update(self._task, description=text, total=1.0, completed=min(max(share, 0.0), 1.0), refresh=True)

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bar.stop()
