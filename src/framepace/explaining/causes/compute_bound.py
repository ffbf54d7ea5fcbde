"""FP008: the arithmetic of the model fills the cores."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.causes.memory_bound import memory_decides
from framepace.explaining.evidence import Situation
from framepace.explaining.pixels import half_the_pixels
from framepace.explaining.trial import INFERENCE, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply


class ComputeBound:
    """Inference takes most of the budget and follows the amount of arithmetic."""

    code = "FP008"
    title = "the model's arithmetic takes the budget"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Back-to-back inference alone takes over half of the frame budget."""
        alone = known.infer("gapless")
        if known.budget is None or alone < 0.5 * known.budget:
            return None
        if memory_decides(known):
            return None
        evidence = {"infer_gapless_ns": alone, "budget_ns": known.budget}
        return Suspicion("inference alone takes over half of the budget", evidence, alone / known.latency)

    def probe(self, known: Situation) -> Probe | str:
        """Half as many pixels: arithmetic halves, the number of operators and threads stays."""
        sizes = half_the_pixels(known)
        if not sizes:
            return "the models take one input size only"
        base = apply(known.case, {"scope": "model", "concurrency": 1})
        return Probe(base, sizes, INFERENCE)

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Fewer pixels, lower precision, or another model: each changes the answers, so a person decides."""
        text = "use a smaller input, a lower precision or a smaller model; each changes the model's answers"
        return Remedy(text=text, cost="accuracy: check it on your own frames")
