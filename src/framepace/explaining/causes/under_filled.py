"""FP009: one request at a time does not fill the machine."""

from __future__ import annotations

from framepace.explaining.causes.oversubscribed import neighbours_take_cores
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

_FULL = 0.7  # of the machine
_LIKELY = 0.5  # more workers come after what keeps each of them busy


class UnderFilled:
    """Throughput is below the load, and this process leaves cores to others: more requests at once may use them."""

    code = "FP009"
    title = "one request at a time does not fill the machine"
    bottleneck: Bottleneck = "under-filled"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """The load outruns the pipeline, and the process uses less than 70 % of the cores, others' part included."""
        used = self._used(evidence)
        if used is None or used > _FULL or not evidence.overloaded:
            return None
        others = evidence.summaries["stream"].neighbours_cpu or 0.0
        if not evidence.on_gpu and neighbours_take_cores(evidence) and used + others > _FULL:
            return None
        what = "the device" if evidence.on_gpu else "the cores"
        sentence = f"throughput is below the load, and the pipeline uses {used:.0%} of {what}"
        return Suspicion(sentence, {"used": used}, _LIKELY * (1 - used))

    @staticmethod
    def _used(evidence: Evidence) -> float | None:
        """The share of the machine that works under this load: of the SMs or the memory on a GPU, else of the cores."""
        device = evidence.device("stream")
        if device is not None:
            activities = [evidence.activity(name, "stream") for name in ("sm", "dram")]
            return max((activity for activity in activities if activity is not None), default=device.busy)
        cpu = evidence.process_cpu("stream")
        return None if cpu is None else cpu * evidence.summaries["stream"].throughput / 1e9 / evidence.cores

    def probe(self, evidence: Evidence) -> Probe | str:
        """Twice the workers, as many requests in flight."""
        workers = evidence.case.plan.engine.workers
        base = apply(evidence.case, {"scope": "pipeline", "concurrency": 2 * workers})
        return Probe(base, {"workers": 2 * workers}, INTERVAL, also=(LATENCY,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """More workers."""
        workers = 2 * evidence.case.plan.engine.workers
        return Remedy(text=f"run {workers} workers", plan={"workers": workers}, cost="memory for one more context each")
