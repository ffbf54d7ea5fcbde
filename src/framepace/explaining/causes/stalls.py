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
_COST = {
    "gc": "reference cycles are not freed: collect by hand where a pause does not hurt",
    "page faults": "the process's memory stays resident",
}


class Stalls:
    """A few requests are far slower than the rest, and something of the process's own coincides with them."""

    code = "FP015"
    title = "one-off stalls"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Outliers coincide with garbage collections or page faults and lift the tail by 5 % or more."""
        what, excess = self._main(evidence)
        share = excess / max(evidence.latency, 1)
        if not what or share < 0.05:
            return None
        numbers = {"coincides_with": what, "outlier_share": evidence.frames.outlier_share, "excess_ns": excess}
        return Suspicion(f"outliers coincide with {what}", numbers, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Garbage collection off, or memory locked, back to back so that rare stalls come often."""
        base = apply(evidence.case, {"scope": "pipeline", "concurrency": evidence.case.plan.engine.workers})
        return Probe(base, _CHANGES[self._main(evidence)[0]], TAIL, fewest=200)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        what = self._main(evidence)[0]
        text = "turn garbage collection off while running" if what == "gc" else "lock the process's memory"
        return Remedy(text=text, plan=_CHANGES[what], cost=_COST[what])

    @staticmethod
    def _main(evidence: Evidence) -> tuple[str, float]:
        """The coinciding event with the largest excess over all outliers, and that excess (ns)."""
        excess: dict[str, float] = {}
        for outlier in evidence.frames.outliers:
            excess[outlier.coincides] = max(excess.get(outlier.coincides, 0.0), outlier.excess)
        known_ones = {what: ns for what, ns in excess.items() if what in _CHANGES}
        return max(known_ones.items(), key=lambda item: item[1], default=("", 0.0))
