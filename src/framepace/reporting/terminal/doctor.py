"""The checks of this machine, with the commands that fix it."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from framepace.facts.check import Check
from framepace.reporting.terminal.layout import columns

_STATE_STYLES = {"ok": "green", "warn": "yellow", "bad": "bold red", "info": "dim"}


def show_checks(out: Console, checks: Sequence[Check]) -> None:
    """A row per check; one that is not in order says why it matters, how to fix it and how to undo the fix."""
    grid = columns("lll")
    for check in checks:
        grid.add_row(Text(check.state, style=_STATE_STYLES.get(check.state, "")), Text(check.name), _words(check))
    out.print(grid)


def _words(check: Check) -> Text:
    words = Text(check.found)
    if check.state not in ("warn", "bad"):
        return words
    words.append(f"\n{check.why}", "dim")
    if check.fix:
        words.append(f"\nfix: {check.fix}")
    if check.fix and check.undo:
        words.append(f"\nundo: {check.undo}", "dim")
    return words
