"""A check of the machine: the finding, whether it is right, and the command that fixes it."""

from __future__ import annotations

from typing import Literal

from framepace.facts.base import Fact


class Check(Fact, frozen=True, kw_only=True):
    """One line of `framepace doctor`. `fix` and `undo` are commands for a person; framepace never runs them."""

    name: str
    state: Literal["ok", "warn", "bad", "info"]
    found: str
    why: str = ""
    fix: str | None = None
    undo: str | None = None
