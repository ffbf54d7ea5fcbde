"""The differences between two cases, as text; and cases without their secrets, for files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from framepace.facts.address import without_secrets
from framepace.values import shown

__all__ = ["differences", "without_secrets"]

_LONGEST_VALUE = 40


def differences(before: Any, now: Any) -> list[str]:
    """Where two plain values (of JSON) differ: 'workload.stop.seconds: 5.0 there, 2.0 now'."""
    return list(_differences(before, now, ""))


def _differences(before: Any, now: Any, place: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for name in sorted(before.keys() | now.keys()):
            yield from _differences(before.get(name), now.get(name), f"{place}.{name}" if place else name)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for number, (old, new) in enumerate(zip(before, now, strict=True)):
            yield from _differences(old, new, f"{place}[{number}]")
    elif before != now:
        yield f"{place or 'the case'}: {_short(before)} there, {_short(now)} now"


def _short(value: Any) -> str:
    text = "nothing" if value is None else shown(value)  # without secrets before it is cut
    if len(text) <= _LONGEST_VALUE:
        return text
    return text[:_LONGEST_VALUE] + "..."
