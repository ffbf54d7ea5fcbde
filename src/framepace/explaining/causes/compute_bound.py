"""FP008: the arithmetic of the model fills the cores."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.situation import Situation
from framepace.explaining.trial import INFERENCE, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.model import ModelSpec
from framepace.facts.plan import ModelPlan
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
        evidence = {"infer_gapless_ns": alone, "budget_ns": known.budget}
        return Suspicion("inference alone takes over half of the budget", evidence, alone / known.latency)

    def probe(self, known: Situation) -> Probe | str:
        """Half as many pixels: arithmetic halves, the number of operators and threads stays."""
        sizes = self._half(known)
        if not sizes:
            return "the models take one input size only"
        base = apply(known.case, {"scope": "model", "concurrency": 1})
        return Probe(base, sizes, INFERENCE)

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Fewer pixels, lower precision, or another model: each changes the answers, so a person decides."""
        text = "use a smaller input, a lower precision or a smaller model; each changes the model's answers"
        return Remedy(text=text, cost="accuracy: check it on your own frames")

    @staticmethod
    def _half(known: Situation) -> dict[str, str]:
        """The setting of each model that halves its pixels; none for a model that takes one size only."""
        specs = known.traces["model"].meta.models
        pairs = ((plan, _smaller(plan, spec)) for plan, spec in zip(known.models, specs, strict=True))
        return {f"{plan.name}.{change[0]}": change[1] for plan, change in pairs if change is not None}


def _smaller(plan: ModelPlan, spec: ModelSpec) -> tuple[str, str] | None:
    """Setting and value: the size of an open model, the name of a built-in one."""
    images = [t.shape for t in spec.inputs if len(t.shape) == 4]
    if plan.model.startswith("builtin:") and images:
        _, _, height, width = images[0]
        return "model", f"{plan.model.partition('@')[0]}@{_half_text(int(height), int(width))}"
    if plan.size is not None and not plan.shapes:
        return "size", _half_text(*plan.size)
    return None


def _half_text(height: int, width: int) -> str:
    """WIDTHxHEIGHT of about half as many pixels, both multiples of 32 as most networks want them."""
    height, width = (max(32, round(side * 0.7071 / 32) * 32) for side in (height, width))
    return f"{width}x{height}"
