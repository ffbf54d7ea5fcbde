"""The view-model of measurements: facts as plain rows, every number formatted here and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from framepace.facts.machine import Machine
from framepace.facts.summary import Comparison, Estimate, ModelSummary, Outlier, StageShare, Summary, Tier
from framepace.reporting.views.device import device_rows
from framepace.units import format_bytes, format_estimate, format_ms, format_quantity, split_unit

MANY = 6  # beyond so many, a list becomes its first and last members and a count


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
    """A trace in words: the sentence people read first, key numbers as (name, text), and its models."""

    trace: str
    scope: str
    sentence: str
    met: bool | None
    numbers: tuple[tuple[str, str], ...]
    models: tuple[ModelView, ...]
    devices: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ChangeRow:
    """The change of one stage between two traces, in ns and as text."""

    name: str
    change: str
    ns: float


@dataclass(frozen=True)
class ComparisonView:
    """Two traces against each other."""

    a: str
    b: str
    verdict: str
    reason: str
    ratios: tuple[tuple[str, str], ...]
    stages: tuple[ChangeRow, ...]


def named(key: str, value: Any) -> str:
    """A value as text, its unit read from the end of its key ('p99_ns', 'batch')."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "on" if value else "off"
    unit = split_unit(key)[1]
    if isinstance(value, int) and not unit:
        return f"{value:,}"
    if isinstance(value, int | float):
        return format_quantity(value, unit)
    if isinstance(value, Estimate):
        return estimate(value, unit)
    if isinstance(value, Mapping):
        return ", ".join(f"{split_unit(str(k))[0]} {named(str(k), v)}" for k, v in value.items())
    return ", ".join(named(key, v) for v in value) if isinstance(value, list | tuple) else str(value)


def estimate(value: Estimate, unit: str) -> str:
    """An estimate with its interval as text."""
    return format_estimate(value.value, value.low, value.high, unit)


def settings(changes: Mapping[str, Any]) -> str:
    """Settings the way they are typed after `--set`: 'spinning=off threads=1'."""
    words = {True: "on", False: "off", None: "none"}
    return " ".join(f"{k}={words[v] if v is None or isinstance(v, bool) else v}" for k, v in changes.items())


_TOLD = ("onnxruntime", "onnxruntime-gpu")  # where both are installed, either may be the one that runs


def machine_line(machine: Machine) -> str:
    """The machine in one line: processor, memory, GPUs, system, libraries that matter, and what limits it."""
    cores = f"{machine.cores_logical} cores"
    if machine.cpu_limit is not None and machine.cpu_limit < machine.cores_logical:
        cores += f" (limited to {machine.cpu_limit:g})"
    parts = [machine.cpu, cores, format_bytes(machine.memory_bytes), *(g.name for g in machine.gpus)]
    parts.append(machine.system)
    parts += [f"{name} {machine.libraries[name]}" for name in _TOLD if name in machine.libraries]
    parts += [f"governor {machine.governor}"] if machine.governor else []
    parts += [f"virtual ({machine.virtual})"] if machine.virtual else []
    return ", ".join([*parts, *(["container"] if machine.container else [])])


def summary_view(summary: Summary) -> SummaryView:
    """A summary as rows; a single model is told once, as the whole frames it is."""
    several = len(summary.models) > 1
    models = [model_view(summary.frames, "whole frames" if several else _only_name(summary))]
    models += [model_view(m) for m in summary.models] if several else []
    return SummaryView(
        trace=summary.trace,
        scope=summary.scope,
        sentence=budget_sentence(summary),
        met=summary.met,
        numbers=tuple(_numbers(summary)),
        models=tuple(models),
        devices=tuple(device_rows(summary)),
        notes=summary.notes,
    )


def budget_sentence(summary: Summary) -> str:
    """'budget 33.3 ms; p99 9.81 ms [9.12, 10.6], met' or the latency alone where there is no budget."""
    answer = _answer(summary.frames)
    if summary.budget is None:
        return answer
    words = {True: ", met", False: ", missed", None: ", undecided"}
    return f"budget {format_ms(summary.budget)}; {answer}{words[summary.met]}"


def _highest(frames: ModelSummary) -> tuple[float, Estimate] | None:
    """The highest percentile up to p99 that the samples carry."""
    known = [(p.q, p.estimate) for p in frames.percentiles if p.estimate is not None and p.q <= 99]
    return max(known, key=lambda pair: pair[0], default=None)


def _answer(frames: ModelSummary) -> str:
    """The latency in a few words: p99, or the highest percentile there is and that p99 is not."""
    highest = _highest(frames)
    if highest is None:
        return f"mean {format_ms(frames.mean)}, too few samples" if frames.requests else "no frame was delivered"
    words = f"p{highest[0]:g} {estimate(highest[1], 'ns')}"
    return words if highest[0] >= 99 else f"{words}, too few samples for p99"


def _numbers(s: Summary) -> Iterable[tuple[str, str]]:
    yield "frames", f"{s.frames.requests:,} in {s.seconds:,.1f} s"
    yield "throughput", format_quantity(s.throughput, "fps")
    if s.missed is not None:
        yield "over budget", format_quantity(s.missed, "share")
    if s.process_cpu is not None:
        yield "CPU a frame", format_ms(s.process_cpu)
    if s.neighbours_cpu is not None:
        yield "CPU of others", format_quantity(s.neighbours_cpu, "share")
    if s.pacer_error:
        shown = [name for name in ("median", "p99") if name in s.pacer_error]
        yield f"pacer {' / '.join(shown)}", " / ".join(format_ms(s.pacer_error[name]) for name in shown)


def model_view(m: ModelSummary, name: str | None = None) -> ModelView:
    """One model as rows."""
    return ModelView(
        name=name or m.model,
        counts=_counts(m),
        doubts=", ".join(f"{count:,} {mark}" for mark, count in m.marks.items() if count),
        percentiles=tuple(_percentile(p.q, p.estimate, p.refused) for p in m.percentiles),
        stages=tuple(_stage(s, max(t.mean for t in m.stages)) for s in m.stages),
        tiers=tier_sentence(m.tiers),
        beside=tuple(_beside(t) for t in few(m.tiers) if t is not None and t.beside) if len(m.tiers) > 1 else (),
        outliers=outlier_sentence(m.outliers, m.outlier_share),
    )


def few(items: Sequence[Any]) -> list[Any]:
    """The items, or the first and last of many with None where some are left out."""
    return list(items) if len(items) <= MANY else [*items[: MANY - 2], None, items[-1]]


def tier_sentence(tiers: Sequence[Tier]) -> str:
    """'level 4.70 ms until request 60, ramp, 10.1 ms from request 175'."""
    if not tiers:
        return ""
    if len(tiers) == 1 and tiers[0].kind != "ramp":
        return f"level {format_ms(tiers[0].level)} throughout"
    parts = [_tier(t, tiers[0], tiers[-1]) for t in few(tiers)]
    return ", ".join(part for part in parts if part)


def _tier(t: Tier | None, first: Tier, last: Tier) -> str:
    if t is None:
        return "..."
    if t.kind == "ramp":
        return f"ramp to {format_ms(t.level_end)} at request {t.last:,}" if t is last else "ramp"
    if t is first:
        return f"level {format_ms(t.level)} until request {t.last:,}"
    where = f"from request {t.first:,}"
    return f"{format_ms(t.level)} {where}" + ("" if t is last else f" to {t.last:,}")


def _beside(t: Tier) -> str:
    """What stood beside one tier; a value whose key names no unit is a duration in ns."""
    values = ((*split_unit(key), value) for key, value in t.beside.items())
    told = ", ".join(f"{words} {format_quantity(value, unit or 'ns')}" for words, unit, value in values)
    return f"{t.kind} {format_ms(t.level)}: {told}"


def outlier_sentence(outliers: Sequence[Outlier], share: float) -> str:
    """How many requests are far above their tier, the worst of them, and what they coincide with."""
    if not outliers:
        return "none" if not share else format_quantity(share, "share")
    worst = max(outliers, key=lambda o: o.latency)
    with_ = [o.coincides for o in outliers]
    told = sorted(((with_.count(c), c or "nothing seen") for c in dict.fromkeys(with_)), reverse=True)
    causes = ", ".join(f"{count} {cause}" for count, cause in told)
    return (
        f"{format_quantity(share, 'share')} of requests, worst {format_ms(worst.latency)} at request "
        f"{worst.request:,}; beside the worst: {causes}"
    )


def comparison_view(c: Comparison) -> ComparisonView:
    """A comparison as rows, the largest change of a stage first."""
    ratios = [("median", c.ratio), *([("p99", c.p99_ratio)] if c.p99_ratio else [])]
    changes = sorted(c.stages.items(), key=lambda item: -abs(item[1]))
    return ComparisonView(
        a=c.a,
        b=c.b,
        verdict=c.verdict,
        reason=c.reason,
        ratios=tuple((name, estimate(ratio, "x")) for name, ratio in ratios),
        stages=tuple(ChangeRow(name, signed(ns, changes[0][1]), ns) for name, ns in changes),
    )


def signed(ns: float, like: float | None = None) -> str:
    """A difference of durations with its sign, in the unit of `like`."""
    return f"+{format_ms(ns, like)}" if ns > 0 else format_ms(ns, like)


def _percentile(q: float, value: Estimate | None, refused: str | None) -> PercentileRow:
    if value is None:
        return PercentileRow(f"p{q:g}", "", "", refused or "too few samples")
    text, _, interval = estimate(value, "ns").partition(" [")
    return PercentileRow(f"p{q:g}", text, f"[{interval}" if interval else "", "")


def _stage(s: StageShare, like: float) -> StageRow:
    median, mean, p99 = (format_ms(ns, like) for ns in (s.median, s.mean, s.p99))
    return StageRow(s.name, median, mean, p99, s.share, s.mean)


def _counts(m: ModelSummary) -> str:
    parts = [f"{m.requests:,} requests", f"{m.effective:,} effective", f"{m.warmup:,} warm-up"]
    parts += [f"{n:,} {name}" for name, n in m.outcomes.items() if n and name != "ok"]
    causes = ", ".join(f"{n:,} {name}" for name, n in m.causes.items() if n and name)
    return ", ".join(parts) + (f" ({causes})" if causes else "")


def _only_name(summary: Summary) -> str:
    return summary.models[0].model if summary.models else "frames"
