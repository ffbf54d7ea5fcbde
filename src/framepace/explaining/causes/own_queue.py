"""FP018: the load makes its own queue: more requests are in flight than anything works on."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.workload import Closed

_WAITING = 0.3  # of the latency
_FAR_MORE = 2  # times what the workers take; a few more keep them busy


class OwnQueue:
    """In a closed loop, requests in flight / throughput = latency (J. D. C. Little, 1961): more of them only wait."""

    code = "FP018"
    title = "the load makes its own queue"
    bottleneck: Bottleneck = "queue"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Twice as many requests in flight as the workers take, and a third of the latency is waiting."""
        in_flight = _in_flight(evidence)
        waiting = evidence.stage("backlog") + evidence.stage("queue")
        share = waiting / max(evidence.frames.mean, 1)
        if in_flight < _FAR_MORE * _enough(evidence) or share < _WAITING:
            return None
        rate = evidence.summaries["stream"].throughput
        sentence = f"{in_flight} in flight / {rate:.0f} frames/s = {1000 * in_flight / max(rate, 1e-9):.3g} ms"
        return Suspicion(sentence, {"in_flight": in_flight, "throughput_fps": rate, "waiting_ns": waiting}, share)

    def probe(self, evidence: Evidence) -> Probe | str:
        """As many in flight as the workers take; the time between frames is reported beside it."""
        return Probe(evidence.case, {"concurrency": _enough(evidence)}, LATENCY, also=(INTERVAL,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Fewer in flight: the caller's number, which the plan does not hold."""
        before, after = (blocks.value(side, INTERVAL).value for side in (blocks.before, blocks.after))
        rates = [1e9 / max(interval, 1.0) for interval in (before, after)]
        text = (
            f"keep {_enough(evidence)} in flight (--load closed:{_enough(evidence)}): {rates[1]:.0f} frames/s, "
            f"{rates[0]:.0f} with {_in_flight(evidence)}"
        )
        return Remedy(text=text)


def _in_flight(evidence: Evidence) -> int:
    load = evidence.case.workload.load
    if not isinstance(load, Closed) or load.concurrency is None:
        return 0
    return load.concurrency


def _enough(evidence: Evidence) -> int:
    """Requests that keep every worker busy: a batch each, and one more so that none waits for the next."""
    largest = max(model.batch.max for model in evidence.models)
    return evidence.case.plan.engine.workers * largest + 1
