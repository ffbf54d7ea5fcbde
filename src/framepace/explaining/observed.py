"""Findings that need no intervention: what is plainly there in the rows."""

from __future__ import annotations

from framepace.explaining.evidence import Situation
from framepace.facts.finding import Finding, Remedy
from framepace.facts.trace import Mark, Outcome


def observed(known: Situation) -> list[Finding]:
    """Outputs that are not finite, and requests that failed, in the scope 'stream'."""
    r = known.traces["stream"].requests
    total = max(1, len(r["due"]))
    found = (
        ("FP100", "outputs are NaN or infinite", int((r["marks"] & Mark.NAN > 0).sum()), _NAN),
        ("FP101", "requests failed", int((r["outcome"] == Outcome.FAILED).sum()), _FAILED),
    )
    seen = [_finding(code, title, count, total, advice) for code, title, count, advice in found if count]
    placed = known.traces["stream"].meta.placement
    return seen + [_fallen_back(model, places) for model, places in placed.items() if places.get("cpu")]


_NAN = "check the input's range (scale, mean, std) and the precision of the model"
_FAILED = "the notes below say why"


def _fallen_back(model: str, places: dict[str, int]) -> Finding:
    """Nodes that the library placed on the CPU by itself; it said so when it was asked, so nothing is left to try."""
    on_cpu, total = places["cpu"], sum(places.values())
    text = "export with another opset, replace these operators, or use another backend; option.cpu_nodes=forbid refuses"
    return Finding(
        code="FP016",
        title="part of the model runs on the CPU",
        verdict="confirmed",
        severity="high" if on_cpu > 0.1 * total else "medium",
        summary=f"{on_cpu:,} of {total:,} nodes of {model} run on the CPU; each change of place copies tensors",
        evidence={"nodes_on_cpu": on_cpu, "nodes": total},
        remedy=Remedy(text=text),
    )


def _finding(code: str, title: str, count: int, total: int, advice: str) -> Finding:
    return Finding(
        code=code,
        title=title,
        verdict="confirmed",
        severity="high",
        summary=f"{count:,} of {total:,} requests",
        evidence={"requests": count, "of": total},
        remedy=Remedy(text=advice),
    )
