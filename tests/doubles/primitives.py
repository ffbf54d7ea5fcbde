"""Primitives made by hand, so that what a prediction must be can be worked out on paper."""

from __future__ import annotations

from typing import Any

from framepace.analyze.summary import summarize
from framepace.facts.plan import EnginePlan, ModelPlan, Plan
from framepace.facts.primitives import ModelCost, Point, Primitives, comparable
from framepace.facts.summary import Summary
from framepace.facts.workload import Load, Scope, Stop, Warmup, Workload
from framepace.predicting.predict import predict

MS = 1_000_000


def model(**fields: Any) -> ModelPlan:
    """A way to run the null model."""
    return ModelPlan(name="m", model="null", **({"threads": 1} | fields))


def point(batch: int = 1, workers: int = 1, gap_ms: float = 0.0, *, cpu: float | None = None, **ms: Any) -> Point:
    """A point whose stages always take the same, in ms."""
    samples: dict[str, tuple[int, ...]] = {name: (round(value * MS),) * 20 for name, value in ms.items()}
    rate = workers * 1000 / sum(ms.values())
    return Point(batch=batch, workers=workers, gap_ms=gap_ms, rate=rate, cpu=cpu, samples=samples)


def primitives(*points: Point, cores: int = 2, plan: ModelPlan | None = None, scope: Scope = "pipeline") -> Primitives:
    """Primitives of one model."""
    return Primitives(cores=cores, scope=scope, costs=(ModelCost(model=comparable(plan or model()), points=points),))


def foretold(
    known: Primitives, load: Load, *, plan: ModelPlan | None = None, count: int = 200, **engine: Any
) -> Summary:
    """The summary of a predicted run."""
    made = Plan(models=(plan or model(),), engine=EnginePlan(**engine))
    workload = Workload(load=load, scope=known.scope, stop=Stop(count=200), warmup=Warmup(seconds_max=0.0))
    return summarize(predict(made, workload, known))
