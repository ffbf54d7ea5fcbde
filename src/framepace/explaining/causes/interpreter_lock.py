"""FP014: workers wait on each other in Python."""

from __future__ import annotations

from typing import Any

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import INTERVAL
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply
from framepace.facts.strategy import strategy_of
from framepace.facts.summary import Summary
from framepace.units import format_ms

_PYTHON = 0.2  # of a frame's time, in Python
_WAIT = 0.1  # of a frame's time, waiting for the lock


class InterpreterLock:
    """Python code of one worker (hooks, preparation) holds the interpreter lock while the others wait for it."""

    code = "FP014"
    title = "workers wait for Python's interpreter lock"
    bottleneck: Bottleneck = "serialised"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Several workers, and Python stages that take a good part of their time, or a lock that is waited for."""
        workers = evidence.case.plan.engine.workers
        if workers < 2 or not _as_processes(evidence):
            return None
        python = evidence.stage("prepare", "pipeline") + evidence.stage("finish", "pipeline")
        latency = max(evidence.summaries["pipeline"].frames.mean, 1)
        share = python / latency
        wait = _lock_wait(evidence.summaries["pipeline"])
        if share < _PYTHON and wait < _WAIT * latency:
            return None
        numbers = {"python_stage_share": share, "lock_wait_ns": wait}
        words = f"{workers} workers share one interpreter, whose lock an inference waits for, {format_ms(wait)} in all"
        return Suspicion(words, numbers, max(share, min(1.0, wait / latency)))

    def probe(self, evidence: Evidence) -> Probe | str:
        """The same workers as processes; frames in memory, so that only the interpreter is no longer shared."""
        workers = evidence.case.plan.engine.workers
        base = apply(evidence.case, {"scope": "pipeline", "concurrency": workers})
        return Probe(base, _as_processes(evidence), INTERVAL)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Run the workers as processes if each can have its own sources; otherwise run less Python."""
        sources = len(evidence.traces["stream"].meta.sources)
        if sources >= evidence.case.plan.engine.workers:
            cost = "each process loads the models again"
            return Remedy(text="run the workers as processes", plan=_as_processes(evidence), cost=cost)
        return Remedy(text="move the hooks' work out of Python (NumPy, OpenCV), or run one process per camera")


def _lock_wait(summary: Summary) -> float:
    """How long an inference waits for the lock, ns; 0 where nobody knows."""
    if summary.cost is None:
        return 0.0
    return summary.cost.lock_wait or 0.0


def _as_processes(evidence: Evidence) -> dict[str, Any]:
    """The setting that runs each worker as a process; empty if the strategy has no such variant."""
    strategy = strategy_of(evidence.case.plan.engine).in_processes
    return {} if strategy is None else {"strategy": strategy}
