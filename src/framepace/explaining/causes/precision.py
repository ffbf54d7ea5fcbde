"""FP028: the model exceeds the budget, and a lower precision was not used."""

from __future__ import annotations

from typing import Any

from framepace.explaining.causes.memory_bound import in_fp32
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply
from framepace.facts.settings import text as settings_text

_LIKELY = 0.3
_HALF: dict[str, Any] = {"precision": "fp16"}
_EIGHT_BITS: dict[str, Any] = {"precision": "int8", "calibration": "synthetic"}


class HighPrecision:
    """The model computes in 32 bits what this machine computes faster in fewer."""

    code = "FP028"
    title = "a lower precision would be faster"
    bottleneck: Bottleneck = "compute"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Inference alone takes longer than the budget, in fp32."""
        alone = evidence.alone
        if evidence.budget is None or alone <= evidence.budget or not in_fp32(evidence):
            return None
        numbers = {"infer_gapless_ns": alone, "budget_ns": evidence.budget}
        return Suspicion("inference alone exceeds the budget, in fp32", numbers, _LIKELY)

    def probe(self, evidence: Evidence) -> Probe | str:
        """fp16 on a GPU, int8 on a CPU (calibrated on noise: only its speed counts here)."""
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        return Probe(base, dict(_HALF if evidence.on_gpu else _EIGHT_BITS), INFERENCE)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Advice: it changes the answers, so a person decides."""
        precision = blocks.change["precision"]
        text = f"--set {settings_text({'precision': precision})}"
        if precision == "int8":
            text += " --set calibration=VIDEO"
        command = f"framepace accuracy MODEL --precision {precision} --mend OUT.onnx"
        check = f"accuracy: check it on your own frames ({command})"
        return Remedy(text=f"run it in {precision} ({text})", cost=check)
