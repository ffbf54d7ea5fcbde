"""Statistics of latencies: what few, correlated, heavy-tailed samples can and cannot say.

Consecutive latencies are correlated (clocks, caches and neighbours change slowly): n requests carry the information of
n / tau independent ones, tau being the autocorrelation time. Every interval here is taken at the effective size of the
statistic that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.correlation import Values, autocorrelation_time
from framepace.analyze.effective import Series, indicator_time
from framepace.errors import UsageError
from framepace.facts.summary import Estimate, Percentile, Tier

_FEWER = 0.95
"""Confidence of an interval where the samples do not suffice for more."""
_SURE_SIDE = 0.005
"""Error on the side of an interval where many samples lie."""


def effective_size(values: Values) -> int:
    """How many independent samples carry as much information on the mean as `values`; 0 for none."""
    return int(len(values) / autocorrelation_time(values))


def needed(q: float, confidence: float = 0.99, over: int = 0) -> int:
    """Fewest independent samples of which, with `confidence`, more than `over` lie above the percentile `q` (0-100).

    The smallest n with P(Binomial(n, 1 - q/100) <= over) <= 1 - confidence: the early-stopping bound of MLPerf
    LoadGen ("early_stopping.md"); 662 for p99 and 6,636 for p99.9 at 99 % with `over` 1.
    """
    from scipy.special import bdtr

    above = 1 - q / 100
    low = over
    high = over + 1
    while bdtr(over, high, above) > 1 - confidence:
        low = high
        high *= 2
    while high - low > 1:
        middle = (low + high) // 2
        if bdtr(over, middle, above) <= 1 - confidence:
            high = middle
        else:
            low = middle
    return high


def percentile(values: Values, q: float, confidence: float = 0.99) -> Percentile:
    """Percentile `q` (0-100) of `values` (shape (n,), any unit, in time order) with its order-statistic interval.

    See `percentiles`.
    """
    return percentiles(values, (q,), confidence)[0]


def percentiles(
    values: Values, qs: Iterable[float], confidence: float = 0.99, tiers: Sequence[Tier] = ()
) -> tuple[Percentile, ...]:
    """Percentiles with distribution-free intervals, or the reason why there is none.

    The ranks that enclose a percentile are those of the binomial distribution (Conover, Practical Nonparametric
    Statistics, 3.2), taken at the effective size of the series 'is over the percentile' and scaled to all samples.
    Where the samples do not suffice for `confidence` they may for 95 %, with most of the error left to the side where
    few samples lie. Where even the extremes do not enclose the percentile then, the answer is refused.

    Args:
        values: shape (n,), any unit, in time order.
        tiers: the levels of `values`. With them a plain change of level is no noise (see `analyze.effective`).
    """
    series = Series(np.asarray(values, dtype=np.float64), tiers)
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return tuple(_percentile(values, ordered, q, confidence, series) for q in qs)


def _percentile(values: Values, ordered: Values, q: float, confidence: float, series: Series) -> Percentile:
    n = len(values)
    least = min(_least(q, errors) for errors in _errors(q, confidence))
    if n < least:
        return _refused(q, f"needs {least:,} requests, there are {n:,}")
    value = _at(ordered, q / 100 * n)
    size = series.effective(values > value, q / 100)
    errors = next((errors for errors in _errors(q, confidence) if size >= _least(q, errors)), None)
    if errors is None:
        return _refused(q, f"needs {least:,} independent requests, these {n:,} are worth {size:,}", size)
    low, high = _interval(ordered, q, size, errors)
    estimate = Estimate(value=value, low=low, high=high)
    return Percentile(q=q, estimate=estimate, effective=size, confidence=round(1 - sum(errors), 6))


def _errors(q: float, confidence: float) -> tuple[tuple[float, float], ...]:
    """Errors below and above percentile `q` of the intervals to try, the surest first."""
    tail = (1 - confidence) / 2
    few = 1 - _FEWER - _SURE_SIDE
    fewer = (_SURE_SIDE, few) if q >= 50 else (few, _SURE_SIDE)
    if tail >= few:
        return ((tail, tail),)
    return (tail, tail), fewer


def _least(q: float, errors: tuple[float, float]) -> int:
    """Fewest independent samples whose extremes enclose percentile `q` with these errors below and above it."""
    below, above = errors
    return max(needed(q, 1 - above), needed(100 - q, 1 - below))


def _interval(ordered: Values, q: float, size: int, errors: tuple[float, float]) -> tuple[float, float]:
    """The samples that enclose percentile `q` of a series that is worth `size` independent samples."""
    # Rank k of `size` samples lies at k / (size + 1) on average (Weibull); for size n that is rank k itself.
    low, high = (_at(ordered, rank * len(ordered) / (size + 1)) for rank in _ranks(size, q / 100, errors))
    return low, high


def _refused(q: float, reason: str, size: int = 0) -> Percentile:
    return Percentile(q=q, estimate=None, refused=f"p{q:g} {reason}", effective=size)


def _ranks(n: int, q: float, errors: tuple[float, float]) -> tuple[int, int]:
    """Ranks (1-based) l < u with P(percentile < X(l)) and P(percentile > X(u)) no more than the `errors`."""
    from scipy.special import bdtrik

    below, above = errors
    return math.floor(bdtrik(below, n, q)) + 1, math.ceil(bdtrik(1 - above, n, q)) + 1


def _at(ordered: Values, rank: float) -> float:
    """The order statistic of a rank (1-based, rounded up)."""
    return float(ordered[min(max(math.ceil(rank), 1), len(ordered)) - 1])


def proportion(hits: NDArray[np.bool_], confidence: float = 0.95) -> Estimate:
    """The share of `hits` (shape (n,), in time order) with its interval at the effective size of that series itself.

    The exact interval of C. J. Clopper and E. S. Pearson (Biometrika 26, 1934). 0 without an interval for no samples.
    """
    from scipy.special import betaincinv

    count = len(hits)
    if not count:
        return Estimate(value=0.0)
    share = float(np.mean(hits))
    size = count / indicator_time(hits.astype(np.float64))
    over = share * size
    tail = (1 - confidence) / 2
    low = float(betaincinv(over, size - over + 1, tail)) if over else 0.0
    high = float(betaincinv(over + 1, size - over, 1 - tail)) if over < size else 1.0
    return Estimate(value=share, low=low, high=high)


def mean_interval(values: Values, confidence: float = 0.95) -> Estimate:
    """Mean of `values` (shape (n,)) with its t-interval at the effective size; no interval under two effective samples.

    0 without an interval for no values.
    """
    if not len(values):
        return Estimate(value=0.0)
    mean = float(np.mean(values))
    size = effective_size(values)
    if size < 2:
        return Estimate(value=mean)
    half = student(confidence, size - 1) * float(np.std(values, ddof=1)) / math.sqrt(size)
    return Estimate(value=mean, low=mean - half, high=mean + half)


def student(confidence: float, freedom: int) -> float:
    """Half-width, in standard errors, of a two-sided t-interval with so many degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def normal_quantile(confidence: float) -> float:
    """Half-width, in standard deviations, of a two-sided normal interval."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


def paired_ratio(
    before: Sequence[Values], after: Sequence[Values], statistic: str = "median", confidence: float = 0.95
) -> Estimate:
    """Ratio after/before of a statistic over interleaved blocks (A B B A ...), with an interval that includes drift.

    A t-interval of the logarithms. It counts whatever makes blocks differ, drift included, and is never narrower than
    the noise within the blocks. From four pairs on it is that of the pairs' ratios. Two or three pairs have too few
    degrees of freedom for that, so their blocks are pooled by side: exact for independent blocks, wider than needed
    where drift makes pairs alike. One pair says nothing about drift and gets no interval. The order A B B A cancels a
    linear trend.

    Args:
        before, after: one array per block, shape (n,), values > 0, same unit; pairs with an empty block are left out.
        statistic: 'median', 'mean' or a percentile such as 'p90'.

    Returns:
        1 without an interval when no pair is left or a block's statistic is not positive.
    """
    centres, errors = _blocks(before, after, statistic)
    if not len(centres) or (centres <= 0).any():
        return Estimate(value=1.0)
    return _exponential(_effect(np.log(centres), errors / centres, confidence))


def _blocks(
    before: Sequence[Values], after: Sequence[Values], statistic: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The statistic of each block and its standard error within the block, (pairs, 2) each: before, after."""
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if len(b) and len(a)]
    centres = [[_centre(block, statistic) for block in pair] for pair in pairs]
    errors = [[_error(block, statistic) for block in pair] for pair in pairs]
    return np.array(centres).reshape(-1, 2), np.array(errors).reshape(-1, 2)


def _effect(centres: NDArray[np.float64], errors: NDArray[np.float64], confidence: float) -> Estimate:
    """The mean of after - before over pairs with its interval; shapes (pairs, 2)."""
    effects = centres[:, 1] - centres[:, 0]
    count = len(effects)
    value = float(np.mean(effects))
    if count < 2:
        return Estimate(value=value)
    within = normal_quantile(confidence) * math.sqrt(float(np.sum(errors**2))) / count
    half = max(_between(centres, confidence), within)
    return Estimate(value=value, low=value - half, high=value + half)


def _between(centres: NDArray[np.float64], confidence: float) -> float:
    """Half-width of the t-interval that the differences between blocks give."""
    count = len(centres)
    if count < 4:
        variance = float(np.sum(np.var(centres, axis=0, ddof=1)))
        return student(confidence, 2 * count - 2) * math.sqrt(variance / count)
    effects = centres[:, 1] - centres[:, 0]
    return student(confidence, count - 1) * float(np.std(effects, ddof=1)) / math.sqrt(count)


def _exponential(logs: Estimate) -> Estimate:
    value = math.exp(logs.value)
    if logs.low is None or logs.high is None:
        return Estimate(value=value)
    # e^+-700 is as good as no limit, and exp does not overflow.
    return Estimate(value=value, low=math.exp(max(logs.low, -700)), high=math.exp(min(logs.high, 700)))


def _quantile_of(statistic: str) -> float | None:
    """The quantile (0-1) a statistic's name means; None for the mean."""
    if statistic == "mean":
        return None
    if statistic == "median":
        return 0.5
    try:
        q = float(statistic.removeprefix("p")) / 100
    except ValueError:
        q = -1
    if not (statistic.startswith("p") and 0 < q < 1):
        raise UsageError("unknown statistic", got=statistic, expected="mean, median, or a percentile such as p90")
    return q


def _centre(values: Values, statistic: str) -> float:
    q = _quantile_of(statistic)
    if q is None:
        return float(np.mean(values))
    return float(np.quantile(values, q))


def _error(values: Values, statistic: str) -> float:
    """Standard error of a statistic of one correlated series; 0 for under three samples."""
    if len(values) < 3:
        return 0.0
    q = _quantile_of(statistic)
    if q is None:
        return float(np.std(values, ddof=1)) / math.sqrt(max(effective_size(values), 1))
    return quantile_error(values, q)


def quantile_error(values: Values, q: float) -> float:
    """Standard error of quantile `q` (0-1): half the distance between the quantiles one standard error of rank away.

    The rank's error is that of the binomial distribution at the effective size of 'is over the quantile'.
    """
    over = (values > np.quantile(values, q)).astype(np.float64)
    step = math.sqrt(q * (1 - q) * autocorrelation_time(over) / len(values))
    low, high = np.quantile(values, [max(q - step, 0), min(q + step, 1)])
    return float(high - low) / 2


def ratio_interval(a: Values, b: Values, q: float, confidence: float) -> Estimate | None:
    """Ratio b/a of quantile `q` (0-1) of two independent series, or None where one has too few effective samples."""
    logs = []
    variance = 0.0
    for values in (a, b):
        estimate = percentile(values, 100 * q, confidence).estimate
        if estimate is None or estimate.value <= 0:
            return None
        logs.append(math.log(estimate.value))
        variance += (quantile_error(values, q) / estimate.value) ** 2
    value = logs[1] - logs[0]
    half = normal_quantile(confidence) * math.sqrt(variance)
    return _exponential(Estimate(value=value, low=value - half, high=value + half))
