"""Trials in a user's own program: what can be switched while it runs in blocks of one run, the others in whole runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from framepace.analyze.programcauses import program_causes
from framepace.analyze.summary import summarize
from framepace.attaching.program import Observation
from framepace.attaching.settings import checked
from framepace.explaining.metrics import CPU
from framepace.facts.log import Suspected
from framepace.facts.program import Program
from framepace.facts.programtrial import ProgramExplanation, ProgramTrial
from framepace.facts.summary import Summary
from framepace.programtrials.arm import Arm, arms_of, rank
from framepace.programtrials.deciding import (
    Clock,
    Run,
    Task,
    decide_in_blocks,
    decide_in_runs,
    stop_if_interrupted,
)
from framepace.programtrials.longer import longer
from framepace.programtrials.schedule import FIRST_LONGEST_S, FIRST_SHARE, FirstRun, holds_blocks
from framepace.programtrials.usual import usual_tries
from framepace.progress import Tell, silent
from framepace.units import NS_PER_S

_USUAL_BLOCKS = 3  # settings that take turns
_BUSY = 0.3  # of the cores, that others take


def try_settings(
    run: Run,
    tries: Sequence[Mapping[str, object]] | None,
    time_limit: float,
    tell: Tell = silent,
    seconds: float | None = None,
    now: Callable[[], float] = time.monotonic,
) -> ProgramExplanation:
    """Run a program as it is and with each setting in turn, until all is clear or the time is over.

    A round is a measurement as it is and one with each setting; every second round goes backwards, so that a drift of
    the machine falls on all alike. A first run, whose files and caches may be cold, counts for the numbers and for no
    trial.

    Args:
        tries: the settings; None: `usual_tries`.
        time_limit: seconds; a round is not begun that would end after it.
        seconds: after which `run` ends each run anyway, if it does.
        now: seconds of the clock on which the limit counts.

    Raises what the first run raises.
    """
    clock = Clock(time_limit, now)
    words = "running the program as it is"
    tell(f"waiting for the first inference: {words}", clock.share)
    observation = run(
        {}, seconds=min(FIRST_LONGEST_S, time_limit * FIRST_SHARE), begun=lambda _: tell(words, clock.share)
    )
    clock.runs += 1
    clock.not_counted = observation.starting
    stop_if_interrupted(observation)
    task = Task(run, _first_run(observation, clock.spent, seconds), clock, tell)
    arms = arms_of(list(_chosen(observation, task.first) if tries is None else map(checked, tries)))
    interrupted = False
    try:
        _decide(arms, task)
    except KeyboardInterrupt:
        interrupted = True
    return _explanation(observation, arms, task, interrupted)


def _first_run(observation: Observation, took: float, seconds: float | None) -> FirstRun:
    assert isinstance(observation.trace.meta.subject, Program)
    by_itself = seconds is not None or not observation.by_time
    return FirstRun(took, observation.starting, observation.trace.meta.subject.period / NS_PER_S, by_itself)


def _chosen(observation: Observation, first: FirstRun) -> Iterator[dict[str, str]]:
    return usual_tries(observation.trace.meta, in_blocks=holds_blocks(first, _USUAL_BLOCKS))


def _decide(arms: Sequence[Arm], task: Task) -> None:
    """In blocks first, which cost least, then in whole runs."""
    live = [arm for arm in arms if arm.live]
    for arm in live:
        arm.within_runs = holds_blocks(task.first, len(live))
        if arm.only_tried and not arm.within_runs:
            arm.error = f"the program ends too soon: {2 * (1 + len(live)) * task.first.block_s:.0f} s are needed"
    blocks = [arm for arm in live if arm.within_runs]
    whole = [arm for arm in arms if not arm.within_runs]
    decide_in_blocks(blocks, task, runs_after=bool(whole))
    decide_in_runs(whole, task)


def _explanation(first: Observation, arms: Sequence[Arm], task: Task, interrupted: bool) -> ProgramExplanation:
    trials = sorted((arm.trial() for arm in arms), key=rank)
    numbers = summarize(first.trace)
    program = first.trace.meta.subject
    assert isinstance(program, Program)
    return ProgramExplanation(
        summary=numbers,
        suspected=tuple(_not_proven(program_causes(program, numbers), trials)),
        trials=tuple(trials),
        runs=task.clock.runs,
        seconds=task.clock.spent,
        interrupted=interrupted,
        notes=(*_notes(arms), *longer(arms, task.first), *_neighbours(numbers)),
    )


def _not_proven(suspected: Sequence[Suspected], trials: Sequence[ProgramTrial]) -> Iterator[Suspected]:
    proven = {trial.code for trial in trials if trial.verdict == "confirmed"}
    return (one for one in suspected if one.code not in proven)


def _neighbours(numbers: Summary) -> Iterator[str]:
    """What others on the cores take, from where a queue or a long stage may be theirs."""
    share = numbers.neighbours_cpu
    if share is not None and share >= _BUSY:
        yield f"other programs took {share:.0%} of the cores: queues and long stages may be theirs; run it alone"


def _notes(arms: Sequence[Arm]) -> Iterator[str]:
    tried = [arm for arm in arms if arm.error is None]
    if not all(arm.count for arm in tried):
        yield "no time was left for a round of runs; where each may be short, --seconds ends them sooner"
    if any(arm.count and not arm.has(CPU) for arm in tried):
        yield "the CPU time per frame is not told: the frames of a run must last a tenth of a second together"
    if any(arm.count and arm.changes_models and arm.answers.verdict == "not compared" for arm in tried):
        yield "what the models answered was not compared: no two runs gave them the same inputs through ONNX Runtime"
