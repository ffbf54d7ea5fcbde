"""FP003: caches and TLBs are cold after the gap."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.causes.clocks_fall import FALLEN
from framepace.explaining.gaps import beat, room_for_beats
from framepace.explaining.situation import Situation
from framepace.explaining.trial import CPU, INFERENCE, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply


class ColdCaches:
    """Other work evicts the model's weights between frames; the next inference fetches them again."""

    code = "FP003"
    title = "caches are cold after the gap between frames"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Inference is slower with gaps than without."""
        gaps, gapless = known.infer("model"), known.infer("gapless")
        share = (gaps - gapless) / known.latency if known.latency else 0.0
        if share < 0.05 or known.period is None or self._clock_fell(known):
            return None
        return Suspicion(
            "inference is slower after a gap", {"infer_with_gaps_ns": gaps, "infer_gapless_ns": gapless}, share
        )

    def probe(self, known: Situation) -> Probe | str:
        """Run the model on its last input through the gap. Both sides spin, so that only the caches differ."""
        if not room_for_beats(known):
            return "the gap is too short for another inference"
        base = apply(known.case, {"scope": "model", "wait": "spin"})
        return Probe(base, {"heartbeat-ms": beat(known)}, INFERENCE, also=(CPU,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """A heartbeat of the same model."""
        cost = f"{blocks.value(blocks.after, CPU).value / 1e6:.1f} ms of CPU time a frame"
        plan = {"heartbeat-ms": beat(known)}
        return Remedy(text="keep the model warm with a heartbeat", plan=plan, cost=cost)

    @staticmethod
    def _clock_fell(known: Situation) -> bool:
        """A slower clock is FP001's: the same heartbeat would bring both back."""
        after, before = known.sm_clock("model"), known.sm_clock("gapless")
        return after is not None and before is not None and after <= FALLEN * before
