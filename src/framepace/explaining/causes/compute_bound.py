"""FP008: the arithmetic of the model fills the cores."""

from __future__ import annotations

from framepace.explaining.causes.few_threads import cores_are_free
from framepace.explaining.causes.memory_bound import memory_decides
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INFERENCE
from framepace.explaining.pixels import half_the_work
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

_BESIDE_CORES = 0.4


class ComputeBound:
    """Inference takes most of the budget and follows the amount of arithmetic."""

    code = "FP008"
    title = "the model's arithmetic takes the budget"
    bottleneck: Bottleneck = "compute"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Back-to-back inference alone takes over half of the frame budget."""
        alone = evidence.alone
        if evidence.budget is None or alone < 0.5 * evidence.budget:
            return None
        if memory_decides(evidence):
            return None
        numbers = {"infer_gapless_ns": alone, "budget_ns": evidence.budget}
        share = alone / evidence.latency
        if cores_are_free(evidence):  # they are tried first (FP020)
            share *= _BESIDE_CORES
        return Suspicion("inference alone takes over half of the budget", numbers, share)

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """Half the work: half as many pixels, or where the size is fixed the file cut at half of its operations.

        On a CPU, where neither can be had: all threads against half of them. What takes half the time on twice the
        cores is arithmetic.
        """
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        halves = half_the_work(evidence)
        if halves:
            return Probe(base, halves, INFERENCE)
        threads = _threads(evidence)
        if evidence.on_gpu or threads < 2:
            return "neither another size nor half of the network can be had"
        return Probe(apply(base, {"threads": threads // 2}), {"threads": threads}, INFERENCE)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Fewer pixels, lower precision, or another model: each changes the answers, so a person decides.

        FP028 and FP029 say what a lower precision and smaller batches were measured to bring; each of the ways is
        tried in the whole stream afterwards.
        """
        ways = ["a smaller input", "a lower precision", "a smaller model"]
        if all(model.precision == "int8" for model in evidence.models):
            ways.remove("a lower precision")
        text = f"use {', '.join(ways[:-1])} or {ways[-1]}; each changes the model's answers"
        return Remedy(text=text, cost="accuracy: check it on your own frames")


def _threads(evidence: Evidence) -> int:
    """Threads of an inference."""
    return max(model.threads or evidence.cores for model in evidence.models)
