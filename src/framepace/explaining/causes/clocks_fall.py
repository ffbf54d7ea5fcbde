"""FP001: the device's clocks fall in the gap between frames."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.evidence import Situation
from framepace.explaining.gaps import beat_cost, dense_beat, slowed_by_clock
from framepace.explaining.trial import COMPUTE, CPU, Blocks, at_clock
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply

_BLOCK_S = 4.0  # a governor may take seconds to follow


class ClocksFall:
    """An idle device lowers its clocks; the next inference runs at what is left of them, and waits for the rest."""

    code = "FP001"
    title = "the device's clocks fall between frames"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Kernels take longer after a gap, and the SM clock is lower than back to back."""
        after, before, slower = known.sm_clock("model"), known.sm_clock("gapless"), slowed_by_clock(known)
        if slower < 0.05 * known.latency or not slower:
            return None
        evidence = {"sm_clock_with_gaps_mhz": after, "sm_clock_gapless_mhz": before, "kernels_slower_ns": slower}
        return Suspicion("kernels are slower after a gap, and the SM clock is lower", evidence, slower / known.latency)

    def probe(self, known: Situation) -> Probe | str:
        """Run the model through the gap. Both sides spin, so that only the device is kept from idling.

        Judged by the clock alone: a heartbeat also warms caches, which is FP003's.
        """
        base = apply(known.case, {"scope": "model", "wait": "spin"})
        metric = at_clock(known.part("compute", "gapless"), known.sm_clock("gapless") or 0.0)
        return Probe(base, {"heartbeat-ms": dense_beat(known)}, metric, also=(COMPUTE, CPU), least_s=_BLOCK_S)

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Locked clocks, by a person; a heartbeat is what framepace can do by itself."""
        gpu = next(iter(known.machine.gpus), None)
        seen = int(known.traces["gapless"].requests["sm_clock_before"].max())
        top = gpu.sm_clock_max_mhz if gpu is not None and gpu.sm_clock_max_mhz else seen
        return Remedy(
            text="keep the device busy with a heartbeat, or lock its clocks",
            plan={"heartbeat-ms": dense_beat(known)},
            command=f"sudo nvidia-smi --lock-gpu-clocks={top},{top}",
            undo="sudo nvidia-smi --reset-gpu-clocks",
            cost=beat_cost(blocks),
        )
