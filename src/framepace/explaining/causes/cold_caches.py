"""FP003: caches and TLBs are cold after the gap."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.gaps import (
    beat,
    beat_cost,
    clock_scope,
    dense_beat,
    room_for_beats,
    slowed_by_clock,
    slower_at_the_same_clock,
)
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, INFERENCE, beside_clock
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply

_LIKELY = 0.6  # against FP002, which has the same evidence and is more often it


class ColdCaches:
    """Other work evicts the model's weights between frames; the next inference fetches them again."""

    code = "FP003"
    title = "caches are cold after the gap between frames"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Inference is slower with gaps than without, by more than a lower clock explains."""
        slower = slower_at_the_same_clock(evidence)
        share = slower / evidence.latency if evidence.latency else 0.0
        if share < 0.05 or evidence.period is None:
            return None
        numbers = {"infer_with_gaps_ns": evidence.infer("model"), "infer_gapless_ns": evidence.infer("gapless")}
        return Suspicion("inference is slower after a gap", numbers, _LIKELY * share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Run the model on its last input through the gap. Both sides spin, so that only the caches differ."""
        if not room_for_beats(evidence):
            return "the gap is too short for another inference"
        scope = clock_scope(evidence)
        if slowed_by_clock(evidence, scope):  # then FP001's trial answers this too
            base = apply(evidence.case, {"scope": scope, "wait": "spin"})
            metric = beside_clock(evidence.sm_clock("gapless") or 0.0)
            return Probe(base, {"heartbeat-ms": dense_beat(evidence)}, metric, also=(CPU,))
        base = apply(evidence.case, {"scope": "model", "wait": "spin"})
        return Probe(base, {"heartbeat-ms": beat(evidence)}, INFERENCE, also=(CPU,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """A heartbeat of the same model."""
        plan = {"heartbeat-ms": beat(evidence)}
        return Remedy(text="keep the model warm with a heartbeat", plan=plan, cost=beat_cost(blocks))
