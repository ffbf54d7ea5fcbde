"""FP012: threads wait for a core: there are more of them than cores, or other processes have the cores."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, INTERVAL, LATENCY, MEAN_INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy

_WAITING = 0.1  # of the latency, spent runnable without a core, from which neighbours are suspected
_NEIGHBOURS = 0.1  # of the cores' time that other processes take
_MOST = 0.5  # of the cores' time: then hardly anything else can be why a thread waits for one
_LIKELY = 0.3  # what waits for a core may be slow for another reason: idle threads of its own that spin
_ALLOW = "--raise-priority proves their effect, at their expense"
_NICE = -10  # nine tenths of a core against a process of usual priority (sched(7): 1.25 per step)


class Oversubscribed:
    """Threads of the backend outnumber the cores and wait for one another at every barrier, or neighbours run there."""

    code = "FP012"
    title = "threads wait for a core"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Workers times threads exceed the cores (0 threads means one per core), or other processes are busy.

        Where a GPU computes, the thread that launches its kernels may wait for a core.
        """
        wanted = _wanted(evidence)
        if wanted > evidence.cores:
            numbers = {"threads": wanted, "cores": evidence.cores, "preempted": self._preempted(evidence)}
            return Suspicion(f"{wanted} threads on {evidence.cores} cores", numbers, 1 - evidence.cores / wanted)
        return self._neighbours(evidence)

    def probe(self, evidence: Evidence) -> Probe | str:
        """As many threads as cores; against neighbours a higher priority, judged by the mean: they hit some frames.

        That takes time from other people's processes, so only where it was allowed (--raise-priority).
        """
        change = self._change(evidence)
        if "threads" in change:
            return Probe(evidence.kept_up("stream"), change, INTERVAL if evidence.overloaded else LATENCY, also=(CPU,))
        if not evidence.may_raise_priority:
            others = evidence.summaries["stream"].neighbours_cpu or 0.0
            return f"other processes take {others:.0%} of the cores; {_ALLOW}"
        return Probe(evidence.kept_up("model"), change, MEAN_INFERENCE, also=(CPU,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Threads that fit the cores; or a higher priority, at the expense of the neighbours."""
        change = self._change(evidence)
        if "threads" in change:
            return Remedy(text=f"set threads={change['threads']} for each worker", plan=change)
        text = "raise the priority, or give the neighbours other cores (taskset, cpusets)"
        return Remedy(text=text, plan=change, cost="the neighbours run later; needs CAP_SYS_NICE")

    def _neighbours(self, evidence: Evidence) -> Suspicion | None:
        if not neighbours_take_cores(evidence):
            return None
        waited = _waited(evidence)
        share = waited / max(evidence.latency, 1)
        others = evidence.summaries["stream"].neighbours_cpu or 0.0
        numbers = {"waited_for_a_core_ns": waited, "others_share": others, "preempted": self._preempted(evidence)}
        likely = _LIKELY if others < _MOST else others
        return Suspicion(f"other processes take {others:.0%} of the cores", numbers, likely * min(1.0, share))

    @staticmethod
    def _change(evidence: Evidence) -> dict[str, int]:
        if _wanted(evidence) > evidence.cores:
            return {"threads": max(1, evidence.cores // evidence.case.plan.engine.workers)}
        return {"nice": _NICE}

    @staticmethod
    def _preempted(evidence: Evidence) -> int:
        return int(evidence.traces["stream"].measured().requests["preempted"].sum())


def neighbours_take_cores(evidence: Evidence) -> bool:
    """Whether threads wait for a core for a tenth of the latency, and other processes take a tenth of the cores."""
    others = evidence.summaries["stream"].neighbours_cpu or 0.0
    return others >= _NEIGHBOURS and _waited(evidence) >= _WAITING * max(evidence.latency, 1)


def _waited(evidence: Evidence) -> float:
    """Time per frame for which threads could have run and had no core, ns."""
    stream = evidence.summaries["stream"]
    return stream.telemetry.get("run_delay_s", 0.0) / max(stream.throughput, 1e-9)


def _wanted(evidence: Evidence) -> int:
    """Threads that want to run at once to compute."""
    if evidence.on_gpu:
        return 0
    return max((m.threads or evidence.cores) for m in evidence.models) * evidence.case.plan.engine.workers
