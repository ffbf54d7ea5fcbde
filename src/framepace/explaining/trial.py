"""A trial: the same case with and without one change, in interleaved blocks (A B B A), and the verdict on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from framepace.analyze.stats import paired_ratio
from framepace.explaining.metrics import Metric
from framepace.facts.finding import Intervention, Verdict
from framepace.facts.settings import Case, apply
from framepace.facts.summary import Estimate
from framepace.facts.trace import Trace
from framepace.facts.workload import Warmup
from framepace.lab.lab import HERE, Lab, Where

MATERIAL = 0.05  # an effect under 5 % of the metric is not reported as a cause
PAIRS = 4  # with four pairs the t-interval is 3.2 standard errors; with two 12.7, enough for what is plain
FEWEST_PAIRS = 2
_SEPARATE_BLOCKS = 3  # on each side, from which one that lies apart from the other says something by itself
SHORTEST_BLOCK_S = 0.6
BLOCK_COST_S = 0.5  # warm-up and start of a block
_SIMULATED_FRAMES = 1_000  # of a block
FRESH_COST_S = 3.0  # the same in a process of its own
_BLOCK_WARMUP = Warmup(window=3, tolerance=0.15, seconds_max=0.6)  # the models ran just before


@dataclass
class Blocks:
    """The blocks of a trial as they come in."""

    before: list[Trace] = field(default_factory=list)
    after: list[Trace] = field(default_factory=list)
    change: dict[str, Any] = field(default_factory=dict)
    """What the blocks `after` were measured with."""

    def ratio(self, metric: Metric) -> Estimate:
        """After/before of the metric, over interleaved pairs.

        Where all blocks of one side lie below all of the other, the interval ends at the nearest two: the
        distribution-free one of H. B. Mann and D. R. Whitney (1947), of 97 % with four blocks on each side and of 90 %
        with three. It holds where blocks differ by far more on one side, as a clock's that has not settled do.
        """
        before = [metric.samples(trace) for trace in self.before]
        after = [metric.samples(trace) for trace in self.after]
        ratio = paired_ratio(before, after, metric.statistic)
        gap = self._gap(metric)
        if gap is None or ratio.low is None or ratio.high is None:
            return ratio
        if gap < 1:
            return Estimate(value=ratio.value, low=ratio.low, high=min(ratio.high, gap))
        return Estimate(value=ratio.value, low=max(ratio.low, gap), high=ratio.high)

    def _gap(self, metric: Metric) -> float | None:
        """After/before of the two nearest blocks of different sides; None where the sides overlap, or are short."""
        before = self.value(self.before, metric)
        after = self.value(self.after, metric)
        if min(len(self.before), len(self.after)) < _SEPARATE_BLOCKS or not before.low or not after.low:
            return None
        assert before.high is not None
        assert after.high is not None
        if after.high < before.low:
            return after.high / before.low
        return after.low / before.high if after.low > before.high else None

    def value(self, side: Sequence[Trace], metric: Metric) -> Estimate:
        """The metric of one side: median over its blocks, with their range."""
        values = [value for value in map(metric.value, side) if value is not None]
        if not values:
            return Estimate(value=0.0)
        return Estimate(value=float(np.median(values)), low=min(values), high=max(values))

    def is_clear(self, metric: Metric) -> bool:
        """Whether the blocks suffice for a verdict."""
        return judge(self.ratio(metric)) != "undecided"


@dataclass(frozen=True)
class Length:
    """How long a trial is: seconds per block, and pairs of blocks; and where its blocks run."""

    seconds: float
    pairs: int
    where: Where = HERE


def run_trial(
    lab: Lab,
    base: Case,
    change: dict[str, Any],
    length: Length,
    text: str = "",
    enough: Callable[[Blocks], bool] | None = None,
) -> Blocks:
    """Measure `base` and `base` with `change` in the order A B B A ...

    `text` is reported before each block. From two pairs on the trial ends when the blocks are `enough`.
    """
    blocks = Blocks(change=change)
    changed = apply(base, change)
    count = 2 * length.pairs
    for number in range(count):
        pair, second = divmod(number, 2)
        if not second and pair >= FEWEST_PAIRS and enough is not None and enough(blocks):
            break
        lab.say(f"{text} ({number + 1}/{count})")
        with_change = (pair + second) % 2 == 1
        case, side = (changed, blocks.after) if with_change else (base, blocks.before)
        side.append(block(lab, case, length.seconds, length.where))
    return blocks


def longest_block_s(virtual: bool, frames_per_s: float) -> float:
    """Seconds after which a block has frames enough: none on a real clock.

    A simulated device makes its frames one by one, and may make thousands of them per second of its own.
    """
    if not virtual or not frames_per_s:
        return math.inf
    return _SIMULATED_FRAMES / frames_per_s


def block(lab: Lab, case: Case, seconds: float, where: Where = HERE) -> Trace:
    """One block of a trial."""
    return lab.run(case, seconds, where=where, warmup=_BLOCK_WARMUP)


def judge(ratio: Estimate, material: float = MATERIAL) -> Verdict:
    """Confirmed when the change surely and materially lowers the metric, refuted when it surely does not.

    An interval that leaves room for twice the smallest effect that counts decides nothing, wherever its middle is.
    """
    if ratio.low is None or ratio.high is None:
        return "undecided"
    if ratio.high < 1 and ratio.value <= 1 - material:
        return "confirmed"
    if ratio.low > 1 - material or (ratio.value >= 1 and ratio.low > 1 - 2 * material):
        return "refuted"
    return "undecided"


def intervention(blocks: Blocks, change: dict[str, Any], metric: Metric) -> Intervention:
    """The record of a trial."""
    return Intervention(
        changed=change,
        metric=metric.name,
        kind=metric.kind,
        unit=metric.unit,
        before=blocks.value(blocks.before, metric),
        after=blocks.value(blocks.after, metric),
        ratio=blocks.ratio(metric),
        rounds=len(blocks.before),
    )
