"""A cause: evidence that makes it worth testing, the intervention that switches it off, and the remedy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from framepace.explaining.evidence import Situation
from framepace.explaining.trial import LATENCY, Blocks, Metric
from framepace.facts.finding import Remedy
from framepace.facts.settings import Case


@dataclass(frozen=True)
class Suspicion:
    """Why a cause is worth a trial: a sentence, the numbers, and the share of the metric it may be worth (0-1)."""

    sentence: str
    evidence: dict[str, Any]
    share: float


@dataclass(frozen=True)
class Probe:
    """The trial of a cause: `base` against `base` with `change`, judged on `metric`; `also` is reported beside it.

    A block holds `fewest` requests where the time allows, and a third of that at least; it lasts `least_s` or longer.
    """

    base: Case
    change: dict[str, Any]
    metric: Metric = LATENCY
    also: tuple[Metric, ...] = field(default=())
    fewest: int = 36
    least_s: float = 0.0


class Cause(Protocol):
    """One hypothesis (FP0xx). All but `title` and `code` are pure functions of what was measured."""

    code: str
    title: str

    def suspect(self, known: Situation) -> Suspicion | None:
        """Evidence that the cause is at work, or None."""

    def probe(self, known: Situation) -> Probe | str:
        """The trial that switches it off; a str says why this case or backend cannot be tried."""

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """What to do once it is confirmed, its cost taken from the trial."""
