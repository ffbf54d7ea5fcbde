"""The evidence from which causes are suspected: the case, and its traces in the three scopes and without gaps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from framepace.analyze.lag import live_rates
from framepace.analyze.late import late_frames
from framepace.analyze.stages import stages
from framepace.facts.device import DeviceSummary
from framepace.facts.late import LateFrames
from framepace.facts.machine import Machine
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.summary import ModelSummary, Summary
from framepace.facts.trace import Trace
from framepace.facts.workload import Scope, load_fps
from framepace.units import NS_PER_MS, NS_PER_S


@dataclass(frozen=True)
class Evidence:
    """The case with its measurements: scopes 'stream', 'pipeline', 'model' under its load, and 'gapless', the scope
    'model' in a closed loop. `summaries` have the same keys as `traces`; `cores` are those that framepace may use. A
    priority above that of other processes is tried where the user allowed that.
    """

    case: Case
    traces: dict[str, Trace]
    summaries: dict[str, Summary]
    cores: int
    may_raise_priority: bool = False

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
        """Mean latency of whole frames in the scope 'stream', ns; under overload without waiting for earlier ones."""
        if not self.overloaded:
            return self.frames.mean
        return self.frames.mean - (self.stage("backlog") + self.stage("queue"))

    @cached_property
    def late(self) -> LateFrames | None:
        """The late frames of the scope 'stream' against the others."""
        return late_frames(self.traces["stream"], self.summaries["stream"])

    @property
    def period(self) -> float | None:
        """The frame period in ns, when the load has a rate."""
        fps = load_fps(self.case.workload.load)
        return None if fps is None else NS_PER_S / fps

    @property
    def offered(self) -> float:
        """Frames per second that were due in the scope 'stream', of all sources together.

        A live source has its own rate, whatever the load says.
        """
        trace = self.traces["stream"]
        fps = load_fps(self.case.workload.load) or 0.0
        rates = live_rates(trace)
        return sum(rates.get(index, fps) for index in range(max(1, len(trace.meta.sources))))

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

    @cached_property
    def alone(self) -> float:
        """Median inference time of a frame's batch without gaps, over all models, ns.

        Back to back all batches are full; where the load fills less of them, it is the time under the load.
        """
        back_to_back = self.infer("gapless")
        if "model" not in self.traces or all(model.batch.max == 1 for model in self.models):
            return back_to_back
        return min(back_to_back, self.infer("model") or back_to_back)

    @property
    def on_gpu(self) -> bool:
        """Whether the device reported times of inferences."""
        return bool(self.summaries["model"].devices)

    def device(self, scope: str) -> DeviceSummary | None:
        """The GPU of a scope; the first where there are several."""
        return next(iter(self.summaries[scope].devices), None)

    def part(self, name: str, scope: str = "model") -> float:
        """Median of 'h2d', 'compute' or 'd2h' per frame over all models, ns; 0 where no device reported it."""
        rows = self._settled(scope).requests
        reported = rows[name] >= 0
        times = rows[name][reported]
        models = rows["model"][reported]
        return float(sum(np.median(times[models == m]) for m in np.unique(models)))

    def activity(self, name: str, scope: str = "gapless") -> float | None:
        """'sm', 'tensor' or 'dram' activity as a share of 1; None where the device does not report it."""
        device = self.device(scope)
        if device is None or (permille := device.medians.get(f"{name}_activity")) is None:
            return None
        return permille / 1000

    def sm_clock(self, scope: str) -> float | None:
        """Median SM clock as inferences began, MHz."""
        clocks = self._settled(scope).requests["sm_clock_before"]
        clocks = clocks[clocks >= 0]
        return float(np.median(clocks)) if len(clocks) else None

    def _settled(self, scope: str) -> Trace:
        """The measured rows of a scope; back to back only the later half, as clocks follow the load with a delay."""
        trace = self.traces[scope].measured()
        if scope != "gapless":
            return trace
        return trace.where(np.arange(len(trace)) >= len(trace) // 2)

    def rate(self, counter: str) -> float:
        """How fast a counter of the telemetry grew in the scope 'stream', per second; 0 where it was not measured."""
        return self.summaries["stream"].telemetry.get(f"{counter}_s", 0.0)

    @property
    def device_idle(self) -> float:
        """The share of an inference, back to back, in which the device had nothing to do; 0 without its times."""
        parts = self.summaries["gapless"].frames.parts
        return parts.get("host", 0.0) / max(sum(parts.values()), 1.0)

    def process_cpu(self, scope: str) -> float | None:
        """CPU time of the whole process per frame, ns."""
        return self.summaries[scope].process_cpu

    def kept_up(self, scope: Scope) -> Case:
        """The case in a scope under its load; back to back under overload, as the length of a queue says little about
        what fills it.
        """
        changes: dict[str, Any] = {"scope": scope}
        if self.overloaded:
            changes["concurrency"] = self.case.plan.engine.workers
        return apply(self.case, changes)

    @property
    def overloaded(self) -> bool:
        """Whether throughput is below the load: frames wait longer than the period."""
        return self.period is not None and self.stage("backlog") + self.stage("queue") > self.period
