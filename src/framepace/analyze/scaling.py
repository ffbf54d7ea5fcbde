"""Batch scaling: what one more image in a batch costs, and where batches stop paying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from framepace.errors import NotEnoughSamples
from framepace.facts.summary import Scaling

_WORTH = 0.10  # growth of images/s by a doubling of the batch that makes it worth it
_ROUNDS = 30


def fit_scaling(batches: Sequence[int], costs: Sequence[ArrayLike]) -> Scaling:
    """The cost of a batch of b images, t(b) = a + b * k, from inference times in ns of each batch size.

    Least squares of relative residuals with Huber's weights (Huber 1964, tuned at 1.345 robust deviations), iterated;
    one batch size that does not fit the line moves it little. `residual` is the median relative deviation from it.

    Args:
        costs: for each batch size a number or samples, shape (n,), of which the median counts.

    Raises:
        NotEnoughSamples: under two batch sizes, or one without a positive cost.
    """
    order = np.argsort(np.asarray(batches))
    size = np.asarray(batches, dtype=np.float64)[order]
    cost = np.array([float(np.median(c)) if np.size(c) else 0.0 for c in map(np.asarray, costs)])[order]
    if len(np.unique(size)) < 2 or (cost <= 0).any():
        expected = "two batch sizes or more, each with inference times"
        raise NotEnoughSamples("batch scaling cannot be fitted", got=list(batches), expected=expected)
    a, k = _robust_line(size, cost)
    return Scaling(
        batches=tuple(int(b) for b in size),
        costs=tuple(float(c) for c in cost),
        a=a,
        k=k,
        residual=float(np.median(np.abs(a + k * size - cost) / cost)),
        knee=_knee(size, size / cost),
        throughput=tuple(float(t) for t in size / cost * 1e9),
    )


def _robust_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    weights, columns = np.ones_like(x), np.stack([np.ones_like(x), x], axis=1)
    a = k = 0.0
    for _ in range(_ROUNDS):
        scale = np.sqrt(weights) / y
        a, k = np.linalg.lstsq(columns * scale[:, None], y * scale, rcond=None)[0]
        rest = np.abs(a + k * x - y) / y
        limit = 1.345 * 1.4826 * float(np.median(rest)) + 1e-9
        weights = np.minimum(1.0, limit / np.maximum(rest, 1e-12))
    return float(a), float(k)


def _knee(size: NDArray[np.float64], throughput: NDArray[np.float64]) -> int:
    """The batch beyond which no step up makes images/s grow by 10 % a doubling."""
    knee = int(size[0])
    for (b0, t0), (b1, t1) in pairwise(zip(size, throughput, strict=True)):
        if b1 > b0 and (t1 / t0) ** (1 / math.log2(b1 / b0)) - 1 >= _WORTH:
            knee = int(b1)
    return knee
