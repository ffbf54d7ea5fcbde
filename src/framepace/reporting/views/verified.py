"""The view-model of a verification: whether answers are the same, both sides beside each other, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from framepace.facts.served import Served
from framepace.facts.summary import Estimate, Percentile
from framepace.facts.verified import STAGES, Verification, VerifiedSide
from framepace.reporting.views.text import optional, plural, signed
from framepace.units import format_ms

COLUMNS = ("", "framepace", "server", "server/framepace", "predicted")
_OFF = 0.15  # a prediction further away than this is said to have failed
_MOST_STEPS = 8  # batch sizes in a sentence


@dataclass(frozen=True)
class VerificationView:
    """A verification in words: `rows` are texts in the order of COLUMNS."""

    sentence: str
    passed: bool
    why: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    largest: str
    batches: tuple[str, ...]
    notes: tuple[str, ...]


def verification_view(result: Verification) -> VerificationView:
    """A verification in words."""
    return VerificationView(
        sentence=_sentence(result),
        passed=result.passed,
        why=tuple(_why(result)),
        rows=tuple(_rows(result)),
        largest=_largest(result),
        batches=tuple(map(_batches, result.served)),
        notes=tuple(_notes(result)),
    )


def _sentence(result: Verification) -> str:
    names = ", ".join(result.answers) or "nothing"
    if not result.answers:
        return "nothing was compared"
    frames = plural(min(check.frames for check in result.answers.values()), "frame")
    if result.passed:
        return f"{result.server} gives the answers of the plan: {names}, {frames}, within the gate"
    return f"{result.server} does not give the answers of the plan: {names}, {frames}"


def _why(result: Verification) -> Iterator[str]:
    """What falls short, by model."""
    for name, check in result.answers.items():
        yield from (f"{name}: {reason}" for reason in check.why)
        if check.says_nothing:
            yield f"{name}: no output has a value on these frames"


def _rows(result: Verification) -> Iterator[tuple[str, ...]]:
    if result.here is None or result.there is None:
        return
    yield _row("frames per second", lambda side: f"{side.throughput:.1f}", "throughput", result)
    yield _row("p50", lambda side: _latency(side.p50), "median", result)
    yield _row("p99", lambda side: _latency(side.p99), "p99", result)
    mean = [sum(side.stages.values()) for side in (result.here, result.there)]
    yield "mean", *map(format_ms, mean), signed(mean[1] - mean[0]), ""
    yield from _stages(result.here, result.there)


def _row(name: str, text: Callable[[VerifiedSide], str], ratio: str, result: Verification) -> tuple[str, ...]:
    """A number of both sides, their ratio, and what was predicted."""
    here, there, predicted = (optional(side, text) for side in (result.here, result.there, result.predicted))
    return name, here, there, _ratio(result.ratios[ratio]), predicted


def _stages(here: VerifiedSide, there: VerifiedSide) -> Iterator[tuple[str, ...]]:
    for name in STAGES:
        texts = [format_ms(side.stages[name]) for side in (here, there)]
        yield f"  {name}, mean", *texts, signed(there.stages[name] - here.stages[name]), ""


def _latency(value: Percentile) -> str:
    return optional(value.estimate, lambda known: format_ms(known.value)) or "unknown"


def _ratio(value: Estimate) -> str:
    if value.low is None or value.high is None:
        return f"{value.value:.2f}"
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _largest(result: Verification) -> str:
    """In which stage both differ most, as a sentence."""
    if result.here is None or result.there is None:
        return ""
    name = result.largest
    more = result.there.stages[name] - result.here.stages[name]
    words = "longer" if more > 0 else "shorter"
    return f"the largest difference: {name} takes {format_ms(abs(more))} {words} there"


def _batches(row: Served) -> str:
    sizes = sorted(row.batches.items(), key=lambda pair: int(pair[0]))[:_MOST_STEPS]
    counts = ", ".join(f"{count:,} of {size}" for size, count in sizes)
    return f"{row.model}: {row.batch:.2g} per execution there ({counts})"


def _notes(result: Verification) -> Iterator[str]:
    if result.answers and not result.passed:
        yield "the load was not run: another model, or other settings of it, would be measured"
    if result.stopped:
        yield f"ended after {plural(result.rounds, 'whole round')}: {result.stopped}"
    if result.there is not None:
        for name in ("p50", "p99"):
            yield from _off(name, result)
        for side, words in ((result.here, "here"), (result.there, "there")):
            if side is not None and side.p99.refused:
                yield f"{words}: {side.p99.refused} (--seconds makes rounds longer)"
    yield from result.notes


def _off(name: str, result: Verification) -> Iterator[str]:
    """How far a prediction is from what was measured, where that is notable."""
    if result.predicted is None or result.there is None:
        return
    expected = getattr(result.predicted, name).estimate
    measured = getattr(result.there, name).estimate
    if expected is None or measured is None:
        return
    ratio = expected.value / measured.value
    if abs(ratio - 1) > _OFF:
        yield f"the prediction of {name} is {ratio:.2f} of what was measured: it missed by more than {_OFF:.0%}"
