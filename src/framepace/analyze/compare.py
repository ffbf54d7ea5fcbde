"""Comparison of two traces: faster, slower, the same, or undecided; never a guess."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from framepace.analyze.differences import differences, layer_changes
from framepace.analyze.settling import last_level
from framepace.analyze.stages import STAGES, frames
from framepace.analyze.stats import ratio_interval
from framepace.analyze.tiers import find_tiers
from framepace.errors import NotEnoughSamples, UsageError
from framepace.facts.late import NOT_LOGGED
from framepace.facts.summary import Comparison, Estimate, Verdict
from framepace.facts.trace import Column, Trace
from framepace.units import format_ms

Frames = Mapping[str, Column]
_CONFIDENCE = 0.99


def compare(a: Trace, b: Trace, threshold: float = 0.03, *, allow_unlike: bool = False) -> Comparison:
    """Whether B is faster or slower than A by more than `threshold`, the same within it, or undecided.

    Judged on the 99 % interval of the ratio of the median latencies of whole frames, at the effective size of each
    trace: the whole interval must lie on one side of a limit. Where the level of a trace plainly changed, its last one
    counts. It knows the noise within the traces, not what would differ if they were measured again on another day.

    Raises:
        UsageError: the traces come from different machines (unless `allow_unlike`), or the threshold is not in (0, 1).
        NotEnoughSamples: a trace has no measured frame.
    """
    if not 0 < threshold < 1:
        raise UsageError("threshold out of range", got=threshold, expected="a share between 0 and 1, e.g. 0.03")
    if not (allow_unlike or _logged(a, b)):  # a log does not say from which machine it is
        _check_machines(a, b)
    return _compared(a, b, threshold)


def _compared(a: Trace, b: Trace, threshold: float) -> Comparison:
    every_before = _measured_frames(a)
    every_after = _measured_frames(b)
    before, note_before = _settled(every_before, "the first")
    after, note_after = _settled(every_after, "the second")
    judged = _judged(a, b, threshold, (before, after))
    reason = "; ".join([judged.reason, *note_before, *note_after, *_differences(a, b)])
    tiers = [find_tiers(columns["latency"]) for columns in (every_before, every_after)]
    return replace(judged, reason=reason, tiers_a=tiers[0], tiers_b=tiers[1], differences=differences(a, b))


def _judged(a: Trace, b: Trace, threshold: float, settled_frames: tuple[Frames, Frames]) -> Comparison:
    """The verdict on the settled frames of both."""
    before, after = settled_frames
    ratio = _ratio_of_medians(before["latency"], after["latency"])
    verdict, reason = _verdict(ratio, threshold)
    changes = _logged_changes if _logged(a, b) else _changes
    return Comparison(
        a=a.meta.id,
        b=b.meta.id,
        verdict=verdict,
        reason=f"{_medians(before, after)}, {reason}",
        ratio=ratio,
        p99_ratio=_ratio_of_p99(before, after),
        stages=changes(before, after),
        threshold=threshold,
        layers=layer_changes(a, b),
        difference=_difference(before, ratio),
        logged=_logged(a, b),
    )


def _logged(a: Trace, b: Trace) -> bool:
    return a.meta.is_log or b.meta.is_log


def _ratio_of_p99(before: Frames, after: Frames) -> Estimate | None:
    return ratio_interval(before["latency"], after["latency"], 0.99, _CONFIDENCE)


def _difference(before: Frames, ratio: Estimate) -> Estimate:
    """What the ratio means in ns."""
    median = float(np.median(before["latency"]))
    if ratio.low is None or ratio.high is None:
        return Estimate(value=median * (ratio.value - 1))
    return Estimate(value=median * (ratio.value - 1), low=median * (ratio.low - 1), high=median * (ratio.high - 1))


def _medians(before: Frames, after: Frames) -> str:
    return "median " + " against ".join(format_ms(float(np.median(frames["latency"]))) for frames in (after, before))


def _changes(before: Frames, after: Frames) -> dict[str, float]:
    """The difference of the means of each stage that is not always 0, ns."""
    stages = [stage for stage in STAGES if before[stage].any() or after[stage].any()]
    return {stage: float(np.mean(after[stage]) - np.mean(before[stage])) for stage in stages}


def _logged_changes(before: Frames, after: Frames) -> dict[str, float]:
    """The same for logs: of the stages that both have, and of all others together."""
    changes = _changes(before, after)
    shared = [stage for stage in changes if stage != "hand-over" and before[stage].any() and after[stage].any()]
    others = sum(ns for stage, ns in changes.items() if stage not in shared)
    return {stage: changes[stage] for stage in shared} | {NOT_LOGGED: others}


def _check_machines(a: Trace, b: Trace) -> None:
    one = a.meta.machine
    other = b.meta.machine
    if one.fingerprint != other.fingerprint:
        raise UsageError(
            "the traces come from different machines",
            got=f"{one.fingerprint} ({one.cpu}) and {other.fingerprint} ({other.cpu})",
            expected="two traces from the same kind of machine",
            fix="measure both on the same machine",
        )


def _measured_frames(trace: Trace) -> dict[str, Column]:
    columns = frames(trace.measured())
    if not len(columns["due"]):
        fix = "measure longer, or find out why every request failed"
        raise NotEnoughSamples("nothing to compare", got=f"no measured frame in trace {trace.meta.id}", fix=fix)
    return columns


def _settled(columns: Frames, which: str) -> tuple[Frames, list[str]]:
    """The frames from which the level stays, where it plainly changed before, and a sentence that says so."""
    count = len(columns["latency"])
    first = last_level(columns["latency"])
    if not first:
        return columns, []
    note = f"of {which} trace the last level counts, from frame {first:,} of {count:,}"
    return {name: column[first:] for name, column in columns.items()}, [note]


def _ratio_of_medians(before: Column, after: Column) -> Estimate:
    """The ratio with its interval, or without one where the samples are too few; latencies in ns."""
    ratio = ratio_interval(before, after, 0.5, _CONFIDENCE)
    if ratio is not None:
        return ratio
    return Estimate(value=float(np.median(after)) / max(float(np.median(before)), 1.0))


def _verdict(ratio: Estimate, threshold: float) -> tuple[Verdict, str]:
    """The verdict and its reason."""
    low = 1 - threshold
    high = 1 + threshold
    if ratio.low is None or ratio.high is None:
        return "undecided", "but too few independent frames for an interval: measure longer"
    shown = f"ratio {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
    if ratio.high < low:
        return "faster", f"{shown}, all of it under {low:g}"
    if ratio.low > high:
        return "slower", f"{shown}, all of it over {high:g}"
    if low <= ratio.low and ratio.high <= high:
        return "same", f"{shown}, all of it within {threshold:.0%}"
    return "undecided", f"{shown} extends across the limit of {threshold:.0%}: measure longer, or widen the threshold"


def _differences(a: Trace, b: Trace) -> list[str]:
    """Other differences between the traces that a reader must know with the verdict."""
    if _logged(a, b):
        return ["a log does not say on which machine and with which model it was made"]
    subjects = zip(_identity(a), _identity(b), strict=True)
    return [
        f"the {name} differ: {text} and {other_text}"
        for (name, identity, text), (_, other, other_text) in subjects
        if identity != other
    ]


def _identity(trace: Trace) -> list[tuple[str, object, object]]:
    """(name, value, text) of each property that should be equal in both traces."""
    meta = trace.meta
    return [
        ("models", [model.sha256 for model in meta.models], ", ".join(model.name for model in meta.models)),
        ("scopes", meta.workload.scope, meta.workload.scope),
        ("loads", meta.workload.load, meta.workload.load),
        ("machines", meta.machine.fingerprint, meta.machine.cpu),
    ]
