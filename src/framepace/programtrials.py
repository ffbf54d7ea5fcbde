"""Trials in a user's own program: whole runs of it with and without a setting, interleaved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from framepace.analyze.summary import summarize
from framepace.attaching.program import Observation
from framepace.attaching.settings import PROGRAM_SETTINGS, checked, instead
from framepace.errors import FramepaceError
from framepace.explaining.metrics import CPU, LATENCY, TAIL
from framepace.explaining.trial import Blocks, intervention, judge
from framepace.facts.finding import Intervention, Verdict
from framepace.facts.programtrial import ProgramExplanation, ProgramTrial
from framepace.progress import Tell, silent

ROUNDS = 4  # of each setting; with four pairs the t-interval is 3.2 standard errors
_FEWEST_ROUNDS = 2
_METRICS = (LATENCY, CPU, TAIL)  # in the order in which they decide
_ORDER: tuple[Verdict, ...] = ("confirmed", "undecided", "refuted")
Run = Callable[[Mapping[str, str]], Observation]
"""Runs the program with settings. Raises KeyboardInterrupt where Ctrl-C ended it."""


@dataclass
class _Arm:
    """A setting that is tried, its runs beside those of the program as it is, and why it cannot be tried."""

    settings: dict[str, str]
    blocks: Blocks = field(default_factory=Blocks)
    error: str | None = None

    @property
    def open(self) -> bool:
        """Whether more runs may say more."""
        return self.error is None and any(not self.blocks.is_clear(metric) for metric in _METRICS[:2])


def usual_tries(first: Observation) -> Iterator[dict[str, str]]:
    """What is worth trying in a program, by the calls that were seen in its first run."""
    libraries = {name.partition(".")[0] for name in first.calls}
    if "onnxruntime" in libraries:
        yield {"spinning": "off"}
    if libraries & {"onnxruntime", "torch"}:
        yield {"threads": "1"}
    if "cv2" in libraries:
        yield {"opencv-threads": "1"}
    if "time.sleep" in first.calls:
        yield {"sleep": "spin"}
    if first.calls.get("gc"):
        yield {"collections": "off"}


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
    arms = [_Arm(dict(settings)) for settings in chosen]
    interrupted = False
    try:
        _run_rounds(run, arms, clock, tell)
    except KeyboardInterrupt:
        interrupted = True
    trials = sorted(map(_trial, arms), key=_rank)
    return ProgramExplanation(
        summary=summarize(first.trace),
        trials=tuple(trials),
        runs=clock.laps,
        seconds=clock.spent,
        interrupted=interrupted,
        notes=tuple(_notes(arms)),
    )


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
        left = [arm for arm in arms if arm.error is None and (number < _FEWEST_ROUNDS or arm.open)]
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


def _named(settings: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items()) or "as it is"


def _trial(arm: _Arm) -> ProgramTrial:
    """What came of a setting."""
    names = list(arm.settings)
    setting = PROGRAM_SETTINGS.get(names[0])
    done: tuple[Intervention, ...] = ()
    if arm.error is None and arm.blocks.after:
        done = tuple(intervention(arm.blocks, dict(arm.settings), metric) for metric in _METRICS)
    decisive = next((one.metric for one in done if judge(one.ratio) == "confirmed"), None)
    return ProgramTrial(
        settings=arm.settings,
        verdict=_verdict(done, decisive),
        code=setting.code if setting is not None else "",
        text=setting.help if setting is not None else "",
        instead="; ".join(instead(name, value) for name, value in arm.settings.items()),
        interventions=done,
        decisive=decisive,
        error=arm.error,
    )


def _verdict(done: Sequence[Intervention], decisive: str | None) -> Verdict:
    """Confirmed where any metric is surely and materially lower, refuted where latency and CPU time surely are not."""
    if decisive is not None:
        return "confirmed"
    if done and all(judge(one.ratio) == "refuted" for one in done[:2]):
        return "refuted"
    return "undecided"


def _rank(trial: ProgramTrial) -> tuple[int, float]:
    ratios = [one.ratio.value for one in trial.interventions if one.metric == trial.decisive]
    return _ORDER.index(trial.verdict), min(ratios, default=1.0)


def _notes(arms: Sequence[_Arm]) -> Iterator[str]:
    if any(not arm.blocks.after and arm.error is None for arm in arms):
        yield "no time was left for a round of runs: allow more (--time-limit), or end each run sooner (--seconds)"
    yield "what the program answered was not compared between runs"
