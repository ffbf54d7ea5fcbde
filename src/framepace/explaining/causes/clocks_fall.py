"""FP001: the device's clocks fall in the gap between frames."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.gaps import beat_cost, clock_scope, dense_beat, slowed_by_clock
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import COMPUTE, CPU, at_clock
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

_BLOCK_S = 4.0  # a governor may take seconds to follow


class ClocksFall:
    """An idle device lowers its clocks; the next inference runs at the low clock until it has come up again."""

    code = "FP001"
    title = "the device's clocks fall between frames"
    bottleneck: Bottleneck = "clocks"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Kernels take longer after a gap, and the SM clock is lower than back to back."""
        scope = clock_scope(evidence)
        slower = slowed_by_clock(evidence, scope)
        if slower < 0.05 * evidence.latency or not slower:
            return None
        numbers = {
            "sm_clock_with_gaps_mhz": evidence.sm_clock(scope),
            "sm_clock_gapless_mhz": evidence.sm_clock("gapless"),
            "kernels_slower_ns": slower,
        }
        return Suspicion(
            "kernels are slower after a gap, and the SM clock is lower", numbers, slower / evidence.latency
        )

    def probe(self, evidence: Evidence) -> Probe | str:
        """Run the model through the gap in which the clock falls. Both sides spin: only the device is kept from idling.

        Judged by the clock alone: a heartbeat also warms caches, which is FP003's.
        """
        base = apply(evidence.case, {"scope": clock_scope(evidence), "wait": "spin"})
        metric = at_clock(evidence.part("compute", "gapless"), evidence.sm_clock("gapless") or 0.0)
        return Probe(base, {"heartbeat-ms": dense_beat(evidence)}, metric, also=(COMPUTE, CPU), least_s=_BLOCK_S)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """A heartbeat, which framepace can set by itself, or locked clocks, which need a person."""
        gpu = next(iter(evidence.machine.gpus), None)
        top = int(evidence.traces["gapless"].requests["sm_clock_before"].max())
        if gpu is not None and gpu.sm_clock_max_mhz:
            top = gpu.sm_clock_max_mhz
        return Remedy(
            text="keep the device busy with a heartbeat, or lock its clocks",
            plan={"heartbeat-ms": dense_beat(evidence)},
            command=f"sudo nvidia-smi --lock-gpu-clocks={top},{top}",
            undo="sudo nvidia-smi --reset-gpu-clocks",
            cost=beat_cost(blocks),
        )
