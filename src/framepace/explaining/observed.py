"""Findings that need no intervention: what is plainly there in the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.explaining.evidence import Evidence
from framepace.facts.finding import Bottleneck, Finding, Remedy
from framepace.facts.trace import Mark, Outcome

_NAN_ADVICE = "check the input's range (scale, mean, std) and the precision of the model"
_FAILED_ADVICE = "the notes below say why"
_CPU_NODES_ADVICE = (
    "export with another opset, replace these operators, or use another backend; option.cpu_nodes=forbid refuses"
)


def observed(evidence: Evidence) -> list[Finding]:
    """Outputs that are not finite, and requests that failed, in the scope 'stream'; nodes that run on the CPU."""
    rows = evidence.traces["stream"].requests
    not_finite = rows["marks"] & Mark.NAN > 0
    failed = rows["outcome"] == Outcome.FAILED
    candidates = (
        _finding("FP100", "outputs are NaN or infinite", "wrong output", not_finite, _NAN_ADVICE),
        _finding("FP101", "requests failed", "failing", failed, _FAILED_ADVICE),
    )
    placed = evidence.traces["stream"].meta.placement
    fallen_back = [_fallen_back(model, places) for model, places in placed.items() if places.get("cpu")]
    return [finding for finding in candidates if finding is not None] + fallen_back


def _finding(code: str, title: str, bottleneck: Bottleneck, affected: NDArray[np.bool_], advice: str) -> Finding | None:
    """The finding about the requests that are `affected`; None where there are none."""
    count = int(affected.sum())
    if not count:
        return None
    return Finding(
        code=code,
        title=title,
        bottleneck=bottleneck,
        verdict="confirmed",
        severity="high",
        summary=f"{count:,} of {len(affected):,} requests",
        evidence={"requests": count, "of": len(affected)},
        remedy=Remedy(text=advice),
    )


def _fallen_back(model: str, places: dict[str, int]) -> Finding:
    """Nodes that the library placed on the CPU by itself; it reports them, so that nothing has to be tried."""
    on_cpu = places["cpu"]
    total = sum(places.values())
    return Finding(
        code="FP016",
        title="part of the model runs on the CPU",
        bottleneck="host",
        verdict="confirmed",
        severity="high" if on_cpu > 0.1 * total else "medium",
        summary=f"{on_cpu:,} of {total:,} nodes of {model} run on the CPU; moves between CPU and GPU copy tensors",
        evidence={"nodes_on_cpu": on_cpu, "nodes": total},
        remedy=Remedy(text=_CPU_NODES_ADVICE),
    )
