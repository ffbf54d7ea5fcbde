"""FP028: the model exceeds the budget, and a lower precision was not used."""

from __future__ import annotations

from shlex import join
from typing import Any

from msgspec.structs import replace

from framepace.explaining.causes.memory_bound import in_fp32
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.address import shown
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.plan import ModelPlan
from framepace.facts.questions import mend_question, question
from framepace.facts.settings import apply
from framepace.facts.settings import text as settings_text

_LIKELY = 0.3
_PATTERN = "synthetic"
_HALF: dict[str, Any] = {"precision": "fp16"}
_EIGHT_BITS: dict[str, Any] = {"precision": "int8", "calibration": _PATTERN}


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
        videos = tuple(map(shown, evidence.case.workload.input.videos))
        text = f"--set {settings_text({'precision': precision})}"
        if precision == "int8":
            text = f"{text} {join(['--set', f'calibration={_calibration(videos)}'])}"
        check = "; ".join(_check(model, precision, videos) for model in evidence.models)
        return Remedy(text=f"run it in {precision} ({text})", cost=f"accuracy: check it on your own frames ({check})")


def _check(model: ModelPlan, precision: str, videos: tuple[str, ...]) -> str:
    """The command that holds a model in the precision against FP32 on the frames of this run, and mends it."""
    calibration = model.calibration
    if precision == "int8":
        calibration = calibration or _calibration(videos)
    lowered = replace(model, precision=precision, calibration=calibration)
    return mend_question(lowered, videos) or question(lowered, videos, None)


def _calibration(videos: tuple[str, ...]) -> str:
    """What INT8 is calibrated on: the first source of this run."""
    return next(iter(videos), _PATTERN)
