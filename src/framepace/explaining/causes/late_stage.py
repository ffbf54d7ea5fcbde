"""FP017: some frames take far longer in one stage than the others."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hookstages import (
    ADVICE,
    WAITS,
    is_felt,
    main_growth,
    stage_left_out,
    waiting_share,
    worth,
)
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy


class LateStage:
    """Late frames are late in one stage beside the model: a hook or a picture whose time depends on the frame."""

    code = "FP017"
    title = "some frames take far longer in one stage"
    bottleneck: Bottleneck = "decode/prepare"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Of what late frames take more, half or more is one stage that can be left out, and it is felt.

        A hook that waits there without working is FP024's.
        """
        late = evidence.late
        growth = main_growth(late)
        if late is None or growth is None or not is_felt(growth, evidence):
            return None
        if waiting_share(evidence, growth) >= WAITS:
            return None
        sentence = (
            f"late frames ({late.share:.1%}, {late.chosen}) take {growth.more / 1e6:.3g} ms more in {growth.stage}"
        )
        numbers = {"stage": growth.stage, "late_share": late.share, "usual_ns": growth.other, "more_ns": growth.more}
        numbers["pattern"] = late.pattern
        return Suspicion(sentence, numbers, worth(growth, evidence))

    def probe(self, evidence: Evidence) -> Probe | str:
        """The stage left out, judged on the slowest frames; back to back, but for decoding and live sources."""
        return stage_left_out(evidence)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Advice for the stage; what to change is the user's code or camera."""
        growth = main_growth(evidence.late)
        assert growth is not None
        return Remedy(text=ADVICE[growth.stage])
