"""FP006: copies between host and device take a good part of the latency."""

from __future__ import annotations

from typing import Any

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.evidence import Situation
from framepace.explaining.trial import INFERENCE, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply


class TransferBound:
    """Inputs are large, or travel through pageable memory, which the driver copies once more."""

    code = "FP006"
    title = "copies to and from the device take long"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Both copies take a twentieth of the latency or more."""
        copies = known.part("h2d") + known.part("d2h")
        if not known.on_gpu or copies < 0.05 * known.latency:
            return None
        device = known.device("model")
        evidence: dict[str, Any] = {"h2d_ns": known.part("h2d"), "d2h_ns": known.part("d2h")}
        if device is not None:
            evidence |= {"h2d_bytes_s": device.h2d_bytes_s, "d2h_bytes_s": device.d2h_bytes_s}
        return Suspicion("copies are a good part of the latency", evidence, copies / known.latency)

    def probe(self, known: Situation) -> Probe | str:
        """Inputs and outputs stay on the device: all that copies cost is gone. Back to back: gaps play no part."""
        if all(model.transfer == "device" for model in known.models):
            return "nothing is copied"
        base = apply(known.case, {"scope": "model", "concurrency": 1})
        return Probe(base, {"transfer": "device"}, INFERENCE)

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Pinned memory and bytes instead of floats; what cannot be avoided overlaps with the kernels of another."""
        plan: dict[str, Any] = {}
        if any(model.transfer == "pageable" for model in known.models):
            plan["transfer"] = "pinned"
        if any(model.prepare.place == "host" for model in known.models) and self._floats(known):
            plan["prepare-place"] = "graph"
        words = {"transfer": "page-locked buffers", "prepare-place": "uint8 inputs, prepared in the graph"}
        text = " and ".join(words[name] for name in plan) or "overlap copies with kernels: more requests in flight"
        return Remedy(text=text, plan=plan, cost="page-locked memory; results differ by rounding" if plan else None)

    @staticmethod
    def _floats(known: Situation) -> bool:
        specs = known.traces["model"].meta.models
        return any(t.dtype.startswith("float") and len(t.shape) == 4 for spec in specs for t in spec.inputs)
