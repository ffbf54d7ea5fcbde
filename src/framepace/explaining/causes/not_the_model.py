"""FP011: decoding, preparation or the finish hook dominates."""

from __future__ import annotations

from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy

_SHARE = 0.20  # of the latency
_CHANGES: dict[str, dict[str, Any]] = {
    "decode": {"scope": "pipeline"},
    "prepare": {"prepare-constant": True, "prepare-hook": None},
    "finish": {"finish": None},
}
_ADVICE = {
    "decode": "decode a smaller stream (substream of the camera), or on the GPU; more decoder threads add delay",
    "prepare": "ask the source for the model's size, simplify the preparation hook, or fold preparation into the graph",
    "finish": "make the finish hook cheaper, or hand its work to another thread or process",
}


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
        return Probe(base, _CHANGES[stage], INTERVAL if evidence.overloaded else LATENCY)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Advice for the stage; what to change is the user's code or camera."""
        return Remedy(text=_ADVICE[self._largest(evidence)[0]])

    @staticmethod
    def _largest(evidence: Evidence) -> tuple[str, float]:
        share, stage = max((evidence.stage(s) / max(evidence.latency, 1), s) for s in _CHANGES)
        return stage, share
