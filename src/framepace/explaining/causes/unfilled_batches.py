"""FP019: batches are waited for and never fill."""

from __future__ import annotations

from typing import Any

from framepace.analyze.account import mean_batch
from framepace.explaining.causes.new_sizes import sets_up_sizes
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy

_FULL = 0.5  # of the largest batch, on average
_SINGLE: dict[str, Any] = {"batch": 1}


class UnfilledBatches:
    """Frames wait for a batch, or a batch is padded, though hardly more than one frame is ever there.

    The frames are not there: without batches each is earlier. Those of a closed loop are asked for by whole batches,
    which go when they are complete (`feeds.build`).
    """

    code = "FP019"
    title = "batches never fill"
    bottleneck: Bottleneck = "batching"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """The mean batch is under half of what the plan allows; not where sizes are set up as they come (FP025)."""
        largest = max(model.batch.max for model in evidence.models)
        mean = mean_batch(evidence.traces["stream"])
        if largest < 2 or mean == 0 or mean > _FULL * largest or sets_up_sizes(evidence):
            return None
        numbers = {"mean_batch": mean, "largest_batch": largest}
        return Suspicion(f"batches of up to {largest} hold {mean:.1f} frames on average", numbers, 1 - mean / largest)

    def probe(self, evidence: Evidence) -> Probe | str:
        """A batch of one under the same load."""
        return Probe(evidence.case, dict(_SINGLE), LATENCY)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        return Remedy(text="do not batch: frames come one by one", plan=dict(blocks.change))
