"""Units: base units in storage (ns, bytes), parsing and formatting here and nowhere else."""

from __future__ import annotations

import re

from framepace.errors import UsageError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_DURATIONS = {"ns": 1, "us": NS_PER_US, "µs": NS_PER_US, "ms": NS_PER_MS, "s": NS_PER_S, "min": 60 * NS_PER_S}
_DURATION = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*(ns|us|µs|ms|s|min)?\s*")


def parse_duration(text: str, default_unit: str = "ms") -> int:
    """Nanoseconds in a duration such as '5.1ms', '20' (in `default_unit`), '1.5 s' or '2min'."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError("not a duration", got=text, expected="a number with ns, us, ms, s or min, e.g. 5.1ms")
    return round(float(match[1]) * _DURATIONS[match[2] or default_unit])


def format_ms(ns: float) -> str:
    """A duration in ns as text with the unit that keeps three significant digits readable ('412 us', '9.8 ms')."""
    size = abs(ns)
    if size < NS_PER_US:
        return f"{ns:.0f} ns"
    if size < NS_PER_MS:
        return f"{_three(ns / NS_PER_US)} us"
    if size < 10 * NS_PER_S:
        return f"{_three(ns / NS_PER_MS)} ms"
    return f"{_three(ns / NS_PER_S)} s"


def format_bytes(count: float) -> str:
    """A byte count as text in binary units ('12.0 MiB')."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError("unreachable")


def _three(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
