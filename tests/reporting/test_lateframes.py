"""Figures of a run whose frames are delivered long after they were due."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
from msgspec.structs import replace

from framepace.facts.trace import Trace
from framepace.reporting.page.latency import time_figure
from framepace.reporting.page.report import render
from tests.reporting import samples

SECOND = 1_000_000_000


def late(by: int) -> Trace:
    """A second of frames, each delivered so many ns late; telemetry goes on until the last is delivered."""
    trace = samples.trace(30)
    shifted = {name: trace.requests[name] + by for name in ("started", "finished", "delivered")}
    telemetry = {**trace.telemetry, "time": trace.telemetry["time"].copy()}
    begin = int(trace.requests["due"][0])
    telemetry["time"][:] = np.linspace(begin, begin + SECOND + by, len(telemetry["time"])).astype(np.int64)
    return Trace(trace.meta, {**trace.requests, **shifted}, telemetry)


def in_sight(trace: Trace) -> dict[str, Any]:
    """The data of the page's time line."""
    page = render([trace], [samples.summary()])
    found = re.search(r'id="timeline-data"[^>]*>(.*?)</script>', page, re.DOTALL)
    assert found is not None
    (line,) = json.loads(found[1])
    return dict(line)


def test_the_time_line_opens_on_what_happened_and_on_nothing_beside_it() -> None:
    """Frames that are eight seconds late: neither the time before the first span nor that behind the last is shown."""
    begin, end = in_sight(late(8 * SECOND))["view"]
    assert begin >= -100
    assert 8000 < end < 9500


def test_the_budget_is_drawn_as_far_as_the_figure_goes() -> None:
    """Frames are due within a second; telemetry goes on for eight more."""
    summary = replace(samples.summary(), budget=33.3e6)
    figure = time_figure(late(8 * SECOND), summary)
    assert figure is not None
    (budget,) = (line for line in figure["data"] if str(line.get("name", "")).startswith("budget"))
    assert budget["x"][1] > 8.5
