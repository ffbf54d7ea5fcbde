"""What a millisecond is worth in a stage."""

from __future__ import annotations

from framepace.facts.base import Fact
from framepace.facts.slowing import SlowStage
from framepace.facts.summary import Estimate


class Sensitivity(Fact, frozen=True, kw_only=True):
    """What came of slowing one stage by `added` ns in interleaved runs, per unit of what was added.

    `mean` and `p99` are ns of latency per ns that the stage takes longer; `late` is the share of frames that come late
    per millisecond, None without a budget. Intervals are of 95 %. With `on_host` the delay stood before the kernels of
    an inference, which took no longer: what it is worth is that of the host's part.
    """

    stage: SlowStage
    added: float
    mean: Estimate
    p99: Estimate
    late: Estimate | None = None
    rounds: int
    on_host: bool = False
