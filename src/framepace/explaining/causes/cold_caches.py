"""FP003: caches and TLBs are cold after the gap."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.evidence import Situation
from framepace.explaining.gaps import (
    beat,
    beat_cost,
    dense_beat,
    room_for_beats,
    slowed_by_clock,
    slower_at_the_same_clock,
)
from framepace.explaining.trial import CPU, INFERENCE, Blocks, beside_clock
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply

_LIKELY = 0.6  # against FP002, which has the same evidence and is more often it


class ColdCaches:
    """Other work evicts the model's weights between frames; the next inference fetches them again."""

    code = "FP003"
    title = "caches are cold after the gap between frames"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Inference is slower with gaps than without, by more than a lower clock explains."""
        slower = slower_at_the_same_clock(known)
        share = slower / known.latency if known.latency else 0.0
        if share < 0.05 or known.period is None:
            return None
        evidence = {"infer_with_gaps_ns": known.infer("model"), "infer_gapless_ns": known.infer("gapless")}
        return Suspicion("inference is slower after a gap", evidence, _LIKELY * share)

    def probe(self, known: Situation) -> Probe | str:
        """Run the model on its last input through the gap. Both sides spin, so that only the caches differ."""
        if not room_for_beats(known):
            return "the gap is too short for another inference"
        base = apply(known.case, {"scope": "model", "wait": "spin"})
        if slowed_by_clock(known):  # then FP001's trial answers this too
            metric = beside_clock(known.sm_clock("gapless") or 0.0)
            return Probe(base, {"heartbeat-ms": dense_beat(known)}, metric, also=(CPU,))
        return Probe(base, {"heartbeat-ms": beat(known)}, INFERENCE, also=(CPU,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """A heartbeat of the same model."""
        plan = {"heartbeat-ms": beat(known)}
        return Remedy(text="keep the model warm with a heartbeat", plan=plan, cost=beat_cost(blocks))
