"""FP015: one-off stalls: garbage collection and page faults."""

from __future__ import annotations

from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import TAIL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

_CHANGES: dict[str, dict[str, Any]] = {"gc": {"gc": "off"}, "page faults": {"lock-memory": True}}
_ADVICE = {"gc": "turn garbage collection off while running", "page faults": "lock the process's memory"}
_COST = {
    "gc": "reference cycles are not freed: call gc.collect() where a pause does not hurt",
    "page faults": "the process's memory stays resident",
}


class Stalls:
    """A few requests are far slower than the others, and an event in the process coincides with them."""

    code = "FP015"
    title = "one-off stalls"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Outliers coincide with garbage collections or page faults and lift the tail by 5 % or more."""
        event, excess = self._main(evidence)
        share = excess / max(evidence.latency, 1)
        if not event or share < 0.05:
            return None
        numbers = {"coincides_with": event, "outlier_share": evidence.frames.outlier_share, "excess_ns": excess}
        return Suspicion(f"outliers coincide with {event}", numbers, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Garbage collection off, or memory locked, back to back so that rare stalls come often."""
        base = apply(evidence.case, {"scope": "pipeline", "concurrency": evidence.case.plan.engine.workers})
        return Probe(base, _CHANGES[self._main(evidence)[0]], TAIL, fewest=200)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        event = self._main(evidence)[0]
        return Remedy(text=_ADVICE[event], plan=_CHANGES[event], cost=_COST[event])

    @staticmethod
    def _main(evidence: Evidence) -> tuple[str, float]:
        """The coinciding event with the largest excess over all outliers, and that excess (ns)."""
        excess: dict[str, float] = {}
        for outlier in evidence.frames.outliers:
            excess[outlier.coincides] = max(excess.get(outlier.coincides, 0.0), outlier.excess)
        avoidable = [(event, ns) for event, ns in excess.items() if event in _CHANGES]
        return max(avoidable, key=lambda item: item[1], default=("", 0.0))
