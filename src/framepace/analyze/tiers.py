"""Tiers: the levels a latency series rests on, the ramps between them, and what stood beside each.

Change points are found with PELT (Killick, Fearnhead and Eckley 2012) on medians of small blocks of the logarithm:
medians so that outliers make no tier, the logarithm so that noise is relative. The penalty rises with the noise and
with its autocorrelation. Edges are then refined request by request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from framepace.analyze.stats import Values
from framepace.facts.summary import Tier
from framepace.facts.trace import Column, Trace

Floats = NDArray[np.float64]

_BLOCK = 3  # requests in a block at least: a lone outlier cannot be its median
_BLOCKS = 2500  # blocks at most: PELT stays under a tenth of a second
_SHORTEST = 3  # blocks in a segment at least
_MATERIAL = 0.05  # levels closer than 5 % are one
_GRID = 48  # ramp ends tried at each side


class _Change(NamedTuple):
    """From one level to the next: request numbers where it begins and ends; equal for a step."""

    first: int
    last: int


def find_tiers(latency: Values) -> tuple[Tier, ...]:
    """Levels and ramps of a latency series (ns, shape (n,), in time order), first to last, without gaps.

    Levels closer than 5 % are one; a steady noisy series is one tier. Series under 12 requests are one tier.
    """
    n = len(latency)
    if n == 0:
        return ()
    logs = np.log(np.maximum(np.asarray(latency, dtype=np.float64), 1.0))
    size = _size(n)
    blocks = _medians(logs, size)
    penalty = _penalty(blocks)
    changes = _changes(blocks, _pelt(blocks, penalty), penalty)
    refined = [_refine(logs, size, blocks, change, len(blocks)) for change in changes]
    return _tiers(np.asarray(latency, dtype=np.float64), refined)


def settled(tiers: Sequence[Tier]) -> int | None:
    """The request from which the series stays on its last level; None when it ends in a ramp or has none."""
    return tiers[-1].first if tiers and tiers[-1].kind == "level" else None


def _medians(values: Floats, size: int) -> Floats:
    """Medians of blocks of `size`; one that stands apart from its neighbours is the median of five of them (Hampel)."""
    count = max(1, len(values) // size)
    blocks = np.asarray(np.median(values[: count * size].reshape(count, -1), axis=1))
    if count < 5:
        return blocks
    near = np.median(np.lib.stride_tricks.sliding_window_view(np.pad(blocks, 2, mode="edge"), 5), axis=1)
    return np.where(np.abs(blocks - near) > 5 * math.sqrt(_variogram(blocks, 1)), near, blocks)


def _penalty(blocks: Floats) -> float:
    """What a change must explain: a multiple of the noise variance that grows with log n (Yao 1988), drift counted.

    Variance and correlation of the noise come from robust differences at lags 1 and 2, which a few changes of level
    hardly touch, as if it were an AR(1) process (Romano, Rigaill, Runge and Fearnhead 2022).
    """
    near = _variogram(blocks, 1)
    rho = min(max(_variogram(blocks, 2) / near - 1, 0.0), 0.8)
    return near * (1 + rho) / (1 - rho) ** 2 * (4 * math.log(max(len(blocks), 2)) + 4)


def _variogram(blocks: Floats, lag: int) -> float:
    """Half the variance of differences at `lag`, from their median; a noise of 0.5 % at least."""
    differences = np.abs(blocks[lag:] - blocks[:-lag])
    return max((1.4826 * float(np.median(differences))) ** 2 / 2, 0.005**2) if len(differences) else 0.005**2


def _pelt(blocks: Floats, penalty: float) -> list[int]:
    if len(blocks) < 2 * _SHORTEST or penalty <= 0:
        return [0, len(blocks)]
    from ruptures import KernelCPD

    found = KernelCPD(kernel="linear", min_size=_SHORTEST).fit_predict(blocks[:, None], pen=penalty)
    return [0, *(int(edge) for edge in found)]




def _size(n: int) -> int:
    return max(3 if n < 150 else 5, math.ceil(n / _BLOCKS))
