"""Progress: what long work reports while it goes on."""

from __future__ import annotations

from collections.abc import Callable

Tell = Callable[[str, float | None], None]
"""Called with the current step, and the share (0 to 1) that is done; None if unknown."""


def silent(text: str, share: float | None) -> None:
    """Report to nobody."""


def within(tell: Tell, prefix: str, share: float | None) -> Tell:
    """A callback for a part of longer work: its text comes after `prefix`, and the bar stays at `share`."""
    return lambda text, _: tell(f"{prefix}{text}", share)
