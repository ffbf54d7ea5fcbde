"""The view-model of a comparison: two traces against each other."""

from __future__ import annotations

from dataclasses import dataclass

from framepace.facts.summary import Comparison, Difference, LayerChange
from framepace.reporting.views.measurement import tier_sentence
from framepace.reporting.views.text import estimate, signed
from framepace.units import format_ms

_NOTHING = "nothing else differs: libraries, settings, model, machine, clocks"
_NOTHING_LOGGED = "nothing else that both say differs: rate, batches, cameras, models, lost frames, clocks"


@dataclass(frozen=True)
class ChangeRow:
    """The change of one stage between two traces, in ns and as text."""

    name: str
    change: str
    ns: float


@dataclass(frozen=True)
class ComparisonView:
    """Two traces against each other; `ratios` are B/A by name.

    `differences` are rows of what differs, A and B; `layers` rows of name, A, B and change; `tiers` the levels of A and
    of B where one of them has several.
    """

    a: str
    b: str
    verdict: str
    reason: str
    ratios: tuple[tuple[str, str], ...]
    stages: tuple[ChangeRow, ...]
    differences: tuple[tuple[str, str, str], ...] = ()
    layers: tuple[tuple[str, str, str, str], ...] = ()
    tiers: tuple[tuple[str, str], ...] = ()
    nothing_differs: str = ""


def comparison_view(comparison: Comparison) -> ComparisonView:
    """A comparison as rows, the largest change of a stage first."""
    ratios = [("median", estimate(comparison.ratio, "x"))]
    if comparison.p99_ratio is not None:
        ratios.append(("p99", estimate(comparison.p99_ratio, "x")))
    if comparison.difference is not None:
        ratios.append(("difference", estimate(comparison.difference, "ns")))
    changes = sorted(comparison.stages.items(), key=lambda change: -abs(change[1]))
    return ComparisonView(
        a=comparison.a,
        b=comparison.b,
        verdict=comparison.verdict,
        reason=comparison.reason,
        ratios=tuple(ratios),
        stages=tuple(ChangeRow(name, signed(ns, like=changes[0][1]), ns) for name, ns in changes),
        differences=tuple((_difference_name(d), d.a, d.b) for d in comparison.differences),
        layers=tuple(_layer_row(change) for change in comparison.layers),
        tiers=_tiers(comparison),
        nothing_differs=_NOTHING_LOGGED if comparison.logged else _NOTHING,
    )


def _tiers(comparison: Comparison) -> tuple[tuple[str, str], ...]:
    if max(len(comparison.tiers_a), len(comparison.tiers_b)) < 2:
        return ()
    return ("A", tier_sentence(comparison.tiers_a)), ("B", tier_sentence(comparison.tiers_b))


def _difference_name(difference: Difference) -> str:
    """'setting threads'; clocks and memory are named by themselves."""
    if difference.kind in ("clock", "memory"):
        return difference.name
    return f"{difference.kind} {difference.name}"


def _layer_row(change: LayerChange) -> tuple[str, str, str, str]:
    return change.name, format_ms(change.a), format_ms(change.b), signed(change.b - change.a)
