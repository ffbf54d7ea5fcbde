"""A hypothesis: evidence that makes a cause worth testing, the intervention that switches it off, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from framepace.explaining.evidence import Evidence
from framepace.explaining.metrics import LATENCY, Metric
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import Case


@dataclass(frozen=True)
class Suspicion:
    """Why a cause is worth a trial: a sentence, its numbers, and the share of the metric it may be worth (0-1)."""

    sentence: str
    numbers: dict[str, Any]
    share: float


@dataclass(frozen=True)
class Probe:
    """The trial of a cause: `base` against `base` with `change`, judged on `metric`; `also` is reported beside it.

    A block holds `fewest` requests where the time allows, and a third of that at least; it lasts `least_s` or longer.
    What makes `keeps` 5 % larger is no remedy, whatever else it brings. Where it `is_fresh`, each block runs in a
    process of its own, so that nothing is left over from the one before.
    """

    base: Case
    change: dict[str, Any]
    metric: Metric = LATENCY
    also: tuple[Metric, ...] = field(default=())
    fewest: int = 36
    least_s: float = 0.0
    keeps: Metric | None = None
    is_fresh: bool = False


class Hypothesis(Protocol):
    """One possible cause (FP0xx), its title and its class. The methods are pure functions of what was measured."""

    code: str
    title: str
    bottleneck: Bottleneck

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Why the cause may be at work, or None."""

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """The trial that switches it off, or several that are tried in turn until one is confirmed.

        A str says why this case or backend cannot be tried.
        """

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """What to do once the cause is confirmed; `blocks` are those of the trial: what it changed and cost."""
