"""A tuning: the goal, every way to run the models that was predicted or measured, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative, Positive, PositiveNumber
from framepace.facts.plan import Plan

Objective = Literal["cameras", "fps", "p99", "cpu", "energy"]
TUNING_FORMAT = "framepace.tuning/1"
_ALIKE = 1.5  # runs with up to that many times the frames of another say as much


class Goal(Fact, frozen=True, kw_only=True):
    """What a plan must reach, and what makes one plan better than another.

    'cameras': the most cameras at `fps` frames per second each. 'fps': the highest rate of each of `cameras`. 'p99',
    'cpu', 'energy': the least of that per frame with `cameras` at `fps`. In all of them at most `late` of the frames
    take longer than `p99_ms`, and the device's memory in use stays under `memory_bytes`.
    """

    objective: Objective = "cameras"
    fps: PositiveNumber = 30.0
    p99_ms: PositiveNumber = 1000 / 30
    cameras: Positive | None = None
    memory_bytes: Positive | None = None
    late: Annotated[float, Meta(ge=0, lt=1)] = 0.01


class Figures(Fact, frozen=True, kw_only=True):
    """One run in the numbers that decide. Times in ns per frame, `energy` in J per frame; None: not measured.

    `missed` is the share of frames that were not delivered within the budget; `stages` are means by stage.
    """

    frames: Annotated[int, Meta(ge=0)]
    p99: float | None = None
    missed: NonNegative = 0.0
    throughput: NonNegative = 0.0
    cpu: float | None = None
    energy: float | None = None
    power: float | None = None
    device_memory: float | None = None
    neighbours: float | None = None
    stages: dict[str, float] = {}


class Trial(Fact, frozen=True, kw_only=True):
    """One run of a candidate at a `level` (see tuning.objective), and whether it kept the constraints there.

    `trace` is the id of its trace; None where it was predicted.
    """

    level: Positive
    figures: Figures
    met: bool
    trace: str | None = None


def decided(trials: Sequence[Trial]) -> dict[int, Trial]:
    """By level, the trial that counts: the one with the most frames, then a success."""
    by_level: dict[int, Trial] = {}
    for trial in trials:
        before = by_level.get(trial.level)
        if before is None or _outweighs(trial, before):
            by_level[trial.level] = trial
    return by_level


def _outweighs(trial: Trial, before: Trial) -> bool:
    frames = trial.figures.frames
    frames_before = before.figures.frames
    if _ALIKE * frames < frames_before or _ALIKE * frames_before < frames:
        return frames > frames_before
    return (trial.met, frames) >= (before.met, frames_before)


def tried(trials: Sequence[Trial]) -> dict[int, bool]:
    """The levels that were tried, and whether each is carried."""
    return {level: trial.met for level, trial in decided(trials).items()}


def carried(trials: Sequence[Trial]) -> int:
    """The highest level that is carried; 0 where none is."""
    return max((level for level, kept in tried(trials).items() if kept), default=0)


def decisive(trials: Sequence[Trial]) -> Trial | None:
    """The trial a candidate is reported by: at the level it carries, or at its lowest level."""
    counts = decided(trials)
    return counts.get(carried(trials) or min(counts, default=0))


class Candidate(Fact, frozen=True, kw_only=True):
    """One way to run the models: settings on top of the original plan.

    `bound` is the highest rate it can have in frames per second, by what its models were measured to take. `error` is
    why it cannot be run, or why it is not wanted (the accuracy gate).
    """

    settings: dict[str, Any]
    bound: float | None = None
    predicted: tuple[Trial, ...] = ()
    measured: tuple[Trial, ...] = ()
    error: str | None = None

    @property
    def state(self) -> Literal["failed", "measured", "predicted", "new"]:
        """How far it has come."""
        if self.error is not None:
            return "failed"
        if self.measured:
            return "measured"
        if self.predicted:
            return "predicted"
        return "new"


class Tuning(Fact, frozen=True, kw_only=True):
    """All candidates, the first being the original plan, and the number of the `best`.

    `plan` is the best's. `met` is False where no candidate reaches the goal: `plan` is then the closest, `shortfalls`
    say by how much, `limit` what limits it. `seconds` is the time by what it was spent on.
    """

    goal: Goal
    candidates: tuple[Candidate, ...] = ()
    best: int | None = None
    plan: Plan | None = None
    met: bool | None = None
    why: str = ""
    shortfalls: tuple[str, ...] = ()
    limit: str = ""
    notes: tuple[str, ...] = ()
    seconds: dict[str, float] = {}
    interrupted: bool = False
    machine: str | None = None
    key: str = ""
    format: str = TUNING_FORMAT
