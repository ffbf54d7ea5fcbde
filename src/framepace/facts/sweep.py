"""A sweep: the same measurement over a grid of settings, one cell per combination."""

from __future__ import annotations

from typing import Any

from framepace.facts.base import Fact
from framepace.facts.summary import Summary


class Cell(Fact, frozen=True, kw_only=True):
    """One combination of settings: its summary, or the error that kept it from being measured.

    `why` says why its strategy is faster or slower than another, where the sweep varies that.
    """

    settings: dict[str, Any]
    summary: Summary | None = None
    trace: str | None = None
    error: str | None = None
    why: str | None = None


class Sweep(Fact, frozen=True, kw_only=True):
    """All cells in the order of the grid; `interrupted` when Ctrl-C ended it before the last.

    `notes` are sentences a reader must see, such as a cell that was damaged and measured again.
    """

    grid: dict[str, tuple[str, ...]]
    cells: tuple[Cell, ...]
    interrupted: bool = False
    notes: tuple[str, ...] = ()
