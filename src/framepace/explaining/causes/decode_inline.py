"""FP022: the worker decodes, and nothing is inferred meanwhile."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply
from framepace.facts.workload import Closed, Delay

_SHARE = 0.20  # of the latency
_COST = "another core in use"


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
        return Suspicion(
            f"decoding takes {share:.0%} of the worker's time", {"stage": "decode", "decode_ns": decoding}, share
        )

    def probe(self, evidence: Evidence) -> Probe | str:
        """A thread per source that decodes ahead, judged by the time between frames.

        Where a frame is only asked for when the one before it is delivered, nothing can be decoded ahead: both sides of
        the trial then have one request more in flight.
        """
        base = evidence.case
        if _asks_one_by_one(evidence):
            base = apply(base, {"concurrency": _one_more(evidence)})
        return Probe(base, {"decode": "thread"}, INTERVAL)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same setting; the requests in flight are the caller's, and no plan holds them."""
        text = "decode in a thread per source"
        if not _asks_one_by_one(evidence):
            return Remedy(text=text, plan={"decode": "thread"}, cost=_COST)
        text += f" (decode=thread), and ask for the next frame meanwhile (--load closed:{_one_more(evidence)})"
        return Remedy(text=text, cost=_COST)


def _asks_one_by_one(evidence: Evidence) -> bool:
    """Whether no more requests are in flight than workers are there to serve them."""
    load = evidence.case.workload.load
    if isinstance(load, Closed):
        return load.concurrency is None or load.concurrency < _one_more(evidence)
    return isinstance(load, Delay)


def _one_more(evidence: Evidence) -> int:
    return evidence.case.plan.engine.workers + 1
