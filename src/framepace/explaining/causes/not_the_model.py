"""FP011: decoding, preparation, or what follows the model dominates."""

from __future__ import annotations

from typing import Any

from framepace.backends.base import get_backend
from framepace.explaining.evidence import Evidence
from framepace.explaining.hookstages import STAGES, left_out
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.plan import EnginePlan
from framepace.facts.strategy import strategy_of
from framepace.video.device.decoder import has_library

_SHARE = 0.20  # of the latency
_ADVICE = {
    "decode": "decode a smaller stream (substream of the camera), or on the GPU; more decoder threads add delay",
    "prepare": "ask the source for the model's size, simplify the preparation hook, or fold preparation into the graph",
    "finish": "make what follows the model cheaper (a higher score, fewer boxes), or hand it to another thread",
}


_WORDS = {"decode": "decode by the GPU's video decoder", "prepare-place": "prepare in one kernel on the GPU"}


def _on_device(stage: str, evidence: Evidence) -> dict[str, Any]:
    """The settings with which the GPU does a stage; none where it cannot, or does it already."""
    plan: dict[str, Any] = {}
    engine = evidence.case.plan.engine
    if stage == "finish" or not _on_real_gpu(evidence):
        return plan
    if stage == "decode" and engine.decode != "gpu" and _stays_here(engine) and has_library():
        plan["decode"] = "gpu"
    places = {model.prepare.place for model in evidence.models if not model.prepare.hook}
    if "host" in places and (plan or stage == "prepare"):
        plan["prepare-place"] = "device"
    return plan


def _stays_here(engine: EnginePlan) -> bool:
    """Whether pictures stay in this process."""
    kind = strategy_of(engine)
    return not (kind.spawns_models or kind.spawns_engines)


def _on_real_gpu(evidence: Evidence) -> bool:
    """Whether all models are computed on GPUs of this machine."""
    backends = [get_backend(model.backend) for model in evidence.models]
    return evidence.on_gpu and not any(backend.simulated or backend.remote for backend in backends)


class NotTheModel:
    """A stage beside the model takes a large part of the latency."""

    code = "FP011"
    title = "decoding, preparation or finishing takes a large part"
    bottleneck: Bottleneck = "decode/prepare"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """One of the three stages takes a fifth of the latency and a twentieth of the budget."""
        stage, share = self._largest(evidence)
        mean = evidence.stage(stage)
        if share < _SHARE or (evidence.budget is not None and mean < 0.05 * evidence.budget):
            return None
        return Suspicion(f"{stage} takes {share:.0%} of the latency", {"stage": stage, f"{stage}_ns": mean}, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """The stage replaced by a constant; all but decoding on frames in memory.

        Under the load, not back to back: there the stage is a gap between inferences, which may be worth something too.
        """
        stage = self._largest(evidence)[0]
        base = evidence.kept_up("stream" if stage == "decode" else "pipeline")
        return Probe(base, left_out(stage, evidence), INTERVAL if evidence.overloaded else LATENCY)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The GPU decodes and prepares, where the models run on one; else advice, for the user's code or camera."""
        stage = self._largest(evidence)[0]
        plan = _on_device(stage, evidence)
        if not plan:
            return Remedy(text=_ADVICE[stage])
        text = " and ".join(_WORDS[name] for name in plan)
        return Remedy(text=text, plan=plan, cost="pictures differ by rounding, by one level of 255 at most")

    @staticmethod
    def _largest(evidence: Evidence) -> tuple[str, float]:
        share, stage = max((evidence.stage(s) / max(evidence.latency, 1), s) for s in STAGES)
        return stage, share
