"""What a server says of a run, beside what its client measured. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from framepace.analyze.stages import stages
from framepace.facts.served import Served, ServerCounts
from framepace.facts.trace import Trace
from framepace.units import format_ms


def served(trace: Trace) -> tuple[Served, ...]:
    """One row per model of a server that has statistics; none where nothing was measured."""
    measured = trace.measured()
    infer = stages(measured)["infer"]
    rows = []
    for name, counts in trace.meta.served.items():
        of_model = measured.requests["model"] == trace.meta.names.index(name)
        _, first = np.unique(measured.requests["batch_id"][of_model], return_index=True)
        if counts.requests and len(first):
            rows.append(_row(name, counts, float(np.mean(infer[of_model][first])), len(first)))
    return tuple(rows)


def _row(name: str, counts: ServerCounts, client: float, asked: int) -> Served:
    """One model; `client` is the mean inference as its client saw it, ns, of so many requests."""
    return Served(
        model=name,
        requests=counts.requests,
        asked=asked,
        failed=counts.failed,
        executions=counts.executions,
        batch=counts.items / max(counts.executions, 1),
        cached=counts.cached,
        parts=_parts(counts, client),
        batches=counts.batches,
    )


def _parts(counts: ServerCounts, client: float) -> dict[str, float]:
    within = {name: getattr(counts, name) / counts.requests for name in ("queue", "input", "compute", "output")}
    total = counts.total / counts.requests
    return {"network": client - total, **within, "other": max(0.0, total - sum(within.values()))}


def server_sentence(row: Served) -> str:
    """What the server's numbers say of a model: where most of the time goes, and what that asks for."""
    largest = _largest(row)
    words = _WORDS[largest].format(time=format_ms(row.parts[largest]))
    words = f"server, {row.model}: {words}, of {format_ms(sum(row.parts.values()))}; {row.batch:.2g} per execution"
    advice = what_to_do(row)
    if row.busy_with_others:
        advice = f"others asked too: {row.requests:,} requests there, {row.asked:,} of them from here"
    return f"{words}; {advice}" if advice else words


def what_to_do(row: Served) -> str:
    """What makes the largest part shorter; '' where nobody knows."""
    return _ADVICE.get(_largest(row), "")


def _largest(row: Served) -> str:
    return max(row.parts, key=lambda name: row.parts[name])


_WORDS: Mapping[str, str] = {
    "network": "a request spends {time} on the way and in the protocol",
    "queue": "a request waits {time} in its queue",
    "input": "a request takes {time} to gather its inputs",
    "compute": "the model computes {time} per request",
    "output": "a request takes {time} to hand out its outputs",
    "other": "a request spends {time} in steps that the statistics do not name",
}
_ADVICE: Mapping[str, str] = {
    "network": "shared memory where client and server share a machine, or smaller tensors",
    "queue": "more instances, a shorter wait for batches (max_queue_delay_microseconds), or fewer requests",
    "compute": "a faster model, more threads or larger batches there",
}
