"""FP022: the worker decodes, and nothing is inferred meanwhile."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy

_SHARE = 0.20  # of the latency


class DecodeInline:
    """Where frames are wanted as fast as possible, decoding in the worker adds its time to that of every frame."""

    code = "FP022"
    title = "the worker waits for its own decoding"
    bottleneck: Bottleneck = "decode/prepare"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Decoding takes a fifth of the latency, in the worker, and throughput is what counts."""
        decoding = evidence.stage("decode")
        share = decoding / max(evidence.latency, 1)
        as_fast_as_possible = evidence.period is None or evidence.overloaded
        if evidence.case.plan.engine.decode != "inline" or not as_fast_as_possible or share < _SHARE:
            return None
        return Suspicion(f"decoding takes {share:.0%} of the worker's time", {"decode_ns": decoding}, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """A thread per source that decodes ahead, judged by the time between frames."""
        return Probe(evidence.case, {"decode": "thread"}, INTERVAL)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting."""
        return Remedy(text="decode in a thread per source", plan={"decode": "thread"}, cost="another core in use")
