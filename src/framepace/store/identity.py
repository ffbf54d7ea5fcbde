"""What two cases differ in, for people; and cases without their secrets, for files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from framepace.facts.program import without_secrets as hidden

_LONGEST_VALUE = 40


def differences(before: Any, now: Any) -> list[str]:
    """Where two plain values (of JSON) differ: 'workload.stop.seconds: 5.0 there, 2.0 now'."""
    return list(_differences(before, now, ""))


def without_secrets(value: Any) -> Any:
    """A plain value (of JSON) with the secrets of addresses hidden in all its texts."""
    if isinstance(value, str):
        return hidden([value])[0]
    if isinstance(value, Mapping):
        return {name: without_secrets(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_secrets(part) for part in value]
    return value


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
    text = "nothing" if value is None else str(value)
    if len(text) <= _LONGEST_VALUE:
        return text
    return text[:_LONGEST_VALUE] + "..."
