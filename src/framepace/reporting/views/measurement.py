"""The view-model of measurements: a summary as plain rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from framepace.facts.failure import failure_words
from framepace.facts.summary import Cost, Estimate, ModelSummary, Outlier, Percentile, StageShare, Summary, Tier
from framepace.reporting.views.device import device_rows
from framepace.reporting.views.served import server_rows
from framepace.reporting.views.settled import settled_words, unsettled_words
from framepace.reporting.views.text import estimate, first_and_last, share, split_interval
from framepace.units import format_bytes, format_ms, format_quantity, split_unit

_BUDGET_WORDS = {True: ", met", False: ", missed", None: ", undecided"}


@dataclass(frozen=True)
class PercentileRow:
    """A percentile as text: '9.81 ms' and '[9.12, 10.6]'; `refused` says why there is none."""

    label: str
    value: str
    interval: str
    refused: str


@dataclass(frozen=True)
class StageRow:
    """One stage: median, mean and p99 as text; `share` of the mean latency (0-1) and `mean_ns` for bars."""

    name: str
    median: str
    mean: str
    p99: str
    share: float
    mean_ns: float


@dataclass(frozen=True)
class ModelView:
    """One model (or the whole frames) of a trace."""

    name: str
    counts: str
    doubts: str
    percentiles: tuple[PercentileRow, ...]
    stages: tuple[StageRow, ...]
    tiers: str
    beside: tuple[str, ...]
    outliers: str


@dataclass(frozen=True)
class SummaryView:
    """A trace in words: the sentence people read first, key numbers as (name, text), and its models.

    `failure` comes before the sentence where too many frames failed, with what to do about it; else both are ''.
    """

    trace: str
    scope: str
    sentence: str
    failure: str
    advice: str
    met: bool | None
    numbers: tuple[tuple[str, str], ...]
    models: tuple[ModelView, ...]
    devices: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The one sentence of the trace."""
        return self.failure or self.sentence


def summary_view(summary: Summary) -> SummaryView:
    """A summary as rows; a single model appears once, as the whole frames it is."""
    return SummaryView(
        trace=summary.trace,
        scope=summary.scope,
        sentence=budget_sentence(summary),
        failure=_failure(summary),
        advice=_advice(summary),
        met=summary.met,
        numbers=tuple(_numbers(summary)),
        models=tuple(_models(summary)),
        devices=(*device_rows(summary), *server_rows(summary)),
        notes=summary.notes,
    )


def _models(summary: Summary) -> Iterator[ModelView]:
    if len(summary.models) > 1:
        yield model_view(summary.frames, "whole frames")
        yield from (model_view(model) for model in summary.models)
    elif summary.models:
        yield model_view(summary.frames, summary.models[0].model)
    else:
        yield model_view(summary.frames, "frames")


def budget_sentence(summary: Summary) -> str:
    """'budget 33.3 ms; p99 9.81 ms [9.12, 10.6], met', or the latency alone without a budget.

    Of a latency that changed its level the last one counts: 'settled from request 86: p50 10.5 ms [10.5, 10.6], ...'.
    """
    tiers = summary.frames.tiers
    settled = settled_words(tiers)
    latency = _latency_words(summary.frames)
    if summary.budget is not None:
        words = f"budget {format_ms(summary.budget)}; {latency}{_BUDGET_WORDS[summary.met]}"
        return "; ".join(filter(None, (words, settled, unsettled_words(tiers))))
    return "; ".join(filter(None, (settled or latency, unsettled_words(tiers))))


def _failure(summary: Summary) -> str:
    """'36.4 % of the frames failed: REASON', where that is the first thing to say."""
    if not summary.fails:
        return ""
    return failure_words(summary.failed, summary.failure)


def _advice(summary: Summary) -> str:
    if not summary.fails or summary.failure is None:
        return ""
    return summary.failure.advice


def _latency_words(frames: ModelSummary) -> str:
    """The latency in a few words: p99, or the highest percentile below it for which there are enough samples."""
    highest = _highest_percentile(frames)
    if highest is not None:
        q, value = highest
        words = f"p{q:g} {estimate(value, 'ns')}"
        return words if q >= 99 else f"{words}, too few samples for p99"
    if frames.requests:
        return f"mean {format_ms(frames.mean)}, too few samples for percentiles"
    return "no frame was delivered"


def _highest_percentile(frames: ModelSummary) -> tuple[float, Estimate] | None:
    answered = [(p.q, p.estimate) for p in frames.percentiles if p.estimate is not None and p.q <= 99]
    return max(answered, key=lambda pair: pair[0], default=None)


def _numbers(summary: Summary) -> Iterable[tuple[str, str]]:
    yield "frames", f"{summary.frames.requests:,} in {summary.seconds:,.1f} s"
    yield "throughput", format_quantity(summary.throughput, "fps")
    if summary.missed is not None:
        yield "over budget", share(summary.missed)
    if summary.process_cpu is not None:
        yield "CPU per frame", format_ms(summary.process_cpu)
    if summary.neighbours_cpu is not None:
        yield "CPU of others", share(summary.neighbours_cpu)
    if summary.cost is not None:
        yield from _lock_numbers(summary.cost)
        yield from memory_numbers(summary.cost)
    if summary.pacer_error:
        shown = [name for name in ("median", "p99") if name in summary.pacer_error]
        yield f"pacer {' / '.join(shown)}", " / ".join(format_ms(summary.pacer_error[name]) for name in shown)


def _lock_numbers(cost: Cost) -> Iterator[tuple[str, str]]:
    """What an inference waits for Python's lock, where several workers share it."""
    if cost.lock_wait is not None:
        yield "waiting for the interpreter lock", f"{format_ms(cost.lock_wait)} per inference"


def memory_numbers(cost: Cost) -> Iterator[tuple[str, str]]:
    """Peaks of memory, and how much more it was at the end of the run."""
    kinds = (
        ("memory", cost.memory, cost.memory_growth),
        ("device memory", cost.device_memory, cost.device_memory_growth),
    )
    for name, peak, growth in kinds:
        if peak is not None:
            yield name, f"{format_bytes(peak)}{_growth(peak, growth)}"


def _growth(peak: float, growth: float | None) -> str:
    """', +1.2 MiB over the run', from a thousandth of the peak on: less is noise."""
    if growth is None or growth < peak / 1000:
        return ""
    return f", +{format_bytes(growth)} over the run"


def model_view(model: ModelSummary, name: str | None = None) -> ModelView:
    """One model as rows."""
    return ModelView(
        name=name or model.model,
        counts=_counts(model),
        doubts=", ".join(f"{count:,} {mark}" for mark, count in model.marks.items() if count),
        percentiles=tuple(_percentile_row(percentile) for percentile in model.percentiles),
        stages=tuple(_stage_rows(model.stages)),
        tiers=tier_sentence(model.tiers),
        beside=tuple(_beside_rows(model.tiers)),
        outliers=outlier_sentence(model.outliers, model.outlier_share),
    )


def _counts(model: ModelSummary) -> str:
    parts = [
        f"{model.requests:,} requests",
        f"{model.effective:,} effective for the median",
        f"{model.warmup:,} warm-up",
    ]
    parts += [f"{count:,} {outcome}" for outcome, count in model.outcomes.items() if count and outcome != "ok"]
    causes = ", ".join(f"{count:,} {cause}" for cause, count in model.causes.items() if count and cause)
    counts = ", ".join(parts)
    return f"{counts} ({causes})" if causes else counts


def _percentile_row(percentile: Percentile) -> PercentileRow:
    label = f"p{percentile.q:g}"
    if percentile.estimate is None:
        return PercentileRow(label, "", "", percentile.refused or "too few samples")
    value, interval = split_interval(estimate(percentile.estimate, "ns"))
    return PercentileRow(label, value, interval, "")


def _stage_rows(stages: Sequence[StageShare]) -> Iterator[StageRow]:
    like = max((stage.mean for stage in stages), default=0.0)
    for stage in stages:
        median, mean, p99 = (format_ms(ns, like) for ns in (stage.median, stage.mean, stage.p99))
        yield StageRow(stage.name, median, mean, p99, stage.share, stage.mean)


def tier_sentence(tiers: Sequence[Tier]) -> str:
    """'level 4.70 ms until request 60, ramp, 10.1 ms from request 175'."""
    if not tiers:
        return ""
    if len(tiers) == 1 and tiers[0].kind != "ramp":
        return f"level {format_ms(tiers[0].level)} throughout"
    return ", ".join(_tier(tier, tiers[0], tiers[-1]) for tier in first_and_last(tiers))


def _tier(tier: Tier | None, first: Tier, last: Tier) -> str:
    if tier is None:
        return "..."
    if tier.kind == "ramp" and tier is last:
        return f"ramp to {format_ms(tier.level_end)} at request {tier.last:,}"
    if tier.kind == "ramp":
        return "ramp"
    if tier is first:
        return f"level {format_ms(tier.level)} until request {tier.last:,}"
    from_request = f"{format_ms(tier.level)} from request {tier.first:,}"
    return from_request if tier is last else f"{from_request} to {tier.last:,}"


def _beside_rows(tiers: Sequence[Tier]) -> Iterator[str]:
    """Other quantities during each tier, if there are several tiers. A key without a unit is a duration in ns."""
    if len(tiers) < 2:
        return
    for tier in first_and_last(tiers):
        if tier is not None and (texts := [*_level_percentiles(tier), *_beside_words(tier)]):
            yield f"{tier.kind} {_height(tier)}: {', '.join(texts)}"


def _height(tier: Tier) -> str:
    """The latency of a level; those at both ends of a ramp."""
    if tier.kind == "level":
        return format_ms(tier.level)
    return f"{format_ms(tier.level)} to {format_ms(tier.level_end)}"


def _level_percentiles(tier: Tier) -> Iterator[str]:
    for percentile in tier.percentiles:
        if percentile.estimate is not None:
            yield f"p{percentile.q:g} {estimate(percentile.estimate, 'ns')}"


def _beside_words(tier: Tier) -> Iterator[str]:
    for key, value in tier.beside.items():
        name, unit = split_unit(key)
        yield f"{name} {format_quantity(value, unit or 'ns')}"


def _outlier_cause(outlier: Outlier) -> str:
    """'finish: gc', the stage that grew and what coincided; as much as there is of it."""
    cause = outlier.coincides or "nothing noticed"
    if not outlier.stage or outlier.stage == cause:
        return cause
    return f"{outlier.stage}: {cause}"


def outlier_sentence(outliers: Sequence[Outlier], outlier_share: float) -> str:
    """The share of requests far above their tier, the worst one, and what the slowest ones coincide with."""
    if not outliers:
        return share(outlier_share) if outlier_share else "none"
    worst = max(outliers, key=lambda outlier: outlier.latency)
    counts = Counter(map(_outlier_cause, outliers))
    ranked = sorted(((count, cause) for cause, count in counts.items()), reverse=True)
    causes = ", ".join(f"{count} {cause}" for count, cause in ranked)
    return (
        f"{share(outlier_share)} of requests, worst {format_ms(worst.latency)} at request "
        f"{worst.request:,}; among the worst: {causes}"
    )
