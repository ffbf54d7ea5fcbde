"""FP017: some frames take far longer in one stage than the others."""

from __future__ import annotations

from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import TAIL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.late import Growth, LateFrames

_MAIN = 0.5  # of what late frames take more, waiting for earlier frames aside
_FELT = 0.2  # of the typical latency
_BLOCK_REQUESTS = 200  # so that what happens to one frame in twenty happens ten times
_CHANGES: dict[str, dict[str, Any]] = {
    "decode": {"scope": "pipeline"},
    "prepare": {"prepare-constant": True, "prepare-hook": None},
    "finish": {"finish": None},
}
_ADVICE = {
    "decode": "ask the source for pictures that decode evenly (fewer, smaller key frames), or decode ahead",
    "prepare": "bound what the preparation hook does per picture, or hand that work to another thread or process",
    "finish": "bound what the finish hook does per frame, or hand its work to another thread or process",
}


class LateStage:
    """Late frames are late in one stage beside the model: a hook or a picture whose time depends on the frame."""

    code = "FP017"
    title = "some frames take far longer in one stage"
    bottleneck: Bottleneck = "decode/prepare"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Of what late frames take more, half or more is one stage that can be left out, and it is felt."""
        late = evidence.late
        growth = _main(late)
        if late is None or growth is None or growth.more < _FELT * evidence.latency:
            return None
        sentence = (
            f"late frames ({late.share:.1%}, {late.chosen}) take {growth.more / 1e6:.3g} ms more in {growth.stage}"
        )
        numbers = {"stage": growth.stage, "late_share": late.share, "more_ns": growth.more, "pattern": late.pattern}
        return Suspicion(sentence, numbers, min(1.0, growth.more / max(growth.more + evidence.latency, 1)))

    def probe(self, evidence: Evidence) -> Probe | str:
        """The stage left out, judged on the slowest frames; all but decoding on frames in memory."""
        growth = _main(evidence.late)
        assert growth is not None
        base = evidence.kept_up("stream")
        return Probe(base, _CHANGES[growth.stage], TAIL, fewest=_BLOCK_REQUESTS)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Advice for the stage; what to change is the user's code or camera."""
        growth = _main(evidence.late)
        assert growth is not None
        return Remedy(text=_ADVICE[growth.stage])


def _main(late: LateFrames | None) -> Growth | None:
    """The stage that makes most of the difference, waiting for earlier frames aside, if it can be left out."""
    if late is None or not late.working:
        return None
    growth = late.working[0]
    if growth.more < _MAIN * sum(other.more for other in late.working) or growth.stage not in _CHANGES:
        return None
    return growth
