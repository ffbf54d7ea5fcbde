"""FP009: one request at a time does not fill the machine."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.situation import Situation
from framepace.explaining.trial import INTERVAL, LATENCY, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply


class UnderFilled:
    """The load is not kept up with while cores stand idle: more requests at once would fill them."""

    code = "FP009"
    title = "one request at a time does not fill the machine"

    def suspect(self, known: Situation) -> Suspicion | None:
        """The load outruns the pipeline, and the process uses less than 70 % of the cores."""
        cpu, seconds = known.process_cpu("stream"), known.summaries["stream"].throughput
        if cpu is None or not known.overloaded:
            return None
        used = cpu * seconds / 1e9 / known.cores
        if used > 0.7:
            return None
        return Suspicion("the load is not kept up with while cores idle", {"cores_used": used}, 1 - used)

    def probe(self, known: Situation) -> Probe | str:
        """Twice the workers, as many requests in flight."""
        workers = known.case.plan.engine.workers
        base = apply(known.case, {"scope": "pipeline", "concurrency": 2 * workers})
        return Probe(base, {"workers": 2 * workers}, INTERVAL, also=(LATENCY,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """More workers."""
        workers = 2 * known.case.plan.engine.workers
        return Remedy(text=f"run {workers} workers", plan={"workers": workers}, cost="memory of one more context each")
