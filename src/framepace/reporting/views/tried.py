"""The remedies of a model that takes the time itself, in words: what each brought, or which experiment would decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framepace.facts import settings
from framepace.facts.finding import Intervention, TriedRemedy
from framepace.facts.summary import Estimate
from framepace.reporting.views.finding import moved
from framepace.reporting.views.text import estimate
from framepace.units import format_quantity

TRIED_TITLE = "remedies of the model itself, each tried"
_NONE = "no gain"
_NOT_SURE = "not sure"
_MATERIAL = 0.05  # a smaller effect is no gain, as for causes


def tried_rows(remedies: Sequence[TriedRemedy]) -> tuple[tuple[str, str], ...]:
    """A name and a text per remedy, or two lines where an experiment would decide."""
    return tuple(row for remedy in remedies for row in _rows(remedy))


def _rows(remedy: TriedRemedy) -> Iterator[tuple[str, str]]:
    if remedy.intervention is not None:
        yield remedy.kind, _result(remedy.intervention)
        return
    yield remedy.kind, f"not tried: {remedy.untried}"
    if remedy.decide:
        yield "", f"would decide: {remedy.decide}"


def _result(trial: Intervention) -> str:
    """'latency 58.0 ms, with precision=fp16 14.8 ms [14.7, 14.9]: 3.92x less [...]'."""
    before = format_quantity(trial.before.value, trial.unit)
    after = estimate(trial.after, trial.unit)
    effect = ", ".join(filter(None, (_doubt(trial.ratio), moved(trial))))
    return f"{trial.metric} {before}, with {settings.text(trial.changed)} {after}: {effect}"


def _doubt(ratio: Estimate) -> str:
    """'' for a gain; else 'no gain', or 'not sure' where the interval leaves room for one."""
    if ratio.low is None or ratio.high is None:
        return _NOT_SURE
    if ratio.high < 1 and ratio.value <= 1 - _MATERIAL:
        return ""
    return _NONE if ratio.low > 1 - _MATERIAL else _NOT_SURE


def tried_line(remedies: Sequence[TriedRemedy]) -> str:
    """'remedies tried: precision 3.92x less, size 2.08x less, asynchronous no gain; not tried: network, library'."""
    trials = sorted(
        ((remedy.kind, remedy.intervention) for remedy in remedies if remedy.intervention is not None),
        key=lambda pair: pair[1].ratio.value,
    )
    told = ", ".join(f"{kind} {_short(trial)}" for kind, trial in trials)
    untried = ", ".join(remedy.kind for remedy in remedies if remedy.intervention is None)
    parts = (f"remedies tried: {told or 'none'}", f"not tried: {untried}" if untried else "")
    return "; ".join(filter(None, parts))


def _short(trial: Intervention) -> str:
    return _doubt(trial.ratio) or moved(trial).partition(" [")[0]
