"""FP003: caches and TLBs are cold after the gap."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
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
        if share < 0.05 or known.period is None:
            return None
        return Suspicion(
            "inference is slower after a gap", {"infer_with_gaps_ns": gaps, "infer_gapless_ns": gapless}, share
        )

    def probe(self, known: Situation) -> Probe | str:
        """Run the model on its last input through the gap. Both sides spin, so that only the caches differ."""
        gap = (known.period or 0) - known.infer("gapless")
        if gap <= 2 * known.infer("gapless"):
            return "the gap is too short for another inference"
        base = apply(known.case, {"scope": "model", "wait": "spin"})
        return Probe(base, {"heartbeat-ms": self._beat(known)}, INFERENCE, also=(CPU,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """A heartbeat of the same model."""
        cost = f"{blocks.value(blocks.after, CPU).value / 1e6:.1f} ms of CPU time a frame"
        plan = {"heartbeat-ms": self._beat(known)}
        return Remedy(text="keep the model warm with a heartbeat", plan=plan, cost=cost)

    @staticmethod
    def _beat(known: Situation) -> float:
        """A beat a few inferences long, so that the last one before a frame is recent and rarely in its way."""
        return round(max(2 * known.infer("gapless"), (known.period or 0) / 8) / 1e6, 2)
