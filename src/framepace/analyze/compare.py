"""Comparison of two traces: faster, slower, the same, or undecided; never a guess."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stages import STAGES, frames
from framepace.analyze.stats import ratio_interval
from framepace.errors import NotEnoughSamples, UsageError
from framepace.facts.summary import Comparison, Estimate
from framepace.facts.trace import Column, Trace
from framepace.units import format_ms

_CONFIDENCE = 0.99


def compare(a: Trace, b: Trace, threshold: float = 0.03, *, allow_unlike: bool = False) -> Comparison:
    """Whether B is faster or slower than A by more than `threshold`, the same within it, or undecided.

    Judged on the 99 % interval of the ratio of the median latencies of whole frames, at the effective size of each
    trace: the whole interval must lie on one side of a limit. It knows the noise within the traces, not what would
    differ if they were measured again on another day.

    Raises:
        UsageError: the traces come from unlike machines (unless `allow_unlike`), or the threshold is not in (0, 1).
        NotEnoughSamples: a trace has no measured frame.
    """
    if not 0 < threshold < 1:
        raise UsageError("threshold out of range", got=threshold, expected="a share between 0 and 1, e.g. 0.03")
    if not allow_unlike:
        _check_machines(a, b)
    before, after = _measured_frames(a), _measured_frames(b)
    ratio = _ratio(before, after, 0.5)
    verdict, reason = _verdict(ratio, threshold, before, after)
    return Comparison(
        a=a.meta.id,
        b=b.meta.id,
        verdict=verdict,
        reason="; ".join([reason, *_differences(a, b)]),
        ratio=ratio,
        p99_ratio=ratio_interval(before["latency"], after["latency"], 0.99, _CONFIDENCE),
        stages={s: float(np.mean(after[s]) - np.mean(before[s])) for s in STAGES if before[s].any() or after[s].any()},
        threshold=threshold,
    )


def _check_machines(a: Trace, b: Trace) -> None:
    one, other = a.meta.machine, b.meta.machine
    if one.fingerprint != other.fingerprint:
        raise UsageError(
            "the traces come from unlike machines",
            got=f"{one.fingerprint} ({one.cpu}) and {other.fingerprint} ({other.cpu})",
            expected="two traces of one kind of machine",
            fix="measure both on the same machine, or allow unlike machines if that is what you want to compare",
        )


def _measured_frames(trace: Trace) -> dict[str, Column]:
    found = frames(trace.measured())
    if not len(found["due"]):
        fix = "measure longer, or look at why every request failed"
        raise NotEnoughSamples("nothing to compare", got=f"no measured frame in trace {trace.meta.id}", fix=fix)
    return found


def _ratio(before: dict[str, Column], after: dict[str, Column], q: float) -> Estimate:
    """Ratio of quantiles with its interval, or without one where the samples are too few."""
    found = ratio_interval(before["latency"], after["latency"], q, _CONFIDENCE)
    if found is not None:
        return found
    return Estimate(value=_quantile(after["latency"], q) / max(_quantile(before["latency"], q), 1.0))


def _quantile(values: NDArray[np.int64], q: float) -> float:
    return float(np.quantile(values, q))


def _verdict(ratio: Estimate, threshold: float, before: dict[str, Column], after: dict[str, Column]) -> tuple[str, str]:
    medians = " against ".join(format_ms(_quantile(f["latency"], 0.5)) for f in (after, before))
    low, high = 1 - threshold, 1 + threshold
    if ratio.low is None or ratio.high is None:
        return "undecided", f"median {medians}, but too few independent frames for an interval: measure longer"
    shown = f"median {medians}, ratio {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"
    if ratio.high < low:
        return "faster", f"{shown}, all of it under {low:g}"
    if ratio.low > high:
        return "slower", f"{shown}, all of it over {high:g}"
    if low <= ratio.low and ratio.high <= high:
        return "same", f"{shown}, all of it within {threshold:.0%}"
    return "undecided", f"{shown} reaches over a limit of {threshold:.0%}: measure longer, or widen the threshold"


def _differences(a: Trace, b: Trace) -> list[str]:
    """What else differs between the traces, which a reader must know to read the verdict."""
    found = []
    if [m.sha256 for m in a.meta.models] != [m.sha256 for m in b.meta.models]:
        names = (", ".join(m.name for m in t.meta.models) for t in (a, b))
        found.append("the models differ: {} and {}".format(*names))
    one, other = a.meta.workload, b.meta.workload
    if one.scope != other.scope:
        found.append(f"the scopes differ: {one.scope} and {other.scope}")
    if one.load != other.load:
        found.append(f"the loads differ: {one.load} and {other.load}")
    if a.meta.machine.fingerprint != b.meta.machine.fingerprint:
        found.append(f"the machines differ: {a.meta.machine.cpu} and {b.meta.machine.cpu}")
    return found
