"""FP029: the batch alone takes the budget."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy

_LARGE = 0.5  # of the budget


class LargeBatch:
    """All frames of a batch are done when the last of them is: a large one is late as a whole."""

    code = "FP029"
    title = "the batch is too large for the budget"
    bottleneck: Bottleneck = "batching"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Inference of a batch alone takes over half of the budget."""
        alone = evidence.alone
        largest = _largest(evidence)
        if evidence.budget is None or largest < 2 or alone < _LARGE * evidence.budget:
            return None
        numbers = {"batch": largest, "infer_gapless_ns": alone, "budget_ns": evidence.budget}
        return Suspicion(f"a batch of {largest} takes over half of the budget", numbers, alone / evidence.latency / 2)

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """Half the batch, and single frames, as long as the throughput is kept."""
        sizes = sorted({_largest(evidence) // 2, 1}, reverse=True)
        return tuple(Probe(evidence.case, {"batch": size}, LATENCY, keeps=INTERVAL) for size in sizes)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        return Remedy(text="run smaller batches", plan=dict(blocks.change), cost="less throughput at the most")


def _largest(evidence: Evidence) -> int:
    return max(model.batch.max for model in evidence.models)
