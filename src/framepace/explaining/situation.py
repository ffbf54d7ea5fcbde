"""What is known before the causes are tried: the case, and its traces in the three scopes and without gaps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from framepace.analyze.stages import stages
from framepace.facts.machine import Machine
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case
from framepace.facts.summary import ModelSummary, Summary
from framepace.facts.trace import Trace
from framepace.units import NS_PER_MS


@dataclass(frozen=True)
class Situation:
    """The case with its measurements: scopes 'stream', 'pipeline', 'model' under its load, and 'gapless', the scope
    'model' in a closed loop. `summaries` are of the same names.
    """

    case: Case
    traces: dict[str, Trace]
    summaries: dict[str, Summary]
    cores: int

    @property
    def machine(self) -> Machine:
        """The machine that measured."""
        return self.traces["stream"].meta.machine

    @property
    def models(self) -> tuple[ModelPlan, ...]:
        """The plan's models."""
        return self.case.plan.models

    @property
    def frames(self) -> ModelSummary:
        """Whole frames in the scope 'stream'."""
        return self.summaries["stream"].frames

    @cached_property
    def latency(self) -> float:
        """Mean latency of whole frames in the scope 'stream', ns."""
        return self.frames.mean

    @property
    def period(self) -> float | None:
        """The frame period in ns, when the load has a rate."""
        fps = getattr(self.case.workload.load, "fps", None)
        return None if fps is None else 1000 * NS_PER_MS / fps

    @property
    def budget(self) -> float | None:
        """The frame budget in ns."""
        budget = self.case.plan.target.budget_ms
        return None if budget is None else budget * NS_PER_MS

    def stage(self, name: str, scope: str = "stream") -> float:
        """Mean of a stage over whole frames, ns."""
        return next((s.mean for s in self.summaries[scope].frames.stages if s.name == name), 0.0)

    def infer(self, scope: str) -> float:
        """Median inference time of a frame over all models, ns."""
        trace = self.traces[scope].measured()
        if not len(trace):
            return 0.0
        models = trace.requests["model"]
        infer = stages(trace)["infer"]
        return float(sum(np.median(infer[models == m]) for m in np.unique(models)))

    def process_cpu(self, scope: str) -> float | None:
        """CPU time of the whole process a frame, ns."""
        return self.summaries[scope].process_cpu

    @property
    def overloaded(self) -> bool:
        """Whether the load is not kept up with: inference and what goes with it take longer than the period."""
        return self.period is not None and self.stage("backlog") + self.stage("queue") > self.period
