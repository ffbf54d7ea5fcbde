"""What a millisecond in each stage is worth, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from framepace.facts.sensitivity import Sensitivity
from framepace.facts.summary import Estimate
from framepace.units import format_ms

_HOST_PART = "the host's part of infer (before the device computes, which takes no longer)"


def what_if_sentences(profile: Sequence[Sensitivity]) -> tuple[str, ...]:
    """A sentence per stage, where a millisecond is worth most first, undecided ones last; then what was done."""
    if not profile:
        return ()
    ordered = sorted(profile, key=lambda stage: (not _is_decided(stage), -stage.p99.value))
    added = format_ms(profile[0].added)
    rounds = profile[0].rounds
    how = f"each was made {added} slower in {rounds} rounds of interleaved runs; a saving is taken to count as much"
    return (*map(_sentence, ordered), how)


def _sentence(stage: Sensitivity) -> str:
    parts = list(_parts(stage))
    if not _is_decided(stage):
        return f"in {_name(stage)} it is undecided: {' and '.join(text for text, _ in parts[:2])}"
    *others, last = (text + _doubt(estimate) for text, estimate in parts)
    return f"each millisecond less in {_name(stage)} takes {', '.join(others)} and {last}"


def _name(stage: Sensitivity) -> str:
    """The stage, or the part of it that was made slower."""
    return _HOST_PART if stage.on_host else stage.stage


def _parts(stage: Sensitivity) -> Iterator[tuple[str, Estimate]]:
    """What a millisecond takes off p99, off the mean and of late frames away."""
    yield f"{_milliseconds(stage.p99)} off p99", stage.p99
    yield f"{_milliseconds(stage.mean)} off the mean", stage.mean
    if stage.late is not None and stage.late.value > 0:
        yield f"{_share(stage.late)} of the frames off the late ones", stage.late


def _is_decided(stage: Sensitivity) -> bool:
    return not (_doubt(stage.p99) and _doubt(stage.mean))


def _doubt(estimate: Estimate) -> str:
    """' (undecided)' for an interval that holds zero."""
    holds_zero = estimate.low is not None and estimate.high is not None and estimate.low <= 0 <= estimate.high
    return " (undecided)" if holds_zero else ""


def _milliseconds(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ms{_interval(estimate, 1.0, '.2f')}"


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} %{_interval(estimate, 100.0, '.1f')}"


def _interval(estimate: Estimate, factor: float, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{factor * estimate.low:{form}}, {factor * estimate.high:{form}}]"
