"""A known delay in one stage of every frame, to measure what a millisecond there is worth."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple, TypeAlias, get_args

from msgspec import Meta

from framepace.units import NS_PER_MS

SlowStage: TypeAlias = Literal["decode", "prepare", "infer", "finish"]
SLOW_STAGES: tuple[SlowStage, ...] = get_args(SlowStage)
Slow = Annotated[str, Meta(pattern=r"^(decode|prepare|infer|finish):\d{1,5}(\.\d{1,6})?$")]
"""STAGE:MILLISECONDS, such as 'prepare:1.5'."""


class Slowing(NamedTuple):
    """Which stage takes longer, and by how much (ns)."""

    stage: SlowStage
    ns: int


def slowing(text: Slow | None) -> Slowing | None:
    """What the setting says; None where it says nothing."""
    if text is None:
        return None
    name, _, milliseconds = text.partition(":")
    stage = next(stage for stage in SLOW_STAGES if stage == name)
    return Slowing(stage, round(float(milliseconds) * NS_PER_MS))


def delay_in(text: Slow | None, stage: SlowStage) -> int:
    """The delay that the setting adds to a stage, ns."""
    slowed = slowing(text)
    if slowed is None or slowed.stage != stage:
        return 0
    return slowed.ns
