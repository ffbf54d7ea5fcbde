"""The summary of a trace: whole frames and each model, with what stood beside them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.analyze.outliers import find_outliers, others_share
from framepace.analyze.stages import frame_trace, per_frame_cpu, stages, take
from framepace.analyze.stats import effective_size, percentiles
from framepace.analyze.tiers import find_tiers, with_beside
from framepace.facts.summary import ModelSummary, StageShare, Summary
from framepace.facts.trace import Cause, Column, Mark, Outcome, Trace
from framepace.facts.workload import load_fps
from framepace.units import NS_PER_MS, NS_PER_S

_PERCENTILES = (50, 90, 95, 99, 99.9)
_ALWAYS = ("decode", "queue", "prepare", "infer", "finish")  # told even where they are 0
# Telemetry counted since some start is told a second ('_s'); the rest as medians.
_COUNTERS = frozenset(
    "process_cpu system_busy switched preempted faults_minor faults_major gc_count gc run_delay".split()
)


def summarize(trace: Trace) -> Summary:
    """The trace in numbers (see facts.summary): percentiles, stages, tiers and outliers, of frames and each model.

    Rows of warm-up are counted and left out. A trace with no measured request has zeros, refused percentiles and a
    note. Times in ns.
    """
    whole = frame_trace(trace)
    past = whole.where((whole.requests["marks"] & Mark.WARMUP) == 0) if _has_warmup(whole) else whole
    done = _measured(past)
    frames = _model_summary("frames", whole, past, done)
    seconds = _seconds(done)
    budget = _budget(trace)
    return Summary(
        trace=trace.meta.id,
        scope=trace.meta.workload.scope,
        seconds=seconds,
        throughput=len(done) / seconds if seconds else 0.0,
        budget=budget,
        missed=_missed(past, done, budget),
        process_cpu=_process_cpu(done),
        neighbours_cpu=_neighbours(done),
        pacer_error=_pacer_error(done),
        frames=frames,
        models=_models(trace, frames),
        telemetry=_telemetry(done),
        notes=_notes(trace, frames),
    )


def _models(trace: Trace, frames: ModelSummary) -> tuple[ModelSummary, ...]:
    names = [m.name for m in trace.meta.plan.models]
    if len(names) == 1:
        return (replace(frames, model=names[0]),)
    split = stages_by_model(trace)
    return tuple(_model_summary(name, *split[i]) for i, name in enumerate(names))


def _has_warmup(trace: Trace) -> bool:
    return bool((trace.requests["marks"] & Mark.WARMUP).any())
