"""Shared by the causes in the gap between frames."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.metrics import CPU, POWER
from framepace.explaining.trial import Blocks
from framepace.facts.workload import Scope

FALLEN = 0.97  # of the clock back to back; readings repeat within a step of 15 MHz
_DENSE = 0.1  # of an inference, between two beats: more of them fit into a gap, and a clock that follows the load rises


def clock_scope(evidence: Evidence) -> Scope:
    """The scope whose gaps the clock falls in: the model alone, unless it falls lower in the whole stream.

    What else is done for a frame moves its inference, and a governor may settle elsewhere for that.
    """
    stream = evidence.sm_clock("stream")
    model = evidence.sm_clock("model")
    if stream is None or model is None or evidence.overloaded or stream > FALLEN * model:
        return "model"
    return "stream"


def slowed_by_clock(evidence: Evidence, scope: Scope = "model") -> float:
    """How much longer kernels take after a gap because the SM clock is lower, ns per frame; 0 where it is not.

    Kernels bound by arithmetic take 1 / clock; those bound by memory do not, so never more than they were slower.
    """
    after = evidence.sm_clock(scope)
    before = evidence.sm_clock("gapless")
    if after is None or before is None or after > FALLEN * before:
        return 0.0
    alone = evidence.part("compute", "gapless")
    return max(0.0, min(alone * (before / after - 1), evidence.part("compute", scope) - alone))


def slower_at_the_same_clock(evidence: Evidence) -> float:
    """How much longer inference and the wake-up before it take after a gap, without the clock's part, ns per frame."""
    gaps = evidence.infer("model") + evidence.stage("wake-up", "model")
    return gaps - evidence.infer("gapless") - slowed_by_clock(evidence)


def beat_cost(blocks: Blocks) -> str:
    """The cost of a heartbeat: the device's power if reported, else CPU time (which the spinning beside it hides)."""
    before, after = (blocks.value(side, POWER).value / 1000 for side in (blocks.before, blocks.after))
    if after:
        return f"{after:.0f} W instead of {before:.0f} W"
    return f"{blocks.value(blocks.after, CPU).value / 1e6:.1f} ms of CPU time per frame, waiting included"


def beat(evidence: Evidence) -> float:
    """A heartbeat in ms: a few inferences long, so that the last one before a frame is recent and rarely delays it."""
    return round(max(2 * evidence.infer("gapless"), (evidence.period or 0) / 8) / 1e6, 2)


def dense_beat(evidence: Evidence) -> float:
    """A heartbeat in ms that fills nine tenths of the gap: a clock that follows the load must see a load."""
    return round(max(0.1, _DENSE * evidence.infer("gapless") / 1e6), 2)


def room_for_beats(evidence: Evidence) -> bool:
    """Whether the gap holds another inference at all."""
    alone = evidence.infer("gapless")
    return evidence.period is not None and evidence.period - alone > 2 * alone
