"""FP013: idle threads of the backend spin."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import CPU, LATENCY
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.plan import ModelPlan
from framepace.models.spec import NULL


class IdleSpin:
    """The backend's threads burn whole cores between frames: they spin for work that comes 30 times per second."""

    code = "FP013"
    title = "idle threads spin between frames"
    bottleneck: Bottleneck = "host"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """With gaps a frame costs far more CPU time than the same frame back to back."""
        paced = evidence.process_cpu("model")
        alone = evidence.process_cpu("gapless")
        if not any(map(_may_spin, evidence.models)) or paced is None or alone is None:
            return None
        paced -= self._pacing(evidence)
        # On a GPU a worker may spin while it waits for the kernels, and be slower after a gap: no thread is idle then.
        if paced < 1.5 * alone or (evidence.on_gpu and paced < 2 * evidence.infer("model")):
            return None
        numbers = {"cpu_with_gaps_ns": paced, "cpu_gapless_ns": alone}
        # As a share of the CPU time of all cores in one budget, comparable with latency. Even a small one gets a trial.
        share = 1 - alone / paced
        if evidence.budget:
            share = (paced - alone) / (evidence.budget * evidence.cores)
        return Suspicion("a frame costs far more CPU time with gaps than without", numbers, max(0.05, share))

    @staticmethod
    def _pacing(evidence: Evidence) -> float:
        """CPU time that framepace's own worker spends spinning before a frame, ns."""
        engine = evidence.case.plan.engine
        return {"sleep": 0.0, "hybrid": 1e3 * engine.spin_us, "spin": evidence.period or 0.0}[engine.wait]

    def probe(self, evidence: Evidence) -> Probe | str:
        """Spinning off."""
        return Probe(evidence.case, {"spinning": False}, CPU, also=(LATENCY,))

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Spinning off; woken threads start later, and that is its cost."""
        change = blocks.value(blocks.after, LATENCY).value - blocks.value(blocks.before, LATENCY).value
        cost = f"median latency {change / 1e6:+.2f} ms" if change > 2e4 else None
        return Remedy(text="turn spinning of idle threads off", plan={"spinning": False}, cost=cost)


def _may_spin(model: ModelPlan) -> bool:
    """Whether the model has threads that the setting `spinning` acts on; the null backend has none."""
    return model.spinning and model.backend != NULL
