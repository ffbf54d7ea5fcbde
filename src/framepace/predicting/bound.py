"""The frames a second that a plan cannot exceed, by what its models were measured to take: cheap, before predicting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from framepace.facts.plan import Plan
from framepace.facts.primitives import Point, Primitives

_MARGIN = 1.15  # the primitives are measured too


def bound(plan: Plan, known: Primitives) -> float:
    """Frames a second at most. Raises UsageError where primitives of a model are missing.

    The least time a frame takes of a model is that of the best batch the plan allows, run by as many workers as were
    measured together, or by one as often as there are workers; the models of a frame take turns.
    """
    return _MARGIN / sum(1 / _rate(known.of(m).points, m.batch.max, plan.engine.workers, m.slots) for m in plan.models)


def _rate(points: Sequence[Point], batch: int, workers: int, slots: int) -> float:
    alone = [p for p in points if p.workers == 1 and not p.gap_ms]
    together = [p for p in points if p.workers > 1 and not p.gap_ms]
    on_device = any("compute" in p.samples for p in points)
    at_once = workers * (slots if on_device else 1)
    single = _most(alone, batch)
    return max(single, min(at_once * single, _most(together, batch))) if together else single


def _most(points: Sequence[Point], batch: int) -> float:
    """The most frames a second up to this batch; t(b) is a line between the sizes measured, and past the last."""
    known = sorted((p.batch, 1 / p.rate) for p in points if p.rate > 0)
    if not known:
        return 1e-9
    sizes, times = (np.array(column, dtype=float) for column in zip(*known, strict=True))
    wanted = np.arange(1, batch + 1, dtype=float)
    taken = np.interp(wanted, sizes, times)
    slope = (times[-1] - times[-2]) / (sizes[-1] - sizes[-2]) if len(sizes) > 1 else times[-1] / sizes[-1]
    taken = np.where(wanted > sizes[-1], times[-1] + slope * (wanted - sizes[-1]), taken)
    return float((wanted / taken).max())
