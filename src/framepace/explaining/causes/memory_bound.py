"""FP007: the kernels wait for the device's memory."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import COMPUTE
from framepace.explaining.pixels import half_the_work
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

_HALF = ("float16", "bfloat16")
NEAR = 0.5  # DRAM activity over a whole run, launches and gaps included, from which memory is the likely limit


def memory_decides(evidence: Evidence) -> bool:
    """Whether DRAM is busy for half of the time and more than the tensor cores, back to back; false if not evidence."""
    dram = evidence.activity("dram")
    tensor = evidence.activity("tensor") or 0.0
    return dram is not None and dram >= NEAR and tensor <= dram


class MemoryBound:
    """Every kernel reads and writes large tensors: bytes decide, not arithmetic."""

    code = "FP007"
    title = "the device's memory bandwidth is the limit"
    bottleneck: Bottleneck = "memory bandwidth"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """DRAM is busy for half of the time and more than the tensor cores, back to back."""
        if not memory_decides(evidence):
            return None
        numbers = {f"{name}_activity": evidence.activity(name) for name in ("dram", "tensor", "sm")}
        share = evidence.part("compute") / evidence.latency if evidence.latency else 0.0
        return Suspicion("DRAM is busy most of the time", numbers, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Half the bytes: the same network in 16 bits, or half the work where that changes nothing.

        PyTorch's autocast leaves elementwise operators, which are often the ones in question, as they are.
        """
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        if in_fp32(evidence) and all(model.backend != "torch" for model in evidence.models):
            return Probe(base, {"precision": "fp16"}, COMPUTE)
        sizes = half_the_work(evidence)
        return Probe(base, sizes, COMPUTE) if sizes else "neither precision nor work can be halved"

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Fewer bytes, in a precision that is lower than the one in force; it changes the answers: a person decides."""
        fewer = "a smaller input"
        if in_fp32(evidence):
            fewer = "lower precision (--set precision=fp16)"
        elif all(model.precision != "int8" for model in evidence.models):
            fewer = "lower precision (--set precision=int8 with --set calibration=VIDEO), a smaller input"
        text = f"{fewer}, or a library that fuses elementwise layers (tensorrt)"
        return Remedy(text=text, cost="accuracy: check it on your own frames")


def in_fp32(evidence: Evidence) -> bool:
    """Whether every model computes in fp32: by the plan, and by the tensors of its file."""
    specs = evidence.traces["model"].meta.models
    halved = any(tensor.dtype in _HALF for spec in specs for tensor in (*spec.inputs, *spec.outputs))
    return not halved and all(model.precision == "fp32" for model in evidence.models)
