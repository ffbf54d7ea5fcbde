"""FP012: more runnable threads than cores."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.situation import Situation
from framepace.explaining.trial import CPU, LATENCY, Blocks
from framepace.facts.finding import Remedy


class Oversubscribed:
    """Threads of the backend outnumber the cores, so they wait for one another at every barrier."""

    code = "FP012"
    title = "more threads than cores"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Workers times threads exceed the cores (0 threads means one a core)."""
        wanted = max((m.threads or known.cores) for m in known.models) * known.case.plan.engine.workers
        if wanted <= known.cores:
            return None
        evidence = {"threads": wanted, "cores": known.cores, "preempted": self._preempted(known)}
        return Suspicion(f"{wanted} threads on {known.cores} cores", evidence, 1 - known.cores / wanted)

    def probe(self, known: Situation) -> Probe | str:
        """As many threads as cores."""
        return Probe(known.case, {"threads": self._fitting(known)}, LATENCY, also=(CPU,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Threads that fit the cores."""
        threads = self._fitting(known)
        return Remedy(text=f"give each worker {threads} thread(s)", plan={"threads": threads})

    @staticmethod
    def _fitting(known: Situation) -> int:
        return max(1, known.cores // known.case.plan.engine.workers)

    @staticmethod
    def _preempted(known: Situation) -> int:
        return int(known.traces["stream"].measured().requests["preempted"].sum())
