"""FP027: the container's CPU quota is used up, and all its threads wait for the next period."""

from __future__ import annotations

import math
from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, MEAN_LATENCY, TAIL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.units import NS_PER_S

_THROTTLED = 0.01  # of the time
_BLOCK_REQUESTS = 100
_QUOTA_ADVICE = "raise the quota (docker --cpus, Kubernetes limits.cpu)"


class Throttled:
    """The kernel stops a group of processes that used its share of a period of 100 ms, until the next one begins.

    Threads that spin, and more threads than the quota allows cores, use it up without any work done.
    """

    code = "FP027"
    title = "the CPU quota of the container is used up"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """The control group was throttled for a hundredth of the time or more (cpu.stat)."""
        share = evidence.rate("throttled") / NS_PER_S
        if share < _THROTTLED:
            return None
        quota = evidence.machine.cpu_limit
        sentence = f"the group of this process was stopped for {share:.1%} of the time"
        if quota is not None:
            sentence += f", at a quota of {quota:g} cores"
        return Suspicion(sentence, {"throttled_share": share, "quota_cores": quota}, min(1.0, 0.3 + share))

    def probe(self, evidence: Evidence) -> Probe | tuple[Probe, ...] | str:
        """No thread that spins, and as many as the quota allows cores.

        Judged on the slowest frames, and on the mean where these are too few for a verdict.
        """
        change = _thrifty(evidence)
        if not change:
            return f"nothing spins, and no thread is too many: the work itself exceeds the quota; {_QUOTA_ADVICE}"
        return tuple(
            Probe(evidence.case, change, metric, also=(CPU,), fewest=_BLOCK_REQUESTS) for metric in (TAIL, MEAN_LATENCY)
        )

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """The same settings, or a larger quota."""
        text = f"spend no CPU time on waiting, or {_QUOTA_ADVICE}"
        return Remedy(text=text, plan=dict(blocks.change), cost="threads are woken for each frame")


def _thrifty(evidence: Evidence) -> dict[str, Any]:
    """The settings that lower the CPU time without lowering the work."""
    engine = evidence.case.plan.engine
    change: dict[str, Any] = {}
    if engine.wait != "sleep":
        change["wait"] = "sleep"
    if any(model.spinning for model in evidence.models):
        change["spinning"] = False
    quota = evidence.machine.cpu_limit
    if quota is not None and not evidence.on_gpu:
        threads = max(1, math.ceil(quota) // engine.workers)
        if any(model.threads == 0 or model.threads > threads for model in evidence.models):
            change["threads"] = threads
    return change
