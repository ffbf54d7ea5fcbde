"""Findings that need no intervention: what is plainly there in the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.explaining.evidence import Evidence
from framepace.facts.finding import Bottleneck, Finding, Remedy
from framepace.facts.trace import Mark, Outcome
from framepace.units import format_ms

_DEVICE_WAITS = 0.2  # of an inference
_INFERENCES = ("inference", "mean inference")

_NAN_ADVICE = "check the input's range (scale, mean, std) and the precision of the model"
_FAILED_ADVICE = "the notes below say why"
_CPU_NODES_ADVICE = (
    "export with another opset, replace these operators, or use another backend; option.cpu_nodes=forbid refuses"
)


def observed(evidence: Evidence) -> list[Finding]:
    """Outputs that are not finite, and requests that failed, in the scope 'stream'; nodes that run on the CPU."""
    rows = evidence.traces["stream"].requests
    not_finite = rows["marks"] & Mark.NAN > 0
    failed = rows["outcome"] == Outcome.FAILED
    candidates = (
        _finding("FP100", "outputs are NaN or infinite", "wrong output", not_finite, _NAN_ADVICE),
        _finding("FP101", "requests failed", "failing", failed, _FAILED_ADVICE),
    )
    placed = evidence.traces["stream"].meta.placement
    idle = _idle_share(evidence)
    fallen_back = [_fallen_back(model, places, idle) for model, places in placed.items() if places.get("cpu")]
    return [finding for finding in candidates if finding is not None] + fallen_back


def _finding(code: str, title: str, bottleneck: Bottleneck, affected: NDArray[np.bool_], advice: str) -> Finding | None:
    """The finding about the requests that are `affected`; None where there are none."""
    count = int(affected.sum())
    if not count:
        return None
    return Finding(
        code=code,
        title=title,
        bottleneck=bottleneck,
        verdict="confirmed",
        severity="high",
        summary=f"{count:,} of {len(affected):,} requests",
        evidence={"requests": count, "of": len(affected)},
        remedy=Remedy(text=advice),
    )


def _idle_share(evidence: Evidence) -> float:
    """The share of the inference, back to back, in which the device had nothing to do; 0 where it reports no times."""
    parts = evidence.summaries["gapless"].frames.parts
    return parts.get("host", 0.0) / max(sum(parts.values()), 1.0)


def _fallen_back(model: str, places: dict[str, int], idle: float) -> Finding:
    """Nodes that the library placed on the CPU by itself.

    An observation, unless the device waits for a good part of each inference: then they are what it waits for.
    """
    on_cpu = places["cpu"]
    total = sum(places.values())
    waits = idle >= _DEVICE_WAITS
    nodes = f"{on_cpu:,} of {total:,} nodes of {model} run on the CPU"
    return Finding(
        code="FP016",
        title="part of the model runs on the CPU",
        bottleneck="host",
        verdict="confirmed" if waits else "undecided",
        severity="high" if waits else "info",
        summary=f"{nodes}; the device is idle for {idle:.0%} of an inference",
        evidence={"nodes_on_cpu": on_cpu, "nodes": total, "device_idle_share": idle},
        remedy=Remedy(text=_CPU_NODES_ADVICE),
    )


def model_exceeds(evidence: Evidence, tried: Sequence[Finding]) -> Iterator[Finding]:
    """The model alone, back to back, takes longer than the budget: nothing around it can make up for that."""
    alone = evidence.infer("gapless")
    budget = evidence.budget
    if budget is None or alone <= budget:
        return
    best = min([alone, *_inferences_after(tried)])
    yield Finding(
        code="FP102",
        title="the model alone takes longer than the budget",
        bottleneck="model",
        verdict="confirmed",
        severity="info",
        summary=f"{format_ms(best)} at best of all that was tried on this machine, {format_ms(budget)} allowed",
        evidence={"infer_gapless_ns": alone, "best_ns": best, "budget_ns": budget},
        share=alone / budget,
        remedy=Remedy(text=_exceeded_advice(best, budget)),
    )


def _inferences_after(tried: Sequence[Finding]) -> list[float]:
    """What the inference took with each setting that was confirmed to shorten it, ns."""
    records = [finding.intervention for finding in tried if finding.verdict == "confirmed"]
    kept = [record for record in records if record is not None and record.metric in _INFERENCES]
    return [record.after.value for record in kept if not {"size", "scope"} & set(record.changed)]


def _exceeded_advice(best: float, budget: float) -> str:
    if best <= budget:
        return "the settings above bring it below the budget; what is left for the rest of the frame is little"
    return (
        "no setting that was tried can meet it: a smaller model or input, a lower precision, a faster device, or fewer "
        "frames per second"
    )
