"""The time line of a trace in the report: what every source, worker and stream did, around its slowest frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from framepace.facts.trace import Trace
from framepace.reporting.page.document import Document
from framepace.reporting.page.markup import Markup, tag
from framepace.reporting.page.plot import packed
from framepace.reporting.timeline import DOING, Timeline, timeline
from framepace.units import NS_PER_MS, format_ms

_MOST = 8_000  # spans of one trace: a quarter of a megabyte
_SHORTEST_MS = 1e-3
_FRAMES_AT_FIRST = 6  # frame periods in sight when the page opens
_HINT = "Drag to move, Ctrl and the wheel or the buttons to zoom; a span says what it is under the pointer."


def timeline_figure(document: Document, trace: Trace, limit: int) -> str:
    """The picture's place, with its data in the document; '' where nothing was measured.

    Args:
        document: the page, which takes the data.
        trace: what is shown; of a long one a stretch around its slowest request.
        limit: most spans that are drawn.
    """
    line = timeline(trace)
    if not len(line):
        return ""
    slowest = _slowest(trace)
    shown = _stretch(line, slowest, min(limit, _MOST))
    index = document.program("timeline", _data(trace, shown, slowest))
    zoom = "".join(
        f'<button type="button" data-zoom="{name}">{sign}</button>'
        for name, sign in (("in", "+"), ("out", "−"), ("fit", "all"), ("slowest", "slowest"))
    )
    picture = f'<div class="timeline" data-index="{index}"><div class="buttons">{zoom}</div></div>'
    return f"<figure>{picture}{tag('figcaption', _caption(line, shown))}</figure>"


def _caption(line: Timeline, shown: Timeline) -> str:
    if len(shown) == len(line):
        return Markup(_HINT)
    span = format_ms(int(shown.column("end").max() - shown.column("start").min()))
    return f"{_HINT} {len(shown):,} of {len(line):,} spans are here, {span} around the slowest request."


def _slowest(trace: Trace) -> tuple[int, int]:
    """From when the slowest request was due until it was delivered, ns."""
    rows = np.flatnonzero(trace.counted)
    if not len(rows):
        rows = np.arange(len(trace))
    row = rows[np.argmax(trace.latency[rows])]
    due = int(trace.requests["due"][row])
    return due, max(due + 1, int(trace.requests["delivered"][row]))


def _stretch(line: Timeline, middle: tuple[int, int], limit: int) -> Timeline:
    """At most so many spans that follow each other, around the middle."""
    if len(line) <= limit:
        return line
    centre = int(np.searchsorted(line.column("start"), sum(middle) // 2))
    first = min(max(0, centre - limit // 2), len(line) - limit)
    return line.part(slice(first, first + limit))


def _data(trace: Trace, line: Timeline, slowest: tuple[int, int]) -> dict[str, Any]:
    """Lanes by name, spans as packed arrays in ms from the first one, and what is in sight at first."""
    origin = int(line.column("start").min())
    used = np.unique(line.column("lane"))
    due, delivered = ((end - origin) / NS_PER_MS for end in slowest)
    last = (int(line.column("end").max()) - origin) / NS_PER_MS
    return {
        "lanes": [line.lanes[lane].name for lane in used],
        "doing": DOING,
        **_packed(trace, line, origin),
        "lane": packed(np.searchsorted(used, line.column("lane")), "u2"),
        "view": _first_view(due, delivered, last),
        "slowest": (due, delivered),
    }


def _first_view(due: float, delivered: float, last: float) -> tuple[float, float]:
    """A stretch around the slowest request, and nothing before the first span or behind the `last` one; all in ms."""
    around = _FRAMES_AT_FIRST * max(delivered - due, _SHORTEST_MS) / 2
    return max(due - around, min(due, 0.0)), min(delivered + around, max(delivered, last))


def _packed(trace: Trace, line: Timeline, origin: int) -> dict[str, Any]:
    start = line.column("start")
    return {
        "kind": packed(line.column("doing"), "u1"),
        "start": packed((start - origin) / NS_PER_MS, "f8"),
        "took": packed((line.column("end") - start) / NS_PER_MS),
        "frame": packed(trace.requests["frame"][line.column("row")], "i4"),
        "frames": packed(line.column("frames"), "u2"),
    }
