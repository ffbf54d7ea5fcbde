"""What of an explanation holds for models that a server runs: their causes, and what the server's numbers say."""

from __future__ import annotations

from collections.abc import Iterator

from framepace.analyze.served import server_sentence, what_to_do
from framepace.backends.base import get_backend
from framepace.explaining.draft import Draft
from framepace.explaining.evidence import Evidence
from framepace.explaining.hypothesis import Hypothesis
from framepace.facts.finding import Finding, Remedy
from framepace.facts.plan import Plan
from framepace.facts.served import Served
from framepace.facts.summary import Summary
from framepace.units import format_ms

_WAITS = 0.05  # of the latency, from which a wait for company counts
_SHORTER = "a shorter wait for batches, or none (max_queue_delay_microseconds in Triton, window-ms in framepace)"
_LEAST_NS = 200_000  # a request that is handed to an instance at once is in the queue for less

# Causes on the machine that asks; whatever else slows the model down is switched off where it is loaded.
_OF_CLIENTS = frozenset(
    ("FP002", "FP009", "FP011", "FP014", "FP015", "FP017", "FP018", "FP019",
     "FP021", "FP022", "FP024", "FP026", "FP027", "FP029", "FP031")
)  # fmt: skip


def is_remote(plan: Plan) -> bool:
    """Whether a server runs every model."""
    return all(get_backend(model.backend).remote for model in plan.models)


def causes_for(plan: Plan, causes: tuple[Hypothesis, ...], draft: Draft) -> tuple[Hypothesis, ...]:
    """The causes that can be switched off from here; what is left out is noted in `draft`."""
    if not is_remote(plan):
        return causes
    kept = tuple(cause for cause in causes if cause.code in _OF_CLIENTS)
    if len(kept) < len(causes):
        where = "run framepace explain on the model's file, on the server's machine"
        draft.notes.append(f"causes within the model were not tried, for the server loads it: {where}")
    return kept


def advice(summary: Summary) -> str:
    """What shortens a request that is alone, by the server's numbers."""
    texts = dict.fromkeys(filter(None, map(what_to_do, summary.served)))
    return "; ".join(texts) or "look at the server's own statistics: it has none for its clients"


def server_notes(summary: Summary) -> list[str]:
    """What the servers' own numbers say of the stream."""
    return [server_sentence(row) for row in summary.served]


def held_back(evidence: Evidence) -> Iterator[Finding]:
    """Requests that are alone and wait in the server's queue: nothing is before them, so they wait for company."""
    if not is_remote(evidence.case.plan):
        return
    for row in evidence.summaries["gapless"].served:
        waits = row.parts["queue"]
        if waits > max(_LEAST_NS, _WAITS * evidence.latency) and not row.busy_with_others:
            yield _held_back(row, evidence)


def _held_back(row: Served, evidence: Evidence) -> Finding:
    waits = row.parts["queue"]
    compared = evidence.budget or evidence.latency
    return Finding(
        code="FP103",
        title="the server holds requests back to fill batches",
        bottleneck="batching",
        verdict="confirmed",
        severity="high",
        summary=f"{row.model}: a request that is alone, with nothing before it, waits {format_ms(waits)} in the queue",
        evidence={"queue_alone_ns": waits, "requests": row.requests, "mean_batch": row.batch},
        share=waits / compared,
        remedy=Remedy(
            text=f"there: {_SHORTER}, or as many requests at once as a preferred batch holds",
            cost="batches hold fewer requests where many come at once",
        ),
    )
