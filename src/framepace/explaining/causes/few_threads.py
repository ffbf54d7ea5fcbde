"""FP020: the model takes more than half of the budget, on fewer threads than it could have."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply


class FewThreads:
    """The inference is kept from cores that are there, and takes over half of the budget alone."""

    code = "FP020"
    title = "the model uses fewer threads than there are cores"
    bottleneck: Bottleneck = "compute"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Threads are set to fewer than each worker's share of the cores."""
        alone = evidence.alone
        used = _threads(evidence)
        wanted = _share_of_cores(evidence)
        if not cores_are_free(evidence) or evidence.budget is None or alone < 0.5 * evidence.budget:
            return None
        numbers = {"threads": used, "cores": evidence.cores, "infer_gapless_ns": alone}
        share = (1 - used / wanted) * alone / max(evidence.latency, 1)
        return Suspicion(f"threads per worker: {used}, cores: {evidence.cores}", numbers, min(1.0, share))

    def probe(self, evidence: Evidence) -> Probe | str:
        """Each worker's share of the cores."""
        base = apply(evidence.case, {"scope": "model", "concurrency": evidence.case.plan.engine.workers})
        return Probe(base, {"threads": _share_of_cores(evidence)}, INFERENCE, also=(CPU,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        threads = _share_of_cores(evidence)
        return Remedy(text=f"give each worker {threads} threads", plan={"threads": threads}, cost="more cores in use")


def cores_are_free(evidence: Evidence) -> bool:
    """Whether threads are set to fewer than each worker's share of the cores."""
    return not evidence.on_gpu and 0 < _threads(evidence) < _share_of_cores(evidence)


def _threads(evidence: Evidence) -> int:
    return max(model.threads for model in evidence.models)


def _share_of_cores(evidence: Evidence) -> int:
    return evidence.cores // evidence.case.plan.engine.workers
