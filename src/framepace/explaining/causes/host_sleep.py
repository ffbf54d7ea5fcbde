"""FP002: the host sleeps between frames and wakes slowly."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.gaps import slower_at_the_same_clock
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply
from framepace.facts.workload import Closed


class HostSleep:
    """Cores halt in the gap between frames; the next inference pays for waking them, its caches and its clocks."""

    code = "FP002"
    title = "the host sleeps between frames and wakes slowly"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Inference is slower with gaps than without, and a halting core may be why."""
        with_gaps = evidence.infer("model") + evidence.stage("wake-up", "model")
        share = slower_at_the_same_clock(evidence) / evidence.latency if evidence.latency else 0.0
        # Back to back there is no gap: inferences then differ by what else is in flight.
        if share < 0.05 or isinstance(evidence.case.workload.load, Closed):
            return None
        numbers = {
            "infer_with_gaps_ns": with_gaps,
            "infer_gapless_ns": evidence.infer("gapless"),
            "idle_driver": evidence.machine.idle_driver,
        }
        return Suspicion("inference is slower after a gap than back to back", numbers, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Spin through the whole gap instead of sleeping; nothing else changes."""
        if evidence.case.plan.engine.wait == "spin":
            return "the worker already spins through the gap"
        base = apply(evidence.case, {"scope": "model"})
        return Probe(base, {"wait": "spin"}, INFERENCE, also=(CPU,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Keep the worker's core awake: by a process of idle priority beside it, or by spinning."""
        if evidence.cores > 1 and evidence.machine.system.lower().startswith("linux"):
            cost = "one core never idles; other work takes it at once (SCHED_IDLE)"
            return Remedy(text="keep the worker's core awake (keeper)", plan={"keeper": True}, cost=cost)
        cost = f"{blocks.value(blocks.after, CPU).value / 1e6:.1f} ms of CPU time per frame"
        return Remedy(text="spin through the gap", plan={"wait": "spin"}, cost=cost)
