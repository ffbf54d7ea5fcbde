"""FP018: the load makes its own queue: more requests are in flight than anything works on."""

from __future__ import annotations

from framepace.explaining.causes.few_threads import cores_are_free
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.workload import Burst, Closed

_WAITING = 0.3  # of the latency
_FAR_MORE = 2  # times what the workers take; a few more keep them busy
_LARGEST_BATCH = 8
_MOST_TRIED = 4


class OwnQueue:
    """In a closed loop, requests in flight / throughput = latency (J. D. C. Little, 1961): more of them only wait.

    Frames that come in bursts wait for those of their own burst.
    """

    code = "FP018"
    title = "the load makes its own queue"
    bottleneck: Bottleneck = "queue"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Twice as many requests in flight as the workers take, or bursts, and a third of the latency is waiting."""
        waiting = evidence.stage("backlog") + evidence.stage("queue")
        share = waiting / max(evidence.frames.mean, 1)
        if share < _WAITING:
            return None
        if isinstance(evidence.case.workload.load, Burst):
            size = evidence.case.workload.load.size
            return Suspicion(f"frames come {size} at a time", {"burst": size, "waiting_ns": waiting}, share)
        in_flight = _in_flight(evidence)
        if in_flight < _FAR_MORE * _enough(evidence):
            return None
        rate = evidence.summaries["stream"].throughput
        sentence = f"{in_flight} in flight / {rate:.0f} frames/s = {1000 * in_flight / max(rate, 1e-9):.3g} ms"
        return Suspicion(sentence, {"in_flight": in_flight, "throughput_fps": rate, "waiting_ns": waiting}, share)

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """Fewer in flight, from the fewest up, until the throughput is kept; against bursts a batch, another worker."""
        load = evidence.case.workload.load
        if isinstance(load, Burst):
            return tuple(Probe(evidence.case, change, LATENCY) for change in _against_bursts(evidence, load.size))
        return tuple(
            Probe(evidence.case, {"concurrency": count}, LATENCY, also=(INTERVAL,), keeps=INTERVAL)
            for count in _candidates(evidence)
        )

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Fewer in flight: the caller's number, which the plan does not hold; against bursts the setting tried."""
        count = blocks.change.get("concurrency")
        if count is None:
            return _against_bursts_remedy(blocks)
        before, after = (blocks.value(side, INTERVAL).value for side in (blocks.before, blocks.after))
        rates = [1e9 / max(interval, 1.0) for interval in (before, after)]
        text = (
            f"keep {count} in flight (--load closed:{count}), the fewest that keep the throughput: "
            f"{rates[1]:.0f} frames/s, {rates[0]:.0f} with {_in_flight(evidence)}"
        )
        return Remedy(text=text)


def _in_flight(evidence: Evidence) -> int:
    load = evidence.case.workload.load
    if not isinstance(load, Closed) or load.concurrency is None:
        return 0
    return load.concurrency


def _largest_batch(evidence: Evidence) -> int:
    return max(model.batch.max for model in evidence.models)


def _enough(evidence: Evidence) -> int:
    """Requests that keep every worker busy: a batch each, and one more so that none waits for the next."""
    return evidence.case.plan.engine.workers * _largest_batch(evidence) + 1


def _candidates(evidence: Evidence) -> tuple[int, ...]:
    """Numbers in flight that may keep the throughput, the fewest first."""
    enough = _enough(evidence)
    numbers = [enough - 1, enough, *(enough * 2**power for power in range(1, _MOST_TRIED - 1))]
    return tuple(number for number in numbers if number < _in_flight(evidence))


def _against_bursts(evidence: Evidence, size: int) -> list[dict[str, int]]:
    """A batch first, which a GPU hardly takes longer for; where cores are idle, another worker first."""
    batch = min(size, _LARGEST_BATCH)
    ways = [{"workers": evidence.case.plan.engine.workers + 1}]
    if _largest_batch(evidence) < batch:
        ways.insert(1 if cores_are_free(evidence) else 0, {"batch": batch})
    return ways


def _against_bursts_remedy(blocks: Blocks) -> Remedy:
    if "batch" in blocks.change:
        return Remedy(text="run the frames of a burst as one batch", plan=dict(blocks.change))
    return Remedy(text="another worker", plan=dict(blocks.change), cost="memory for one more context each")
