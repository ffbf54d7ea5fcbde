"""Primitives: the cost of a model alone on a machine, in a few situations; whole plans are predicted from them."""

from __future__ import annotations

from msgspec.structs import replace

from framepace.errors import UsageError
from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative, Positive
from framepace.facts.plan import Batching, ModelPlan
from framepace.facts.workload import Scope

PRIMITIVES_FORMAT = "framepace.primitives/1"

# Samples of one inference each, ns. Those of the device only where it reported its times; then 'infer' is not needed.
STAGES = {
    "decode": "taking or decoding one picture",
    "prepare": "making the input of one frame",
    "infer": "the inference",
    "finish": "reading the outputs of one frame, and the finish hook",
    "after": "of the worker around a batch: from its delivery to the next one's pictures, and from those to its start",
    "wake": "how late a thread wakes that waited for a due time",
    "enqueue": "the call that hands the inference to the device",
    "lag": "from that call until the device begins",
    "h2d": "copy to the device",
    "compute": "kernels",
    "d2h": "copy to the host",
    "tail": "from the end of the device's work until the host has the outputs",
}


class Point(Fact, frozen=True, kw_only=True):
    """One situation: a batch size, how many workers run it at once, and the pause before each inference (ms).

    `samples` are durations in ns by stage (STAGES), in the order they were measured; `rate` inferences per second over
    all workers; `cpu` CPU time of the process per inference, ns, and `neighbours` the share of the machine's CPU time
    that others took (None: not measured).
    """

    batch: Positive
    workers: Positive = 1
    gap_ms: NonNegative = 0.0
    rate: NonNegative = 0.0
    cpu: float | None = None
    neighbours: float | None = None
    samples: dict[str, tuple[int, ...]] = {}


class ModelCost(Fact, frozen=True, kw_only=True):
    """The points of one model as `model` runs it; its batch and slots are those of no point (see `comparable`)."""

    model: ModelPlan
    points: tuple[Point, ...]


class Primitives(Fact, frozen=True, kw_only=True):
    """The data from which plans on one machine are predicted.

    `cores` is the number of CPU cores (0: as many as are wanted, as beside a simulated device); `machine` the
    fingerprint of the machine; `loading` the seconds that went into loading models, beside the runs.
    """

    cores: int
    scope: Scope
    costs: tuple[ModelCost, ...]
    machine: str | None = None
    loading: NonNegative = 0.0
    format: str = PRIMITIVES_FORMAT

    def of(self, model: ModelPlan) -> ModelCost:
        """The cost of a model as its plan runs it. Raises UsageError naming what was measured instead."""
        wanted = comparable(model)
        for cost in self.costs:
            if cost.model == wanted:
                return cost
        known = "; ".join(described(cost.model) for cost in self.costs)
        raise UsageError(
            "no primitives were measured for this way to run the model", got=described(wanted), expected=known
        )


def comparable(model: ModelPlan) -> ModelPlan:
    """The plan without what a prediction varies by itself: batch and slots, and names."""
    return replace(model, name="", batch=Batching(), slots=2)


def described(model: ModelPlan) -> str:
    """The settings that most often distinguish two ways to run a model."""
    parts = [model.model, model.backend, model.precision, f"threads={model.threads}", f"spinning={model.spinning}"]
    return " ".join(parts + (["graph"] if model.graph else []))
