"""FP021: a live source is read too slowly, and nothing is dropped: the picture falls behind."""

from __future__ import annotations

from framepace.analyze.lag import growth
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy

_FALLS = 0.02  # seconds behind per second
_SHARE = 1.0  # of the latency: it grows without end, and leaves everything else behind
_BLOCK_S = 1.5  # so that the lag grows


class LiveBacklog:
    """Pictures wait in the socket of a camera that nobody empties."""

    code = "FP021"
    title = "a live source is read too slowly"
    bottleneck: Bottleneck = "queue"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """A source falls behind its own clock while the plan drops nothing."""
        if evidence.case.plan.source.drop != "never":
            return None
        lags = growth(evidence.traces["stream"])
        falls, source = max(((lag.per_second, lag.source) for lag in lags), default=(0.0, ""))
        if falls < _FALLS:
            return None
        numbers = {"behind_s_per_s": falls, "source": source}
        return Suspicion(f"{source} falls {falls:.2f} s behind every second", numbers, _SHARE)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Drop the oldest picture of a full buffer."""
        return Probe(evidence.case, {"drop": "oldest"}, LATENCY, least_s=_BLOCK_S)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        text = "drop the oldest picture, so that the newest is not late"
        return Remedy(text=text, plan={"drop": "oldest"}, cost="pictures are left out; they are counted as dropped")
