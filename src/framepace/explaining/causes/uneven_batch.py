"""FP030: the batch is no size that tensor cores take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.plan import ModelPlan

# Elements that tensor cores take together: 16 bytes (NVIDIA, Matrix Multiplication Background User's Guide, 2.2).
_MULTIPLES: Mapping[str, int] = {"fp16": 8, "bf16": 8, "int8": 16}
_AT_MOST = 0.5  # of the time per frame: what products alone would gain that have no tensor cores


class UnevenBatch:
    """Products whose rows are no multiple of what tensor cores take are padded by them, or do without them.

    The trial runs the next smaller multiple. A smaller batch is never faster per frame for any other reason.
    """

    code = "FP030"
    title = "the batch does not suit tensor cores"
    bottleneck: Bottleneck = "batching"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Inference on a GPU in a precision of tensor cores, with a largest batch between two multiples."""
        smaller = min((_multiple_below(model) for model in evidence.models), default=0)
        on_device = (evidence.traces["gapless"].requests["compute"] >= 0).any()
        if not smaller or not on_device:
            return None
        largest = max(model.batch.max for model in evidence.models)
        numbers = {"batch": largest, "multiple": smaller}
        return Suspicion(f"batches of {largest} lie between two multiples that tensor cores take", numbers, _AT_MOST)

    def probe(self, evidence: Evidence) -> Probe | str:
        """The multiple below, judged by the time per frame."""
        return Probe(evidence.case, _change(evidence), INTERVAL)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        text = "run batches that tensor cores take; batch-sizes= pads others to the next of them"
        return Remedy(text=text, plan=dict(blocks.change))


def _change(evidence: Evidence) -> dict[str, Any]:
    return {"batch": min(_multiple_below(model) for model in evidence.models)}


def _multiple_below(model: ModelPlan) -> int:
    """The multiple below the largest batch; 0 where that is one, or none is below."""
    multiple = _MULTIPLES.get(model.precision, 1)
    if model.batch.max % multiple == 0:
        return 0
    return model.batch.max // multiple * multiple
