"""FP005: the host cannot launch kernels as fast as the device runs them."""

from __future__ import annotations

import numpy as np

from framepace.explaining.causes.cpu_nodes import nodes_on_cpu
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply


class LaunchBound:
    """Many short kernels: between them the device waits for the host."""

    code = "FP005"
    title = "launching kernels takes longer than running them"
    bottleneck: Bottleneck = "launch"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """The call that enqueues an inference takes nearly as long as its kernels."""
        if not evidence.on_gpu or all(model.graph for model in evidence.models):
            return None
        rows = evidence.traces["gapless"].measured().requests
        call = float(np.median(rows["enqueued"] - rows["started"]))
        kernels = evidence.part("compute", "gapless")
        if not kernels or call < 0.6 * kernels:
            return None
        numbers = {"enqueue_ns": call, "kernels_ns": kernels, "sm_activity": evidence.activity("sm")}
        share = _likelihood(evidence) * min(1.0, kernels / evidence.latency)
        return Suspicion("enqueuing takes as long as the kernels run", numbers, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """One CUDA graph instead of single launches; back to back, so that gaps play no part.

        Where nodes on the CPU keep a graph from being captured, both sides have their shapes computed once.
        """
        base = apply(evidence.case, {"scope": "model", "concurrency": 1, **_capturable(evidence)})
        return Probe(base, {"graph": True}, INFERENCE, also=(CPU,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Replay graphs."""
        cost = "memory for the captured graphs; each batch size is captured when it first occurs"
        return Remedy(
            text="replay each inference as a CUDA graph", plan={**_capturable(evidence), "graph": True}, cost=cost
        )


def _capturable(evidence: Evidence) -> dict[str, str]:
    """The setting without which no graph can be captured."""
    on_cpu, _ = nodes_on_cpu(evidence)
    return {"shapes": "fixed"} if on_cpu else {}


def _likelihood(evidence: Evidence) -> float:
    """The weight of a long call as evidence: pageable copies make it wait for the kernels anyway."""
    waits = any(model.transfer == "pageable" for model in evidence.models)
    return 0.2 if waits else 1.0
