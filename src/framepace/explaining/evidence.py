"""What is known before the causes are tried: the case, and its traces in the three scopes and without gaps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from framepace.analyze.stages import stages
from framepace.facts.device import DeviceSummary
from framepace.facts.machine import Machine
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.summary import ModelSummary, Summary
from framepace.facts.trace import Trace
from framepace.facts.workload import Scope
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
        """Mean latency of whole frames in the scope 'stream', ns; of a load that is not kept up with, without the wait
        for those before.
        """
        waited = self.stage("backlog") + self.stage("queue") if self.overloaded else 0.0
        return self.frames.mean - waited

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
        trace = self._settled(scope)
        if not len(trace):
            return 0.0
        models = trace.requests["model"]
        infer = stages(trace)["infer"]
        return float(sum(np.median(infer[models == m]) for m in np.unique(models)))

    @property
    def on_gpu(self) -> bool:
        """Whether inferences told the device's times."""
        return bool(self.summaries["model"].devices)

    def device(self, scope: str) -> DeviceSummary | None:
        """The GPU of a scope; the first where there are several."""
        found = self.summaries[scope].devices
        return found[0] if found else None

    def part(self, name: str, scope: str = "model") -> float:
        """Median of 'h2d', 'compute' or 'd2h' a frame over all models, ns; 0 where it is not known."""
        rows = self._settled(scope).requests
        known = rows[name] >= 0
        models = rows["model"][known]
        return float(sum(np.median(rows[name][known][models == m]) for m in np.unique(models)))

    def activity(self, name: str, scope: str = "gapless") -> float | None:
        """'sm', 'tensor' or 'dram' activity as a share of 1; None where the device does not tell."""
        device = self.device(scope)
        value = None if device is None else device.medians.get(f"{name}_activity")
        return None if value is None else value / 1000

    def sm_clock(self, scope: str) -> float | None:
        """Median SM clock as inferences began, MHz."""
        clocks = self._settled(scope).requests["sm_clock_before"]
        clocks = clocks[clocks >= 0]
        return float(np.median(clocks)) if len(clocks) else None

    def _settled(self, scope: str) -> Trace:
        """The measured rows of a scope; back to back only the later half, as clocks follow the load with a delay."""
        trace = self.traces[scope].measured()
        return trace.where(np.arange(len(trace)) >= len(trace) // 2) if scope == "gapless" else trace

    def process_cpu(self, scope: str) -> float | None:
        """CPU time of the whole process a frame, ns."""
        return self.summaries[scope].process_cpu

    def kept_up(self, scope: Scope) -> Case:
        """The case in a scope under its load; back to back where that is not kept up with, since the length of a queue
        says little about what fills it.
        """
        changes: dict[str, Any] = {"scope": scope}
        if self.overloaded:
            changes["concurrency"] = self.case.plan.engine.workers
        return apply(self.case, changes)

    @property
    def overloaded(self) -> bool:
        """Whether the load is not kept up with: inference and what goes with it take longer than the period."""
        return self.period is not None and self.stage("backlog") + self.stage("queue") > self.period
