"""Hooks of the labelled cases: they take their time on the clock of the case."""

from __future__ import annotations

from typing import Any

from framepace.clock.virtual import VirtualClock


class Hooks:
    """Time that hooks take, on the clock of the case that runs in this process."""

    clock: VirtualClock | None = None
    ns = 0


def _pass_time() -> None:
    clock = Hooks.clock
    if clock is not None:
        clock.spin_until(clock.now() + Hooks.ns)


def slow_hook(picture: Any) -> Any:
    """A preparation hook that takes the case's time."""
    _pass_time()
    return picture


def slow_finish(model: str, outputs: Any, number: int) -> None:
    """A finish hook that takes the case's time."""
    _pass_time()


def crowded_finish(model: str, outputs: Any, number: int) -> None:
    """A finish hook that takes the case's time in one frame of twelve."""
    if number % 12 == 5:
        _pass_time()


def stalling_sink(model: str, outputs: Any, number: int) -> None:
    """A finish hook that waits for that time, without working, in one frame of twelve."""
    clock = Hooks.clock
    if clock is not None and number % 12 == 5:
        clock.sleep_until(clock.now() + Hooks.ns)
