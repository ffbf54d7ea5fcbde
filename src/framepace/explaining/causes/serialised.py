"""FP010: the kernels of several workers run one after the other."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply


class Serialised:
    """Workers that share a stream (the default stream, say) wait for each other although the device has room."""

    code = "FP010"
    title = "workers wait for each other on the device"
    bottleneck: Bottleneck = "serialised"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """More than one worker, and hardly any of their kernels ran at the same time though requests waited."""
        workers = evidence.case.plan.engine.workers
        device = evidence.device("gapless")
        if workers < 2 or device is None or device.overlap_kernels is None or device.overlap_kernels > 0.05:
            return None
        numbers = {"workers": workers, "overlap_kernels": device.overlap_kernels, "busy": device.busy}
        return Suspicion("kernels of different workers hardly ever overlap", numbers, 1 - 1 / workers)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Give each worker its own stream."""
        if all(model.stream == "own" for model in evidence.models):
            return "each worker already has its own stream: one inference fills the device, or the host is the limit"
        base = apply(evidence.case, {"scope": "model", "concurrency": 2 * evidence.case.plan.engine.workers})
        return Probe(base, {"stream": "own"}, INTERVAL, also=(LATENCY,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """One stream per worker."""
        return Remedy(text="give each worker its own stream", plan={"stream": "own"})
