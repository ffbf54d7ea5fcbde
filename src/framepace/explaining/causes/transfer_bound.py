"""FP006: copies between host and device take a good part of the latency."""

from __future__ import annotations

from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INFERENCE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply


class TransferBound:
    """Inputs are large, or travel through pageable memory, which the driver copies again."""

    code = "FP006"
    title = "copies to and from the device take long"
    bottleneck: Bottleneck = "transfer"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Both copies take a twentieth of the latency or more."""
        copies = evidence.part("h2d") + evidence.part("d2h")
        if not evidence.on_gpu or copies < 0.05 * evidence.latency:
            return None
        device = evidence.device("model")
        numbers: dict[str, Any] = {"h2d_ns": evidence.part("h2d"), "d2h_ns": evidence.part("d2h")}
        if device is not None:
            numbers |= {"h2d_bytes_s": device.h2d_bytes_s, "d2h_bytes_s": device.d2h_bytes_s}
        return Suspicion("copies are a good part of the latency", numbers, copies / evidence.latency)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Inputs and outputs stay on the device, so copies cost nothing. Back to back: gaps play no part."""
        if all(model.transfer == "device" for model in evidence.models):
            return "nothing is copied"
        base = apply(evidence.case, {"scope": "model", "concurrency": 1})
        return Probe(base, {"transfer": "device"}, INFERENCE)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Pinned memory and bytes instead of floats; the copies that remain overlap with another request's kernels."""
        plan: dict[str, Any] = {}
        if any(model.transfer == "pageable" for model in evidence.models):
            plan["transfer"] = "pinned"
        if any(model.prepare.place == "host" for model in evidence.models) and self._floats(evidence):
            plan["prepare-place"] = "graph"
        words = {"transfer": "page-locked buffers", "prepare-place": "uint8 inputs, prepared in the graph"}
        text = " and ".join(words[name] for name in plan) or "overlap copies with kernels: more requests in flight"
        return Remedy(text=text, plan=plan, cost="page-locked memory; results differ by rounding" if plan else None)

    @staticmethod
    def _floats(evidence: Evidence) -> bool:
        specs = evidence.traces["model"].meta.models
        return any(t.dtype.startswith("float") and len(t.shape) == 4 for spec in specs for t in spec.inputs)
