"""Words for values: every number that people read is formatted here or in `framepace.units`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from framepace.facts.summary import Estimate
from framepace.units import format_estimate, format_ms, format_quantity, split_unit

T = TypeVar("T")
U = TypeVar("U")
MANY = 6  # a longer list is shown as its first and last members


def optional(value: T | None, text: Callable[[T], str]) -> str:
    """`text(value)`, or '' for None."""
    if value is None:
        return ""
    return text(value)


def maybe(value: T | None, function: Callable[[T], U]) -> U | None:
    """`function(value)`, or None for None."""
    if value is None:
        return None
    return function(value)


def share(value: float) -> str:
    """A share (0-1) in per cent: '31.0 %'."""
    return format_quantity(value, "share")


def plural(count: int, noun: str) -> str:
    """'1 camera', '2 cameras'."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun}s"


def estimate(value: Estimate, unit: str) -> str:
    """An estimate with its interval: '9.81 ms [9.12, 10.6]'."""
    return format_estimate(value.value, value.low, value.high, unit)


def split_interval(text: str) -> tuple[str, str]:
    """'9.81 ms [9.12, 10.6]' as ('9.81 ms', '[9.12, 10.6]'); the second is '' without an interval."""
    value, bracket, interval = text.partition(" [")
    return value, bracket.strip() + interval


def signed(ns: float, like: float | None = None) -> str:
    """A difference of durations (ns) with its sign, in the unit of `like`."""
    text = format_ms(ns, like)
    return f"+{text}" if ns > 0 else text


def named(key: str, value: Any) -> str:
    """A value as text, its unit read from the end of its key ('p99_ns', 'batch')."""
    unit = split_unit(key)[1]
    match value:
        case None:
            return ""
        case bool():
            return "on" if value else "off"
        case int() if not unit:
            return f"{value:,}"
        case int() | float():
            return format_quantity(value, unit)
        case Estimate():
            return estimate(value, unit)
        case Mapping():
            return ", ".join(f"{split_unit(str(name))[0]} {named(str(name), item)}" for name, item in value.items())
        case list() | tuple():
            return ", ".join(named(key, item) for item in value)
    return str(value)


def first_and_last(items: Sequence[T]) -> list[T | None]:
    """The items; of more than MANY the first and the last, with None for those left out."""
    if len(items) <= MANY:
        return list(items)
    return [*items[: MANY - 2], None, items[-1]]
