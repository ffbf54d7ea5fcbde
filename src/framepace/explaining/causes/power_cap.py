"""FP004: power or heat holds the device's clocks down."""

from __future__ import annotations

from framepace.backends.base import get_backend
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Probe, Suspicion
from framepace.explaining.metrics import COMPUTE
from framepace.explaining.trial import Blocks
from framepace.facts.finding import Bottleneck, Remedy
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import apply

_BLOCK_S = 1.5  # in which the power, averaged over some tenths of a second, and the clock settle
_LIMITS = {"option.power_limit_w": 0, "option.thermal_limit_c": 0}


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
        """Without the limits where they can be lifted, on a simulated device; else at half the duty.

        Half the duty is a pause as long as an inference after each, spun so that the host stays awake. A longer one
        would let the clock fall on devices that lower it under a light load, and hide what the pause brings.
        """
        base = apply(evidence.case, {"scope": "model", "wait": "spin", "delay-ms": 0})
        if all(_LIMITS.keys() <= _options(model) for model in evidence.models):
            return Probe(base, dict(_LIMITS), COMPUTE, least_s=_BLOCK_S)
        pause = max(0.2, evidence.infer("gapless") / 1e6)
        return Probe(base, {"delay-ms": round(pause, 2)}, COMPUTE, least_s=_BLOCK_S)

    def remedy(self, evidence: Evidence, blocks: Blocks) -> Remedy:
        """Less energy per inference; a raised limit only where it is below the board's own."""
        gpu = next(iter(evidence.machine.gpus), None)
        text = "spend less energy per inference: lower precision, smaller input, paced instead of back to back; cool it"
        if gpu is not None and gpu.power_limit_mw and gpu.power_limit_mw < (gpu.power_limit_default_mw or 0):
            return _raised_limit(text, gpu.power_limit_mw, gpu.power_limit_default_mw or 0)
        return Remedy(text=text, cost="accuracy, if precision or size change")


def _options(model: ModelPlan) -> set[str]:
    """The options of a model's backend, by the names of their settings."""
    return {f"option.{name}" for name in get_backend(model.backend).options}


def _raised_limit(text: str, limit_mw: int, default_mw: int) -> Remedy:
    """The remedy `text`, or the board's default power limit instead of a lower one."""
    return Remedy(
        text=f"{text}; or restore the default power limit",
        command=f"sudo nvidia-smi --power-limit={default_mw // 1000}",
        undo=f"sudo nvidia-smi --power-limit={limit_mw // 1000}",
        cost="power and heat",
    )
