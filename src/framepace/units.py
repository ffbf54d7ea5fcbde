"""Units: base units in storage (ns, bytes), parsing and formatting here and nowhere else."""

from __future__ import annotations

import math
import re

from framepace.errors import UsageError
from framepace.redaction import redacted

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_DURATIONS = {"ns": 1, "us": NS_PER_US, "µs": NS_PER_US, "ms": NS_PER_MS, "s": NS_PER_S, "min": 60 * NS_PER_S}
_LONGEST_DURATION = 40  # letters
_MOST_NS = 100 * 365 * 24 * 3600 * NS_PER_S
_SUFFIXES = {
    **{unit: unit for unit in ("ns", "us", "ms", "s", "fps", "bytes", "share")},
    "seconds": "s",
    "mhz": "MHz",
    "mw": "mW",
    "ratio": "x",
    "c": "°C",
}
_NEXT_TO_NOTHING = 0.001
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(ns|us|µs|ms|s|min)?\s*")


def parse_duration(text: str, default_unit: str = "ms") -> int:
    """Nanoseconds in a duration such as '5.1ms', '20' (in `default_unit`), '1.5 s' or '2min'."""
    match = _DURATION.fullmatch(text[: _LONGEST_DURATION + 1])
    ns = math.inf
    if match is not None and len(text) <= _LONGEST_DURATION:
        ns = float(match[1]) * _DURATIONS[match[2] or default_unit]
    if ns > _MOST_NS:
        expected = "a number with ns, us, ms, s or min, e.g. 5.1ms; at most 100 years"
        got = redacted(text)[:_LONGEST_DURATION]
        raise UsageError("not a duration", got=got, expected=expected, fix="correct the duration")
    return round(ns)


def duration_scale(ns: float) -> tuple[int, str]:
    """Divisor and name of the unit in which a duration of `ns` reads best."""
    size = abs(ns)
    if size < NS_PER_US:
        return 1, "ns"
    if size < NS_PER_MS:
        return NS_PER_US, "us"
    return (NS_PER_MS, "ms") if size < 10 * NS_PER_S else (NS_PER_S, "s")


def format_ms(ns: float, like: float | None = None) -> str:
    """A duration in ns as text with the unit that keeps three significant digits readable ('412 us', '9.8 ms').

    `like` is a duration whose unit is taken instead, so that a column has one unit.
    """
    divisor, name = duration_scale(ns if like is None else like)
    return f"{ns:.0f} ns" if divisor == 1 else f"{_three(ns / divisor, fine=like is None)} {name}"


def format_quantity(value: float, unit: str) -> str:
    """A number in `unit` as text; durations and bytes in the unit that reads best ('9.81 ms', '1.2 GiB')."""
    return format_estimate(value, None, None, unit)


def format_estimate(value: float, low: float | None, high: float | None, unit: str, like: float | None = None) -> str:
    """A number with its interval in one scale: '9.81 ms [9.12, 10.6]'; '0.00 ms [-4.92, 5.03]' where that is far wider.

    `unit` may carry words behind it ('ns per frame'); an interval with an end that is None is left out; `like` is a
    number whose scale is taken instead.
    """
    base, space, rest = unit.partition(" ")
    divisor, name = _scale(_of_scale(value, low, high) if like is None else like, base)
    digits = f"{value:.0f}" if name in ("ns", "B") else _three(value / divisor, fine=like is None)
    text = f"{digits}{'' if name in ('x', '') else ' '}{name}{space}{rest}".rstrip()
    if low is None or high is None:
        return text
    ends = (_three(end / divisor, fine=like is None) for end in (low, high))
    return f"{text} [{', '.join(ends)}]"


def _of_scale(value: float, low: float | None, high: float | None) -> float:
    """The number whose scale is taken: the value, or the far end of an interval of which it is next to nothing."""
    if low is None or high is None:
        return value
    far = max(abs(low), abs(high))
    return far if abs(value) < _NEXT_TO_NOTHING * far else value


def split_unit(key: str) -> tuple[str, str]:
    """The words and the unit of a key that ends in its unit: 'p99_ns' is ('p99', 'ns'); without one the unit is ''."""
    head, _, tail = key.rpartition("_")
    if head and tail in _SUFFIXES:
        return head.replace("_", " "), _SUFFIXES[tail]
    return key.replace("_", " "), ""


def ordinal(number: int) -> str:
    """'1st', '2nd', '11th', '23rd'."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{'th' if 10 < number % 100 < 14 else ending}"


def format_bytes(count: float) -> str:
    """A byte count as text in binary units ('12.0 MiB')."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def _scale(value: float, unit: str) -> tuple[float, str]:
    """Divisor and name of the unit in which `value` of `unit` is shown."""
    if unit in _DURATIONS and unit != "min":
        divisor, name = duration_scale(value * _DURATIONS[unit])
        return divisor / _DURATIONS[unit], name
    if unit in ("B", "bytes"):
        power = next((p for p in (0, 1, 2) if abs(value) < 1024 ** (p + 1)), 3)
        return 1024**power, ("B", "KiB", "MiB", "GiB")[power]
    if unit == "mW":
        return (1000, "W") if abs(value) >= 1000 else (1, "mW")
    return (0.01, "%") if unit == "share" else (1, unit)


def _three(value: float, fine: bool = True) -> str:
    """Three digits; under 0.01 one digit of what is left when `fine`, so that a small number is not nothing."""
    size = abs(value)
    if fine and 0.0005 <= size < 0.01:
        return f"{value:.3f}"
    value = 0.0 if size < 0.005 else value
    return f"{value:,.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"
