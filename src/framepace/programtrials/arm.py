"""A setting that is tried in a program: its measurements beside those of the program as it is, and the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from framepace.analyze.stats import paired_ratio, student
from framepace.attaching.answers import Answer, Compared
from framepace.attaching.settings import PROGRAM_SETTINGS, ProgramSetting, instead
from framepace.explaining.metrics import CPU, LATENCY, TAIL, Metric
from framepace.explaining.trial import Blocks, intervention, judge
from framepace.facts.finding import Intervention, MetricKind, Verdict
from framepace.facts.programtrial import ProgramTrial
from framepace.facts.summary import Estimate
from framepace.facts.trace import Trace

LOOKS = (4, 5, 6, 7, 8)
"""Whole runs of a setting after which it may be decided; where its time is over, what there is decides instead."""
FEWEST_PAIRS = LOOKS[0]
MOST_LOOKS = len(LOOKS)  # at the pairs of an arm, each of which may decide
_MOST_PAIRS = 1000  # that are ever thought of
WRONG = 0.01  # of programs in which nothing helps, the share in which something is proven by chance
_METRICS = (LATENCY, CPU, TAIL)
_OTHER_KINDS: tuple[MetricKind, ...] = ("latency", "cpu")  # that a variable of the user's own is meant to lower
_ORDER: tuple[Verdict, ...] = ("confirmed", "undecided", "refuted")
_OWN = ProgramSetting(None, "", "", "", _OTHER_KINDS)


@dataclass
class Arm:
    """A setting that is tried, what was measured with it and as it is, in pairs, and why it cannot be tried.

    `confidence` is that of its intervals: higher the more settings are tried, since each is a chance to be wrong.
    `within_runs`: its pairs are blocks of one run instead of whole runs.
    """

    settings: dict[str, str]
    confidence: float
    pairs: Blocks = field(default_factory=Blocks)
    answers: Compared = field(default_factory=Compared)
    error: str | None = None
    within_runs: bool = False

    def add(self, before: Trace, after: Trace) -> None:
        """A pair: as it is, and with the setting."""
        self.pairs.before.append(before)
        self.pairs.after.append(after)

    def compare(self, before: Sequence[Answer], after: Sequence[Answer]) -> None:
        """What the models answered as it is, and with the setting."""
        self.answers.add(before, after)

    @property
    def name(self) -> str:
        """As it is written on the command line."""
        return " ".join(f"{name}={value}" for name, value in self.settings.items())

    @property
    def count(self) -> int:
        """Pairs so far."""
        return len(self.pairs.after)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those that the setting is meant to lower."""
        kinds = {kind for name in self.settings for kind in setting_of(name).kinds}
        return tuple(metric for metric in _METRICS if metric.kind in kinds)

    @property
    def live(self) -> bool:
        """Whether it can be switched while the program runs."""
        return all(setting_of(name).live for name in self.settings)

    @property
    def changes_models(self) -> bool:
        """Whether models may run in another way: what can be switched at any time is beside them."""
        return not self.live

    @property
    def only_tried(self) -> bool:
        """Whether the program does something else with it, so that it is no remedy."""
        return any(setting_of(name).only_tried for name in self.settings)

    @property
    def open(self) -> bool:
        """Whether more pairs may say more."""
        if self.error is not None or self.answers.verdict == "changed":
            return False
        return (not self.within_runs and self.count not in LOOKS) or self.verdict == "undecided"

    @property
    def verdict(self) -> Verdict:
        """Confirmed where any metric is surely and materially lower, refuted where all surely are not.

        What changes the answers is no remedy, whatever it brings; what takes away a part of the work (cached decoding)
        changes them because it is told to.
        """
        if self.answers.verdict == "changed" and not self.only_tried:
            return "refuted"
        if self.count < FEWEST_PAIRS:
            return "undecided"
        return _verdict(map(self.ratio, self.metrics))

    def needed(self) -> int | None:
        """So many pairs are expected to decide it, where they go on as those so far; None where no number does."""
        if self.count < FEWEST_PAIRS:
            return FEWEST_PAIRS
        ratios = [self.ratio(metric) for metric in self.metrics]
        counts = range(self.count, _MOST_PAIRS)
        return next((count for count in counts if _verdict(self._with(count, ratios)) != "undecided"), None)

    def _with(self, count: int, ratios: Sequence[Estimate]) -> Iterator[Estimate]:
        """The ratios as so many pairs would tell them, if they scattered as those so far."""
        width = _half_width(count, self.confidence) / _half_width(self.count, self.confidence)
        for ratio in ratios:
            if ratio.low is None or ratio.high is None or ratio.value <= 0:
                yield ratio
                continue
            low, high = (ratio.value * (end / ratio.value) ** width for end in (ratio.low, ratio.high))
            yield Estimate(value=ratio.value, low=low, high=high)

    def ratio(self, metric: Metric) -> Estimate:
        """With the setting over without it."""
        before = [metric.samples(trace) for trace in self.pairs.before]
        after = [metric.samples(trace) for trace in self.pairs.after]
        return paired_ratio(before, after, metric.statistic, self.confidence)

    def has(self, metric: Metric) -> bool:
        """Whether any pair was measured by it: runs that end at once have no CPU time that can be told."""
        pairs = zip(self.pairs.before, self.pairs.after, strict=True)
        return any(len(metric.samples(before)) and len(metric.samples(after)) for before, after in pairs)

    def trial(self) -> ProgramTrial:
        """What came of it."""
        setting = setting_of(next(iter(self.settings)))
        return ProgramTrial(
            settings=self.settings,
            verdict=self.verdict,
            code=setting.code,
            text=setting.help,
            instead="; ".join(instead(name, value) for name, value in self.settings.items()),
            interventions=tuple(self._interventions()),
            decisive=self._decisive(),
            answers=self.answers.verdict,
            error=self.error,
            within_runs=self.within_runs,
            only_tried=self.only_tried,
        )

    def _decisive(self) -> str | None:
        """The metric that confirms it, if any."""
        if self.verdict != "confirmed":
            return None
        return next(metric.name for metric in self.metrics if judge(self.ratio(metric)) == "confirmed")

    def _interventions(self) -> Iterator[Intervention]:
        """All metrics that were measured, also those that decide nothing here: what a gain costs."""
        for metric in _METRICS:
            if self.has(metric):
                yield replace(intervention(self.pairs, dict(self.settings), metric), ratio=self.ratio(metric))


def _verdict(ratios: Iterable[Estimate]) -> Verdict:
    """Confirmed where any metric is surely and materially lower, refuted where all surely are not."""
    verdicts = [judge(ratio) for ratio in ratios]
    if "confirmed" in verdicts:
        return "confirmed"
    return "refuted" if set(verdicts) == {"refuted"} else "undecided"


def _half_width(pairs: int, confidence: float) -> float:
    """That of the interval of the mean of so many pairs, in their standard deviations."""
    return student(confidence, pairs - 1) / math.sqrt(pairs)


def setting_of(name: str) -> ProgramSetting:
    """A setting by its name; a variable or an argument of the user's own is like any other."""
    return PROGRAM_SETTINGS.get(name, _OWN)


def arms_of(tries: Sequence[Mapping[str, str]]) -> list[Arm]:
    """The settings, whose confidence is that of all together by Bonferroni, over their metrics and looks at them."""
    looks = MOST_LOOKS * sum(len(Arm(dict(settings), 0.0).metrics) for settings in tries)
    return [Arm(dict(settings), 1 - 2 * WRONG / max(1, looks)) for settings in tries]  # one side of the interval counts


def rank(trial: ProgramTrial) -> tuple[int, float]:
    """The confirmed first, by what they bring."""
    ratios = [one.ratio.value for one in trial.interventions if one.metric == trial.decisive]
    return _ORDER.index(trial.verdict), min(ratios, default=1.0)
