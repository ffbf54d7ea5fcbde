"""FP012: threads wait for a core: there are more of them than cores, or other processes have the cores."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.evidence import Situation
from framepace.explaining.trial import CPU, INTERVAL, LATENCY, MEAN_INFERENCE, Blocks
from framepace.facts.finding import Remedy

_WAITING = 0.1  # of the latency, spent runnable without a core, from which neighbours are suspected
_NEIGHBOURS = 0.1  # of the cores' time that other processes take
_LIKELY = 0.3  # what waits for a core may be slow for another reason: idle threads of its own that spin
_NICE = -10  # nine tenths of a core against a process of usual priority (sched(7): 1.25 a step)


class Oversubscribed:
    """Threads of the backend outnumber the cores and wait for one another at every barrier, or neighbours run there."""

    code = "FP012"
    title = "threads wait for a core"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Workers times threads exceed the cores (0 threads means one a core), or other processes are busy."""
        if known.on_gpu:
            return None
        wanted = _wanted(known)
        if wanted > known.cores:
            evidence = {"threads": wanted, "cores": known.cores, "preempted": self._preempted(known)}
            return Suspicion(f"{wanted} threads on {known.cores} cores", evidence, 1 - known.cores / wanted)
        return self._neighbours(known)

    def probe(self, known: Situation) -> Probe | str:
        """As many threads as cores; against neighbours a higher priority, judged by the mean: they hit some frames."""
        change = self._change(known)
        if "threads" in change:
            return Probe(known.kept_up("stream"), change, INTERVAL if known.overloaded else LATENCY, also=(CPU,))
        return Probe(known.kept_up("model"), change, MEAN_INFERENCE, also=(CPU,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Threads that fit the cores; or the priority, which only takes from the neighbours what they can miss."""
        change = self._change(known)
        if "threads" in change:
            return Remedy(text=f"give each worker {change['threads']} thread(s)", plan=change)
        text = "raise the priority, or give the neighbours other cores (taskset, cpusets)"
        return Remedy(text=text, plan=change, cost="the neighbours run later; needs CAP_SYS_NICE")

    def _neighbours(self, known: Situation) -> Suspicion | None:
        stream = known.summaries["stream"]
        waited = stream.telemetry.get("run_delay_s", 0.0) / max(stream.throughput, 1e-9)
        share, others = waited / max(known.latency, 1), stream.neighbours_cpu or 0.0
        if share < _WAITING or others < _NEIGHBOURS:
            return None
        evidence = {"waited_for_a_core_ns": waited, "others_share": others, "preempted": self._preempted(known)}
        return Suspicion(f"other processes take {others:.0%} of the cores", evidence, _LIKELY * min(1.0, share))

    @staticmethod
    def _change(known: Situation) -> dict[str, int]:
        if _wanted(known) > known.cores:
            return {"threads": max(1, known.cores // known.case.plan.engine.workers)}
        return {"nice": _NICE}

    @staticmethod
    def _preempted(known: Situation) -> int:
        return int(known.traces["stream"].measured().requests["preempted"].sum())


def _wanted(known: Situation) -> int:
    """Threads that want to run at once."""
    return max((m.threads or known.cores) for m in known.models) * known.case.plan.engine.workers
