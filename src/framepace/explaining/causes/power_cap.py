"""FP004: power or heat holds the device's clocks down."""

from __future__ import annotations

from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import COMPUTE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.settings import apply


class PowerCap:
    """Under load the device reaches its power or temperature limit and runs slower than it could."""

    code = "FP004"
    title = "power or heat holds the device's clocks down"
    bottleneck: Bottleneck = "power"

    def suspect(self, evidence: Evidence) -> Suspicion | None:
        """Clock-event reasons of power or heat under this load, in a twentieth of the samples or more."""
        device = evidence.device("stream")
        if device is None or not device.limited or device.limited < 0.05:
            return None
        kernels = evidence.part("compute", "stream")
        numbers = {"limited_share": device.limited, "reasons": device.reasons, "kernels_ns": kernels}
        return Suspicion("the driver says that power or heat limits the clock", numbers, kernels / evidence.latency)

    def probe(self, evidence: Evidence) -> Probe | str:
        """Half the duty: a pause as long as an inference after each, spun so that the host stays awake."""
        pause = max(0.2, 1.5 * evidence.infer("gapless") / 1e6)
        base = apply(evidence.case, {"scope": "model", "wait": "spin", "delay-ms": 0})
        return Probe(base, {"delay-ms": round(pause, 2)}, COMPUTE)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Less energy per inference; a raised limit only where it is below the board's own."""
        gpu = next(iter(evidence.machine.gpus), None)
        text = "spend less energy per inference: lower precision, smaller input, paced instead of back to back; cool it"
        if gpu is not None and gpu.power_limit_mw and gpu.power_limit_mw < (gpu.power_limit_default_mw or 0):
            return _raised_limit(text, gpu.power_limit_mw, gpu.power_limit_default_mw or 0)
        return Remedy(text=text, cost="accuracy, if precision or size change")


def _raised_limit(text: str, limit_mw: int, default_mw: int) -> Remedy:
    """The remedy `text`, or the board's default power limit instead of a lower one."""
    return Remedy(
        text=f"{text}; or restore the default power limit",
        command=f"sudo nvidia-smi --power-limit={default_mw // 1000}",
        undo=f"sudo nvidia-smi --power-limit={limit_mw // 1000}",
        cost="power and heat",
    )
