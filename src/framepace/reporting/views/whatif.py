"""What a millisecond in each stage is worth, in words."""

from __future__ import annotations

from collections.abc import Sequence

from framepace.facts.sensitivity import Sensitivity
from framepace.facts.summary import Estimate
from framepace.units import format_ms


def what_if_sentences(profile: Sequence[Sensitivity]) -> tuple[str, ...]:
    """A sentence per stage, where a millisecond is worth most first; then what was done."""
    if not profile:
        return ()
    ordered = sorted(profile, key=lambda stage: -stage.p99.value)
    added = format_ms(profile[0].added)
    rounds = profile[0].rounds
    how = f"each was made {added} slower in {rounds} rounds of interleaved runs; less is taken as more, turned round"
    return (*map(_sentence, ordered), how)


def _sentence(stage: Sensitivity) -> str:
    parts = [f"{_milliseconds(stage.p99)} off p99", f"{_milliseconds(stage.mean)} off the mean"]
    if stage.late is not None and stage.late.value > 0:
        parts.append(f"{_share(stage.late)} of the frames off the late ones")
    return f"each millisecond less in {stage.stage} takes {', '.join(parts[:-1])} and {parts[-1]}"


def _milliseconds(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} ms{_interval(estimate, 1.0, '.2f')}"


def _share(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} %{_interval(estimate, 100.0, '.1f')}"


def _interval(estimate: Estimate, factor: float, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f" [{factor * estimate.low:{form}}, {factor * estimate.high:{form}}]"
