"""Whether intervals of percentiles hold what they promise: correlated processes whose true percentiles are known.

For every process and percentile: how many of 100 intervals hold the true value, and how many answers are refused.
The truth of a process whose level changes by a plan is the percentile over that plan.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from framepace.analyze.stats import percentiles
from framepace.analyze.tiers import find_tiers

Floats = NDArray[np.float64]
Process = Callable[[np.random.Generator, int], Floats]
PERCENTILES = (50, 90, 99)
_LEVEL_NS = 5e6


def _memory(rng: np.random.Generator, count: int, rho: float) -> Floats:
    """AR(1) noise of unit variance."""
    noise = rng.normal(0, np.sqrt(1 - rho**2), count + 400)
    return np.asarray(lfilter([1], [1, -rho], noise)[400:])


def autoregressive(rho: float) -> Process:
    """Levels that follow each other: AR(1) of the logarithm, 10 %."""
    return lambda rng, count: _LEVEL_NS * np.exp(0.1 * _memory(rng, count, rho))


def bursts(share: float, length: float) -> Process:
    """Frames of three times the latency, `share` of all, in bursts of `length` frames on average."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        quiet = max(1, round(length * (1 - share) / share))
        slow = np.empty(0, dtype=bool)
        while len(slow) < 2 * count:
            lengths = rng.geometric([1 / quiet, 1 / length])
            slow = np.concatenate([slow, np.repeat([False, True], lengths)])
        begin = int(rng.integers(count))
        return np.asarray(_LEVEL_NS * np.where(slow[begin : begin + count], 3.0, 1.0) * _noise(rng, count, 0.1))

    return draw


def levels(*parts: tuple[float, float]) -> Process:
    """(share of the run, factor) of levels one after the other, with 5 % noise."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        ends = np.cumsum([share for share, _ in parts])
        which = np.searchsorted(ends, (np.arange(count) + 0.5) / count)
        factors = np.array([factor for _, factor in parts])
        return np.asarray(_LEVEL_NS * factors[which] * _noise(rng, count, 0.05))

    return draw


def drift(rise: float) -> Process:
    """A latency that rises by `rise` (logarithm) over the run, with 5 % noise."""
    return lambda rng, count: _LEVEL_NS * np.exp(rise * np.arange(count) / count) * _noise(rng, count, 0.05)


def stalls(share: float) -> Process:
    """Single frames, `share` of all, of one to four times the latency."""

    def draw(rng: np.random.Generator, count: int) -> Floats:
        slow = np.where(rng.random(count) < share, rng.uniform(1, 4, count), 1.0)
        return np.asarray(_LEVEL_NS * slow * _noise(rng, count, 0.05))

    return draw


def _noise(rng: np.random.Generator, count: int, deviation: float) -> Floats:
    return np.exp(rng.normal(0, deviation, count))


PROCESSES: dict[str, Process] = {
    "independent": autoregressive(0),
    "AR(1) 0.5": autoregressive(0.5),
    "AR(1) 0.8": autoregressive(0.8),
    "AR(1) 0.95": autoregressive(0.95),
    "bursts of 5": bursts(0.05, 5),
    "bursts of 20": bursts(0.2, 20),
    "single stalls": stalls(0.02),
    "two levels": levels((0.25, 1.8), (0.75, 1.0)),
    "three levels": levels((0.3, 1.0), (0.3, 1.8), (0.4, 1.2)),
    "drift of 35 %": drift(0.3),
    "drift of 4 %": drift(0.04),
}


def coverage(process: Process, count: int, runs: int) -> Iterator[tuple[int, int, int]]:
    """(percentile, intervals that hold the truth, answers) of `runs` series of `count` frames."""
    truth = np.quantile([process(np.random.default_rng(9_000 + run), count) for run in range(400)], _shares())
    series = [process(np.random.default_rng(run), count) for run in range(runs)]
    answers = [percentiles(values, PERCENTILES, tiers=find_tiers(values)) for values in series]
    for column, q in enumerate(PERCENTILES):
        found = [answer[column].estimate for answer in answers]
        ends = [estimate.interval for estimate in found if estimate is not None]
        yield q, sum(low <= truth[column] <= high for low, high in ends), len(ends)


def _shares() -> list[float]:
    return [q / 100 for q in PERCENTILES]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--frames", type=int, nargs="+", default=[600, 3000])
    args = parser.parse_args()
    print("true value inside the interval / answers refused, %")
    print(f"{'frames':>6}  {'process':<14}" + "".join(f"{f'p{q}':>16}" for q in PERCENTILES))
    for count in args.frames:
        for name, process in PROCESSES.items():
            cells = coverage(process, count, args.runs)
            texts = [f"{100 * inside / max(1, n):6.1f} / {100 - 100 * n / args.runs:5.1f}" for _, inside, n in cells]
            print(f"{count:6}  {name:<14}" + "".join(f"{text:>16}" for text in texts), flush=True)


if __name__ == "__main__":
    main()
