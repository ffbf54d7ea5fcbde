"""A plan here and in a server under the same load: both sides in numbers, and in which stage they differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.served import served
from framepace.analyze.stages import frames
from framepace.analyze.stats import paired_ratio, percentile
from framepace.analyze.summary import summarize
from framepace.facts.served import Served, ServerCounts
from framepace.facts.summary import Estimate, Summary
from framepace.facts.trace import Trace
from framepace.facts.verified import STAGES, TRANSPORT, WAITING, VerifiedSide

_COMPUTING = {"decode": "decode", "prepare": "prepare", "infer": "inference", "finish": "finish"}


class Steps(NamedTuple):
    """What a server counted of the two models that an ensemble consists of: the one that prepares, and the network.

    An ensemble's own statistics have the waiting between its steps in no part.
    """

    prepare: ServerCounts
    network: ServerCounts


def side(rounds: Sequence[Trace], steps: Mapping[str, Steps] | None = None) -> VerifiedSide:
    """All rounds of one side.

    Args:
        steps: those of the models that are ensembles, by name.
    """
    summaries = [summarize(trace) for trace in rounds]
    latencies = np.concatenate([latency(trace) for trace in rounds])
    return VerifiedSide(
        throughput=_mean(summary.throughput for summary in summaries),
        p50=percentile(latencies, 50),
        p99=percentile(latencies, 99),
        stages=_means([_stages(summary, steps or {}) for summary in summaries]),
    )


def ratios(ours: Sequence[Trace], theirs: Sequence[Trace]) -> dict[str, Estimate]:
    """There/here of the median, the p99 and the throughput, over interleaved rounds."""
    before = [latency(trace) for trace in ours]
    after = [latency(trace) for trace in theirs]
    rates = [[np.array([summarize(trace).throughput]) for trace in rounds] for rounds in (ours, theirs)]
    return {
        "median": paired_ratio(before, after),
        "p99": paired_ratio(before, after, "p99"),
        "throughput": paired_ratio(rates[0], rates[1], "mean"),
    }


def latency(trace: Trace) -> NDArray[np.float64]:
    """The latencies of whole frames past warm-up, ns."""
    return np.asarray(frames(trace.measured())["latency"], np.float64)


def served_over(rounds: Iterable[Trace]) -> tuple[Served, ...]:
    """The server's statistics of all rounds: means of the parts, sums of the counts."""
    by_model: dict[str, list[Served]] = {}
    for trace in rounds:
        for row in served(trace):
            by_model.setdefault(row.model, []).append(row)
    return tuple(_pooled(rows) for rows in by_model.values())


def _pooled(rows: Sequence[Served]) -> Served:
    sums = {name: sum(getattr(row, name) for row in rows) for name in _SUMS}
    batches: dict[str, int] = {}
    for row in rows:
        batches |= {size: batches.get(size, 0) + count for size, count in row.batches.items()}
    items = sum(row.batch * row.executions for row in rows)
    batch = items / max(1, sums["executions"])
    parts = _means([row.parts for row in rows])
    return Served(model=rows[0].model, batch=batch, parts=parts, batches=batches, **sums)


_SUMS = ("requests", "asked", "failed", "executions", "cached")


def _stages(summary: Summary, steps: Mapping[str, Steps]) -> dict[str, float]:
    """Means of the stages of a round; the inference of a server is divided by what it says."""
    stages = dict.fromkeys(STAGES, 0.0)
    for stage in summary.frames.stages:
        stages[_COMPUTING.get(stage.name, WAITING)] += stage.mean
    for row in summary.served:
        within = {WAITING: row.parts["queue"], "inference": row.parts["compute"]}
        if row.model in steps:
            within = _of_steps(steps[row.model], row)
        _divide(stages, within, sum(row.parts.values()))
    return stages


def _of_steps(steps: Steps, row: Served) -> dict[str, float]:
    """Where the time of a request goes within the steps of an ensemble.

    The steps were counted in the warm-up, too: their shares are those of what the ensemble computed when measured.
    """
    prepare, network = (_per_request(counts, "compute") for counts in steps)
    scale = row.parts["compute"] / max(prepare + network, 1.0)
    queue = _per_request(steps.prepare, "queue") + _per_request(steps.network, "queue")
    free = max(0.0, sum(row.parts.values()) - row.parts["compute"])
    return {WAITING: min(queue, free), "prepare": prepare * scale, "inference": network * scale}


def _per_request(counts: ServerCounts, part: str) -> float:
    return float(getattr(counts, part)) / max(1, counts.requests)


def _divide(stages: dict[str, float], within: Mapping[str, float], request: float) -> None:
    """Put the parts of a request (ns in all) where they belong; what is in none of them is transport."""
    stages["inference"] -= request
    for name, ns in within.items():
        stages[name] += ns
    stages[TRANSPORT] += request - sum(within.values())


def _means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: _mean(row[name] for row in rows) for name in rows[0]}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
