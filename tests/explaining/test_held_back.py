"""A server that holds requests back until a batch is full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from framepace.analyze.summary import summarize
from framepace.explaining.evidence import Evidence
from framepace.explaining.served import held_back
from framepace.facts.plan import ModelPlan, Plan, Target
from framepace.facts.served import Served
from framepace.facts.settings import Case
from framepace.facts.workload import Paced, Workload
from framepace.testing import make_trace

_MS = 1_000_000
_SERVED = Served(
    model="m", requests=100, asked=100, failed=0, executions=100, batch=1.0, cached=0,
    parts={"network": 1.0 * _MS, "queue": 20.0 * _MS, "compute": 4.0 * _MS},
)  # fmt: skip


def _evidence(alone: Served, location: str = "http://127.0.0.1:8000/v2/models/m", backend: str = "server") -> Evidence:
    """Frames of 30 ms for a model of a server, which says that of requests one after the other."""
    plan = Plan(models=(ModelPlan(name="m", model=location, backend=backend),), target=Target(fps=10))
    trace = make_trace(np.full(100, 30 * _MS), plan=plan)
    summary = summarize(trace)
    traces = {"stream": trace, "gapless": trace}
    summaries = {"stream": summary, "gapless": replace(summary, served=(alone,))}
    return Evidence(Case(plan=plan, workload=Workload(load=Paced(fps=10))), traces, summaries, 2)


def test_a_request_that_is_alone_and_waits_was_held_back() -> None:
    """Nothing is before it: how long it waits is said, and the setting that makes it wait."""
    (finding,) = held_back(_evidence(_SERVED))
    assert finding.bottleneck == "batching"
    assert finding.verdict == "confirmed"
    assert finding.remedy is not None
    assert "max_queue_delay_microseconds" in finding.remedy.text
    assert "20.0 ms" in finding.summary


@pytest.mark.parametrize(
    "changes",
    [
        {"parts": {**_SERVED.parts, "queue": 0.1 * _MS}},
        {"parts": {**_SERVED.parts, "queue": 1.0 * _MS}},
        {"requests": 1000},
    ],
    ids=["handed over at once", "a small part of the frame", "others ask too"],
)
def test_a_queue_that_others_or_nobody_fills_is_no_delay(changes: dict[str, Any]) -> None:
    """Requests of others may be before it."""
    assert not list(held_back(_evidence(replace(_SERVED, **changes))))


def test_models_that_run_here_have_no_server() -> None:
    """Whatever their summaries hold."""
    assert not list(held_back(_evidence(_SERVED, "null", "null")))
