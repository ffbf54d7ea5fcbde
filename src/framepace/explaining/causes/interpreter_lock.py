"""FP014: workers wait on each other in Python."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.evidence import Situation
from framepace.explaining.trial import INTERVAL, Blocks
from framepace.facts.finding import Remedy
from framepace.facts.settings import apply


class InterpreterLock:
    """Python code of one worker (hooks, preparation) holds the interpreter lock while the others wait for it."""

    code = "FP014"
    title = "workers wait for Python's interpreter lock"

    def suspect(self, known: Situation) -> Suspicion | None:
        """Several workers, and Python stages that take a good part of their time."""
        workers = known.case.plan.engine.workers
        python = known.stage("prepare", "pipeline") + known.stage("finish", "pipeline")
        share = python / max(known.summaries["pipeline"].frames.mean, 1)
        if workers < 2 or share < 0.2 or known.case.plan.engine.strategy != "workers":
            return None
        return Suspicion(f"{workers} workers share one interpreter", {"python_stage_share": share}, share)

    def probe(self, known: Situation) -> Probe | str:
        """The same workers as processes; frames in memory, so that only the interpreter is no longer shared."""
        workers = known.case.plan.engine.workers
        base = apply(known.case, {"scope": "pipeline", "concurrency": workers})
        return Probe(base, {"strategy": "worker-processes"}, INTERVAL)

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Processes, where each can have sources of its own; otherwise fewer Python steps."""
        sources = len(known.traces["stream"].meta.sources)
        if sources >= known.case.plan.engine.workers:
            cost = "each process loads the models again"
            return Remedy(text="run the workers as processes", plan={"strategy": "worker-processes"}, cost=cost)
        return Remedy(text="move the hooks' work out of Python (NumPy, OpenCV), or run one process a camera")
