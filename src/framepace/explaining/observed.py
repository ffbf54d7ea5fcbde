"""Findings that need no intervention: what is plainly there in the rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.explaining.causes.cpu_nodes import ADVICE
from framepace.explaining.evidence import Evidence
from framepace.explaining.served import advice, is_remote
from framepace.facts.bounds import Bound
from framepace.facts.finding import Bottleneck, Finding, Remedy
from framepace.facts.settings import text as settings_text
from framepace.facts.trace import Mark, Outcome
from framepace.units import format_ms

_INFERENCES = ("inference", "mean inference", "kernels on the device")
_NOT_THE_SAME = {"model", "size", "scope"}
_BOUNDS = ("FP008", "FP007", "FP005", "FP023", "FP016", "FP006")

_NAN_ADVICE = "check the input's range (scale, mean, std) and the precision of the model"
_WAYS_OUT = "a smaller model or input, a lower precision, a faster device, or fewer frames per second"
_FAILED_ADVICE = "the notes below say why"


def observed(evidence: Evidence, tried: Sequence[Finding]) -> list[Finding]:
    """Outputs that are not finite, and requests that failed, in the scope 'stream'; nodes that run on the CPU, unless
    they were `tried`.
    """
    rows = evidence.traces["stream"].requests
    not_finite = rows["marks"] & Mark.NAN > 0
    failed = rows["outcome"] == Outcome.FAILED
    candidates = (
        _finding("FP100", "outputs are NaN or infinite", "wrong output", not_finite, _NAN_ADVICE),
        _finding("FP101", "requests failed", "failing", failed, _FAILED_ADVICE),
    )
    placed = {} if _was_tried("FP016", tried) else evidence.traces["stream"].meta.placement
    idle = evidence.device_idle
    fallen_back = [_fallen_back(model, places, idle) for model, places in placed.items() if places.get("cpu")]
    return [finding for finding in candidates if finding is not None] + fallen_back


def _was_tried(code: str, tried: Sequence[Finding]) -> bool:
    return any(finding.code == code for finding in tried)


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


def _fallen_back(model: str, places: dict[str, int], idle: float) -> Finding:
    """Nodes that the library placed on the CPU by itself: an observation, as long as no trial proves their cost."""
    on_cpu = places["cpu"]
    total = sum(places.values())
    nodes = f"{on_cpu:,} of {total:,} nodes of {model} run on the CPU"
    return Finding(
        code="FP016",
        title="part of the model runs on the CPU",
        bottleneck="host",
        verdict="undecided",
        severity="info",
        summary=f"{nodes}; the device is idle for {idle:.0%} of an inference",
        evidence={"nodes_on_cpu": on_cpu, "nodes": total, "device_idle_share": idle},
        remedy=Remedy(text=ADVICE),
    )


def model_exceeds(evidence: Evidence, tried: Sequence[Finding], bounds: Sequence[Bound]) -> Iterator[Finding]:
    """The model alone, back to back, takes longer than the budget: nothing around it can make up for that."""
    alone = evidence.alone
    budget = evidence.budget
    if budget is None or alone <= budget:
        return
    best, change = min([(alone, ""), *_inferences_after(tried)])
    floor = sum(bound.floor for bound in bounds) if len(bounds) == len(evidence.models) else 0.0
    yield Finding(
        code="FP102",
        title=f"{_alone(evidence)} takes longer than the budget",
        bottleneck=_class_of_bound(tried),
        verdict="confirmed",
        severity="info",
        summary=_exceeded(best, change, floor, budget),
        evidence={"infer_gapless_ns": alone, "best_ns": best, "budget_ns": budget, "floor_ns": floor},
        share=alone / budget,
        remedy=Remedy(text=_way_out(evidence, best, floor, budget)),
    )


def _alone(evidence: Evidence) -> str:
    """What was measured alone."""
    return "one request to the server, alone," if is_remote(evidence.case.plan) else "the model alone"


def _way_out(evidence: Evidence, best: float, floor: float, budget: float) -> str:
    if is_remote(evidence.case.plan) and best > budget:
        return advice(evidence.summaries["gapless"])
    return _exceeded_advice(best, floor, budget)


def _inferences_after(tried: Sequence[Finding]) -> list[tuple[float, str]]:
    """What the inference took with each setting that was confirmed to shorten it (ns), and that setting.

    Half the work proves what kind of bound there is; it is not the same model.
    """
    records = [finding.intervention for finding in tried if finding.verdict == "confirmed"]
    kept = [record for record in records if record is not None and record.metric in _INFERENCES]
    return [
        (record.after.value, settings_text(record.changed))
        for record in kept
        if not _NOT_THE_SAME & {name.rpartition(".")[2] for name in record.changed}
    ]


def _class_of_bound(tried: Sequence[Finding]) -> Bottleneck:
    """What the trials proved to fill the inference; 'model' where none did."""
    proven = (finding for finding in tried if finding.verdict == "confirmed" and finding.code in _BOUNDS)
    return next((finding.bottleneck for finding in proven if finding.bottleneck is not None), "model")


def _exceeded(best: float, change: str, floor: float, budget: float) -> str:
    """The best that was seen and the floor against the budget, in one sentence."""
    text = f"{format_ms(best)} at best of all that was tried on this machine"
    if change:
        text += f" ({change})"
    if floor:
        text += f", {format_ms(floor)} if it reached every peak"
    never = ": no setting can meet it" if floor > budget else ""
    return f"{text}; {format_ms(budget)} allowed{never}"


def _exceeded_advice(best: float, floor: float, budget: float) -> str:
    if best <= budget:
        return "the setting named brings it below the budget; what is left for the rest of the frame is little"
    if floor > budget:
        return f"no setting can meet it, for the floor itself is above the budget: {_WAYS_OUT}"
    return f"no setting that was tried can meet it: {_WAYS_OUT}"
