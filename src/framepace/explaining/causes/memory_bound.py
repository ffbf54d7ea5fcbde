"""FP007: the kernels wait for the device's memory."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.situation import Situation
from framepace.explaining.trial import COMPUTE, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply

NEAR = 0.5  # DRAM activity over a whole run, launches and gaps included, from which memory is the likely limit


class MemoryBound:
    """Every kernel reads and writes large tensors: bytes decide, not arithmetic."""

    code = "FP007"
    title = "the device's memory bandwidth is the limit"

    def suspect(self, known: Situation) -> Suspicion | None:
        """DRAM is busy for half of the time and more than the tensor cores, back to back."""
        dram, tensor = known.activity("dram"), known.activity("tensor")
        if dram is None or dram < NEAR or (tensor or 0.0) > dram:
            return None
        evidence = {"dram_activity": dram, "tensor_activity": tensor, "sm_activity": known.activity("sm")}
        share = known.part("compute") / known.latency if known.latency else 0.0
        return Suspicion("DRAM is busy most of the time", evidence, share)

    def probe(self, known: Situation) -> Probe | str:
        """Half the bytes: the same network in 16 bits."""
        if any(model.precision != "fp32" for model in known.models):
            return "the model runs in a lower precision already"
        base = apply(known.case, {"scope": "model", "wait": "spin"})
        return Probe(base, {"precision": "fp16"}, COMPUTE)

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Fewer bytes; precision changes the answers, so a person decides."""
        text = "lower precision (--set precision=fp16), or a library that fuses elementwise layers (tensorrt)"
        return Remedy(text=text, cost="accuracy: check it on your own frames")
