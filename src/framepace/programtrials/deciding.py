"""Decides settings by runs of the program: in blocks of one run, or by whole ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from framepace.attaching.program import Observation
from framepace.attaching.starting import Begun, unheard
from framepace.attaching.turns import Turns, of_frames
from framepace.errors import FramepaceError
from framepace.programtrials.arm import FEWEST_PAIRS, MOST_LOOKS, Arm
from framepace.programtrials.longer import wanted_pairs
from framepace.programtrials.schedule import FIRST_BLOCKS, ROUNDS, BlockRun, FirstRun, block_run, in_turn, run_seconds
from framepace.progress import Tell


class Run(Protocol):
    """Runs the program with settings, and others that take turns, and ends it after a time."""

    def __call__(
        self,
        settings: Mapping[str, str],
        *,
        turns: Turns | None = None,
        seconds: float | None = None,
        begun: Begun = unheard,
    ) -> Observation:
        """What was seen of it; `seconds` count from its first inference, of which `begun` is told.

        Raises FramepaceError.
        """


class Clock:
    """Time so far, of a limit, what of it does not count (s), and how many runs it held."""

    def __init__(self, limit_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._now = now
        self._began = now()
        self.runs = 0
        self.not_counted = 0.0

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return self._now() - self._began

    @property
    def left(self) -> float:
        """Seconds of the limit."""
        return self._limit_s - self.counted

    @property
    def counted(self) -> float:
        """Seconds so far, but for those until a first inference that have to be, however long they are."""
        return self.spent - self.not_counted

    @property
    def share(self) -> float:
        """Of the limit."""
        return min(1.0, self.counted / self._limit_s)


@dataclass(frozen=True)
class Task:
    """The program, how it ran first, the time, and who is told of each run."""

    run: Run
    first: FirstRun
    clock: Clock
    tell: Tell

    def seen(
        self, words: str, settings: Mapping[str, str], turns: Turns | None = None, seconds: float | None = None
    ) -> Observation:
        """A run of the program. Raises FramepaceError."""
        self.tell(f"waiting for the first inference: {words}", self.clock.share)
        try:
            return self.run(settings, turns=turns, seconds=seconds, begun=lambda _: self.tell(words, self.clock.share))
        finally:
            self.clock.runs += 1


def stop_if_interrupted(observation: Observation) -> None:
    """Raises KeyboardInterrupt where Ctrl-C ended the run: it came from the same keys."""
    if observation.trace.meta.stopped == "interrupted":
        raise KeyboardInterrupt


def decide_in_blocks(arms: Sequence[Arm], task: Task, runs_after: bool) -> None:
    """Switch settings by turns in one run; in several, where the program ends before all are clear."""
    for _ in range(MOST_LOOKS):
        undecided = [arm for arm in arms if arm.open]
        wanted = max((_further(arm) for arm in undecided), default=0)
        plan = block_run(task.first, len(undecided), wanted, task.clock.left, runs_after)
        if wanted <= 0 or plan is None:
            return
        _run_blocks(undecided, plan, task)


def _further(arm: Arm) -> int:
    """The pairs of blocks that are to come: a few to learn how they scatter, then what it takes; 0 where none helps."""
    if arm.count < FEWEST_PAIRS:
        return FIRST_BLOCKS
    return (wanted_pairs(arm) or 0) - arm.count


def _run_blocks(arms: Sequence[Arm], plan: BlockRun, task: Task) -> None:
    """A run in which the arms take turns; where it fails they are given up."""
    names = ", ".join(arm.name for arm in arms)
    turns = Turns(({}, *(arm.settings for arm in arms)), plan.block_ns, time.perf_counter_ns())
    try:
        observation = task.seen(f"blocks of {plan.block_s:.1f} s: as it is, {names}", {}, turns, plan.seconds)
    except FramepaceError as error:
        for arm in arms:
            arm.error = str(error)
        return
    task.clock.not_counted += observation.starting
    add_blocks(arms, turns, observation)
    stop_if_interrupted(observation)


def add_blocks(arms: Sequence[Arm], turns: Turns, observation: Observation) -> None:
    """What a run in blocks said of its arms, which are those of the turns in their order, the first one left out."""
    for before, *after in turns.rounds(observation.trace):
        for arm, block in zip(arms, after, strict=True):
            if before is not None and block is not None:
                arm.add(before, block)
    as_it_is = [answer for answer in observation.answers if answer.arm == 0]
    for place, arm in enumerate(arms, start=1):
        arm.compare(as_it_is, [answer for answer in observation.answers if answer.arm == place])
        _tell_refused(arm, observation)


def decide_in_runs(arms: Sequence[Arm], task: Task) -> None:
    """Run the program as it is and with each setting, in rounds, as many as the time allows."""
    clock = task.clock
    seconds = run_seconds(task.first, len(arms), clock.left)
    run_s = min(task.first.seconds, seconds or task.first.seconds)
    for number in range(ROUNDS):
        still_open = [arm for arm in arms if arm.open]
        runs = 1 + len(still_open)
        if not still_open or clock.left < runs * run_s:
            return
        began = clock.spent
        _run_round(still_open, number, task, seconds)
        run_s = (clock.spent - began) / runs


def _run_round(arms: Sequence[Arm], number: int, task: Task, seconds: float | None) -> None:
    """A run as it is and one of each arm. An arm that fails is left out from then on."""
    as_it_is = Arm({}, 0.0)
    observations: dict[str, Observation] = {}
    for arm in in_turn([as_it_is, *arms], number):
        words = f"round {number + 1} of {ROUNDS}: {arm.name or 'as it is'}"
        try:
            observations[arm.name] = task.seen(words, arm.settings, seconds=seconds)
        except FramepaceError as error:
            if arm is as_it_is:
                raise
            arm.error = str(error)
            continue
        stop_if_interrupted(observations[arm.name])
    before = observations[as_it_is.name]
    for arm in arms:
        if arm.name in observations:
            _add_runs(arm, before, observations[arm.name])


def _add_runs(arm: Arm, before: Observation, after: Observation) -> None:
    arm.add(of_frames(before.trace), of_frames(after.trace))
    arm.compare(before.answers, after.answers)
    _tell_refused(arm, after)


def _tell_refused(arm: Arm, observation: Observation) -> None:
    """Why a setting of an arm could not be switched on."""
    for name, why in observation.refused.items():
        if name in arm.settings:
            arm.error = f"could not be set: {why}"
