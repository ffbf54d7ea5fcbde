"""Findings that need no intervention: what is plainly there in the rows."""

from __future__ import annotations

from framepace.explaining.situation import Situation
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
    return [_finding(code, title, count, total, advice) for code, title, count, advice in found if count]


_NAN = "check the input's range (scale, mean, std) and the precision of the model"
_FAILED = "the notes below say why"


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
