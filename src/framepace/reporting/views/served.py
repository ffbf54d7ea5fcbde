"""The view-model of what servers say of their models, as rows of name and text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from framepace.facts.served import Served
from framepace.facts.summary import Summary
from framepace.units import format_ms

_NAMES = {"network": "network and protocol"}
_MOST_SIZES = 4


def server_rows(summary: Summary) -> Iterator[tuple[str, str]]:
    """Where the time of a request went, and in which batches the server ran it."""
    for row in summary.served:
        title = f"server {row.model}" if len(summary.served) > 1 else "server"
        yield f"{title} time", parts_text(row)
        yield f"{title} batches", _batches(row)
        if row.busy_with_others:
            yield f"{title} load", f"{row.requests:,} requests, {row.asked:,} of them from here: others asked too"


def parts_text(row: Served) -> str:
    """'network and protocol 0.41 ms, queue 2.02 ms, compute 1.30 ms': means per request."""
    shown = (name for name, ns in row.parts.items() if ns or name in ("network", "queue", "compute"))
    return ", ".join(f"{_NAMES.get(name, name)} {format_ms(row.parts[name])}" for name in shown)


def _batches(row: Served) -> str:
    words = f"{row.batch:.2g} per execution"
    ranked = sorted(row.batches.items(), key=lambda pair: -pair[1])
    if len(ranked) > 1:
        words += f" ({', '.join(f'{count:,} of {size}' for size, count in islice(ranked, _MOST_SIZES))})"
    if row.cached:
        words += f", {row.cached:,} answered from its cache"
    if row.failed:
        words += f", {row.failed:,} failed"
    return words
