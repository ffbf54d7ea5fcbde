"""FP008: the arithmetic of the model fills the cores."""

from __future__ import annotations

from framepace.explaining.causes.memory_bound import memory_decides
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INFERENCE
from framepace.explaining.pixels import half_the_pixels
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply


class ComputeBound:
    """Inference takes most of the budget and follows the amount of arithmetic."""

    code = "FP008"
    title = "the model's arithmetic takes the budget"
    bottleneck: Bottleneck = "compute"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Back-to-back inference alone takes over half of the frame budget."""
        alone = evidence.infer("gapless")
        if evidence.budget is None or alone < 0.5 * evidence.budget:
            return None
        if memory_decides(evidence):
            return None
        numbers = {"infer_gapless_ns": alone, "budget_ns": evidence.budget}
        return Suspicion("inference alone takes over half of the budget", numbers, alone / evidence.latency)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Half as many pixels: arithmetic halves, the number of operators and threads stays."""
        sizes = half_the_pixels(evidence)
        if not sizes:
            return "the models take one input size only"
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        return Probe(base, sizes, INFERENCE)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Fewer pixels, lower precision, or another model: each changes the answers, so a person decides."""
        text = "use a smaller input, a lower precision or a smaller model; each changes the model's answers"
        return Remedy(text=text, cost="accuracy: check it on your own frames")
