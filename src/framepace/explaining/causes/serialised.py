"""FP010: the kernels of several workers run one after the other."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.evidence import Situation
from framepace.explaining.trial import INTERVAL, LATENCY, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply


class Serialised:
    """Workers that share a stream (the default stream, say) wait for each other although the device has room."""

    code = "FP010"
    title = "workers wait for each other on the device"

    def suspect(self, known: Situation) -> Suspicion | None:
        """More than one worker, and hardly any of their kernels ran at the same time though requests waited."""
        workers, device = known.case.plan.engine.workers, known.device("gapless")
        if workers < 2 or device is None or device.overlap_kernels is None or device.overlap_kernels > 0.05:
            return None
        evidence = {"workers": workers, "overlap_kernels": device.overlap_kernels, "busy": device.busy}
        return Suspicion("kernels of different workers hardly ever overlap", evidence, 1 - 1 / workers)

    def probe(self, known: Situation) -> Probe | str:
        """A stream of its own for each worker."""
        if all(model.stream == "own" for model in known.models):
            return "each worker has a context and a stream of its own: one inference fills the device, or the host does"
        base = apply(known.case, {"scope": "model", "concurrency": 2 * known.case.plan.engine.workers})
        return Probe(base, {"stream": "own"}, INTERVAL, also=(LATENCY,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Streams of their own."""
        return Remedy(text="give each worker a stream of its own", plan={"stream": "own"})
