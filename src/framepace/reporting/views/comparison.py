"""The view-model of a comparison: two traces against each other."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.facts.summary import Comparison
from framepace.reporting.views.text import estimate, signed


@dataclass(frozen=True)
class ChangeRow:
    """The change of one stage between two traces, in ns and as text."""

    name: str
    change: str
    ns: float


@dataclass(frozen=True)
class ComparisonView:
    """Two traces against each other; `ratios` are B/A by name."""

    a: str
    b: str
    verdict: str
    reason: str
    ratios: tuple[tuple[str, str], ...]
    stages: tuple[ChangeRow, ...]


def comparison_view(comparison: Comparison) -> ComparisonView:
    """A comparison as rows, the largest change of a stage first."""
    ratios = [("median", estimate(comparison.ratio, "x"))]
    if comparison.p99_ratio is not None:
        ratios.append(("p99", estimate(comparison.p99_ratio, "x")))
    changes = sorted(comparison.stages.items(), key=lambda change: -abs(change[1]))
    return ComparisonView(
        a=comparison.a,
        b=comparison.b,
        verdict=comparison.verdict,
        reason=comparison.reason,
        ratios=tuple(ratios),
        stages=tuple(ChangeRow(name, signed(ns, like=changes[0][1]), ns) for name, ns in changes),
    )
