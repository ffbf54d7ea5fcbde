"""FP013: idle threads of the backend spin."""

from __future__ import annotations

from framepace.explaining.cause import Probe, Suspicion
from framepace.explaining.evidence import Situation
from framepace.explaining.trial import CPU, LATENCY, Blocks
from framepace.facts.finding import Remedy


class IdleSpin:
    """The backend's threads burn whole cores between frames, waiting actively for work that comes 30 times a second."""

    code = "FP013"
    title = "idle threads spin between frames"

    def suspect(self, known: Situation) -> Suspicion | None:
        """With gaps a frame costs far more CPU time than the same frame back to back."""
        paced, alone = known.process_cpu("model"), known.process_cpu("gapless")
        if not any(m.spinning for m in known.models) or paced is None or alone is None:
            return None
        paced -= self._pacing(known)
        # On a GPU a worker may spin while it waits for the kernels, and be slower after a gap: no thread is idle then.
        if paced < 1.5 * alone or (known.on_gpu and paced < 2 * known.infer("model")):
            return None
        evidence = {"cpu_with_gaps_ns": paced, "cpu_gapless_ns": alone}
        # In the latency's currency: of what the cores have in one budget. What is tried last is still worth a trial.
        share = (paced - alone) / (known.budget * known.cores) if known.budget else 1 - alone / paced
        return Suspicion("a frame costs far more CPU time with gaps than without", evidence, max(0.05, share))

    @staticmethod
    def _pacing(known: Situation) -> float:
        """CPU time that framepace itself spins away before a frame, ns: the worker's, no idle thread's."""
        engine = known.case.plan.engine
        return {"sleep": 0.0, "hybrid": 1e3 * engine.spin_us, "spin": known.period or 0.0}[engine.wait]

    def probe(self, known: Situation) -> Probe | str:
        """Spinning off."""
        return Probe(known.case, {"spinning": False}, CPU, also=(LATENCY,))

    def remedy(self, known: Situation, blocks: Blocks) -> Remedy:
        """Spinning off; woken threads start later, and that is its cost."""
        change = blocks.value(blocks.after, LATENCY).value - blocks.value(blocks.before, LATENCY).value
        cost = f"median latency {change / 1e6:+.2f} ms" if change > 2e4 else None
        return Remedy(text="turn spinning of idle threads off", plan={"spinning": False}, cost=cost)
