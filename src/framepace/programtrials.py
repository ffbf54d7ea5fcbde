"""Trials in a user's own program: whole runs of it with and without a setting, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from framepace.analyze.programcauses import WORKING, holds_the_lock, program_causes, share_of
from framepace.analyze.stats import paired_ratio
from framepace.analyze.summary import summarize
from framepace.attaching.answers import Compared
from framepace.attaching.program import Observation
from framepace.attaching.settings import PROGRAM_SETTINGS, ProgramSetting, checked, instead
from framepace.errors import FramepaceError
from framepace.explaining.metrics import CPU, LATENCY, TAIL, Metric
from framepace.explaining.trial import Blocks, intervention, judge
from framepace.facts.finding import Intervention, MetricKind, Verdict
from framepace.facts.log import Suspected
from framepace.facts.program import Program
from framepace.facts.programtrial import ProgramExplanation, ProgramTrial
from framepace.facts.summary import Estimate, Summary
from framepace.progress import Tell, silent

ROUNDS = 8  # of each setting
_FEWEST_ROUNDS = 4
_WRONG = 0.01  # of programs in which nothing helps, the share in which something is proven by chance
_METRICS = (LATENCY, CPU, TAIL)
_OTHER_KINDS: tuple[MetricKind, ...] = ("latency", "cpu")  # that a variable of the user's own is meant to lower
_ORDER: tuple[Verdict, ...] = ("confirmed", "undecided", "refuted")
_BUSY = 0.3  # of the cores, that others take
_WORTH_A_TRIAL = 0.05  # of a frame
_OWN = ProgramSetting(None, "", "", "", _OTHER_KINDS)
Run = Callable[[Mapping[str, str]], Observation]
"""Runs the program with settings. Raises KeyboardInterrupt where Ctrl-C ended it."""


@dataclass
class _Arm:
    """A setting that is tried, its runs beside those of the program as it is, and why it cannot be tried.

    `confidence` is that of its intervals: higher the more settings are tried, since each is a chance to be wrong.
    """

    settings: dict[str, str]
    confidence: float
    blocks: Blocks = field(default_factory=Blocks)
    answers: Compared = field(default_factory=Compared)
    error: str | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those that the setting is meant to lower."""
        kinds = {kind for name in self.settings for kind in _kinds(name)}
        return tuple(metric for metric in _METRICS if metric.kind in kinds)

    @property
    def open(self) -> bool:
        """Whether more runs may say more."""
        if self.error is not None or self.answers.verdict == "changed":
            return False
        if len(self.blocks.after) < _FEWEST_ROUNDS:
            return True
        return self.verdict == "undecided"

    @property
    def verdict(self) -> Verdict:
        """Confirmed where any metric is surely and materially lower, refuted where all surely are not.

        What changes the answers is no remedy, whatever it brings.
        """
        if self.answers.verdict == "changed":
            return "refuted"
        if len(self.blocks.after) < _FEWEST_ROUNDS:
            return "undecided"
        verdicts = [judge(self.ratio(metric)) for metric in self.metrics]
        if "confirmed" in verdicts:
            return "confirmed"
        return "refuted" if set(verdicts) == {"refuted"} else "undecided"

    def ratio(self, metric: Metric) -> Estimate:
        """With the setting over without it, from the pairs of whole runs."""
        before = [metric.samples(trace) for trace in self.blocks.before]
        after = [metric.samples(trace) for trace in self.blocks.after]
        return paired_ratio(before, after, metric.statistic, self.confidence)


def _kinds(setting: str) -> tuple[MetricKind, ...]:
    return PROGRAM_SETTINGS.get(setting, _OWN).kinds


def usual_tries(first: Observation) -> Iterator[dict[str, str]]:
    """What is worth trying in a program, by what it loaded and what its frames consisted of in its first run."""
    program = first.trace.meta.subject
    assert isinstance(program, Program)
    cores = first.trace.meta.machine.cores_logical
    yield from _of_threads(program, cores)
    if program.threads.get("cv2", 1) > cores and share_of(program, WORKING, "cv2.") >= _WORTH_A_TRIAL:
        yield {"opencv-threads": "1"}
    if share_of(program, ("between",), "time.sleep") >= _WORTH_A_TRIAL:
        yield {"sleep": "spin"}
    if share_of(program, WORKING, "gc") >= _WORTH_A_TRIAL:
        yield {"collections": "off"}
    if holds_the_lock(program):
        yield {"switch-interval": "short"}


def _of_threads(program: Program, cores: int) -> Iterator[dict[str, str]]:
    """No spinning where idle threads spin; as many threads as cores where a model has more; one where it has fewer."""
    threads = [session.threads or cores for session in program.sessions.values()]
    torch = program.threads.get("torch", 1)
    spinning = any(session.spinning and session.threads != 1 for session in program.sessions.values())
    if (spinning or torch > 1) and cores > 1:
        yield {"spinning": "off"}
    most = max([*threads, torch])
    if most > cores:
        yield {"threads": str(cores)}
    elif most > 1:
        yield {"threads": "1"}


def try_settings(
    run: Run, tries: Sequence[Mapping[str, object]] | None, time_limit: float, tell: Tell = silent
) -> ProgramExplanation:
    """Run a program as it is and with each setting in turn, until all is clear or the time is over.

    A round is a run as it is and one of each setting; every second round goes backwards, so that a drift of the machine
    falls on all alike. A first run, whose files and caches may be cold, counts for the numbers and for no trial.

    Args:
        tries: the settings; None: `usual_tries`.
        time_limit: seconds; a round is not begun that would end after it.

    Raises what the first run raises.
    """
    clock = _Clock(time_limit)
    tell("running the program as it is", clock.share)
    first = run({})
    clock.lap()
    chosen = usual_tries(first) if tries is None else map(checked, tries)
    arms = _arms([dict(settings) for settings in chosen])
    interrupted = False
    try:
        _run_rounds(run, arms, clock, tell)
    except KeyboardInterrupt:
        interrupted = True
    trials = sorted(map(_trial, arms), key=_rank)
    numbers = summarize(first.trace)
    assert isinstance(first.trace.meta.subject, Program)
    return ProgramExplanation(
        summary=numbers,
        suspected=tuple(_not_proven(program_causes(first.trace.meta.subject, numbers), trials)),
        trials=tuple(trials),
        runs=clock.laps,
        seconds=clock.spent,
        interrupted=interrupted,
        notes=(*_notes(arms), *_neighbours(numbers)),
    )


def _not_proven(suspected: Sequence[Suspected], trials: Sequence[ProgramTrial]) -> Iterator[Suspected]:
    proven = {trial.code for trial in trials if trial.verdict == "confirmed"}
    return (one for one in suspected if one.code not in proven)


def _arms(tries: Sequence[dict[str, str]]) -> list[_Arm]:
    """The settings, whose confidence is that of all together by Bonferroni, over their metrics and looks at them."""
    looks = (1 + ROUNDS - _FEWEST_ROUNDS) * sum(len(_Arm(settings, 0.0).metrics) for settings in tries)
    return [_Arm(settings, 1 - 2 * _WRONG / max(1, looks)) for settings in tries]  # one side of the interval counts


class _Clock:
    """Time so far, and how long a run took on average."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._began = time.monotonic()
        self.laps = 0

    def lap(self) -> None:
        """A run has ended."""
        self.laps += 1

    @property
    def spent(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._began

    @property
    def share(self) -> float:
        """Of the limit."""
        return min(1.0, self.spent / self._limit_s)

    def fits(self, runs: int) -> bool:
        """Whether so many more runs end in time."""
        return self.spent * (1 + runs / max(1, self.laps)) <= self._limit_s


def _run_rounds(run: Run, arms: Sequence[_Arm], clock: _Clock, tell: Tell) -> None:
    for number in range(ROUNDS):
        left = [arm for arm in arms if arm.open]
        if not left or not clock.fits(1 + len(left)):
            return
        _run_round(run, left, number, clock, tell)


def _run_round(run: Run, arms: Sequence[_Arm], number: int, clock: _Clock, tell: Tell) -> None:
    """A run as it is and one of each arm; backwards in odd rounds. An arm that fails is left out from then on."""
    before: Observation | None = None
    waiting: list[tuple[_Arm, Observation]] = []
    turns: list[_Arm | None] = [None, *arms]
    for arm in reversed(turns) if number % 2 else turns:
        settings = {} if arm is None else arm.settings
        tell(f"round {number + 1} of {ROUNDS}: {_named(settings)}", clock.share)
        try:
            seen = run(settings)
        except FramepaceError as error:
            if arm is None:
                raise
            arm.error = str(error)
            continue
        finally:
            clock.lap()
        if arm is None:
            before = seen
        else:
            waiting.append((arm, seen))
    assert before is not None
    for arm, seen in waiting:
        arm.blocks.before.append(before.trace)
        arm.blocks.after.append(seen.trace)
        arm.answers.add(before.answers, seen.answers)


def _named(settings: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items()) or "as it is"


def _trial(arm: _Arm) -> ProgramTrial:
    """What came of a setting."""
    setting = PROGRAM_SETTINGS.get(next(iter(arm.settings)), _OWN)
    decisive = None
    if arm.verdict == "confirmed":
        decisive = next(metric.name for metric in arm.metrics if judge(arm.ratio(metric)) == "confirmed")
    return ProgramTrial(
        settings=arm.settings,
        verdict=arm.verdict,
        code=setting.code,
        text=setting.help,
        instead="; ".join(instead(name, value) for name, value in arm.settings.items()),
        interventions=tuple(_interventions(arm)),
        decisive=decisive,
        answers=arm.answers.verdict,
        error=arm.error,
    )


def _interventions(arm: _Arm) -> Iterator[Intervention]:
    """All metrics, also those that decide nothing here: what a gain costs."""
    if arm.blocks.after:
        for metric in _METRICS:
            yield replace(intervention(arm.blocks, dict(arm.settings), metric), ratio=arm.ratio(metric))


def _rank(trial: ProgramTrial) -> tuple[int, float]:
    ratios = [one.ratio.value for one in trial.interventions if one.metric == trial.decisive]
    return _ORDER.index(trial.verdict), min(ratios, default=1.0)


def _neighbours(numbers: Summary) -> Iterator[str]:
    """What others on the cores take, from where a queue or a long stage may be theirs."""
    share = numbers.neighbours_cpu
    if share is not None and share >= _BUSY:
        yield f"other programs took {share:.0%} of the cores: queues and long stages may be theirs; run it alone"


def _notes(arms: Sequence[_Arm]) -> Iterator[str]:
    if any(not arm.blocks.after and arm.error is None for arm in arms):
        yield "no time was left for a round of runs: allow more (--time-limit), or end each run sooner (--seconds)"
    if any(arm.blocks.after and arm.answers.verdict == "not compared" for arm in arms):
        yield "what the models answered was not compared: no two runs gave them the same inputs through ONNX Runtime"
