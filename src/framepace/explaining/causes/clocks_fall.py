"""FP001: the device's clocks fall in the gap between frames."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.gaps import dense_beat
from framepace.explaining.situation import Situation
from framepace.explaining.trial import COMPUTE, CPU, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply

_FEWEST = 120  # requests a block: a governor may take seconds to follow
FALLEN = 0.97  # of the clock back to back; readings repeat within a step of 15 MHz


class ClocksFall:
    """An idle device lowers its clocks; the next inference runs at what is left of them, and waits for the rest."""

    code = "FP001"
    title = "the device's clocks fall between frames"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Kernels take longer after a gap, and the SM clock is lower than back to back."""
        after, before = known.sm_clock("model"), known.sm_clock("gapless")
        slower = known.part("compute") - known.part("compute", "gapless")
        if after is None or before is None or after > FALLEN * before or slower < 0.05 * known.latency:
            return None
        evidence = {"sm_clock_with_gaps_mhz": after, "sm_clock_gapless_mhz": before, "kernels_slower_ns": slower}
        return Suspicion("kernels are slower after a gap, and the SM clock is lower", evidence, slower / known.latency)

    def probe(self, known: Situation) -> Probe | str:
        """Run the model through the gap. Both sides spin, so that only the device is kept from idling."""
        base = apply(known.case, {"scope": "model", "wait": "spin"})
        return Probe(base, {"heartbeat-ms": dense_beat(known)}, COMPUTE, also=(CPU,), fewest=_FEWEST)

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Locked clocks, by a person; a heartbeat is what framepace can do by itself."""
        clock = known.sm_clock("gapless")
        gpu = next(iter(known.machine.gpus), None)
        top = gpu.sm_clock_max_mhz if gpu is not None and gpu.sm_clock_max_mhz else round(clock or 0)
        return Remedy(
            text="keep the device busy with a heartbeat, or lock its clocks",
            plan={"heartbeat-ms": dense_beat(known)},
            command=f"sudo nvidia-smi --lock-gpu-clocks={top},{top}",
            undo="sudo nvidia-smi --reset-gpu-clocks",
            cost=f"power; {blocks.value(blocks.after, CPU).value / 1e6:.1f} ms of CPU time a frame for the heartbeat",
        )
