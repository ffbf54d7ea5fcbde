"""Which calibration is best, how many frames are enough, and whether more would help. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from framepace.facts.accuracy import Agreement
from framepace.facts.calibrating import CalibrationPoint
from framepace.facts.plan import Calibration

_ALIKE = 1.1  # errors within this ratio are the same


def calibration_counts(available: int) -> list[int]:
    """How many frames a curve is made of: 1, 2, 4, ... and all of them."""
    counts = [1]
    while counts[-1] * 2 < available:
        counts.append(counts[-1] * 2)
    return sorted({*counts, available})


def calibration_point(method: Calibration, frames: int, agreement: Agreement) -> CalibrationPoint:
    """The numbers of the output that agrees least."""
    errors = [output.relative_l2 for output in agreement.outputs if output.relative_l2 is not None]
    cosines = [output.cosine for output in agreement.outputs if output.cosine is not None]
    point = CalibrationPoint(
        method=method,
        frames=frames,
        error=max(errors, default=None),
        cosine=min(cosines, default=None),
        passed=agreement.passed,
        why=agreement.why,
    )
    metric = agreement.metric
    if metric is None:
        return replace(point, negligible=agreement.passed and bool(agreement.notes))
    scored = sum(score is not None for score in metric.scores)
    return replace(point, score=metric.mean, scored=scored)


def best_point(points: Sequence[CalibrationPoint]) -> int:
    """The index of the one to use: passed, then by the metric, then by the error; of equals the first.

    Only those on all frames count: the best of many tries on few frames is good by chance.
    """
    most = max(point.frames for point in points)
    whole = [place for place, point in enumerate(points) if point.frames == most]
    return min(whole, key=lambda place: _rank(points[place]))


def _rank(point: CalibrationPoint) -> tuple[bool, bool, float, float]:
    score = 0.0 if point.score is None else -point.score
    return not point.passed, point.negligible, score, float("inf") if point.error is None else point.error


def enough_frames(curve: Sequence[CalibrationPoint]) -> int | None:
    """The fewest frames from which on no error of the curve is larger than the least one, but for a tenth."""
    errors = [(point.frames, point.error) for point in curve if point.error is not None]
    if not errors:
        return None
    limit = _ALIKE * min(error for _, error in errors)
    enough = None
    for frames, error in sorted(errors, reverse=True):
        if error > limit:
            break
        enough = frames
    return enough


def still_falling(curve: Sequence[CalibrationPoint]) -> bool:
    """Whether the error with all frames is clearly below that of the count before."""
    errors = [point.error for point in sorted(curve, key=lambda point: point.frames) if point.error is not None]
    return len(errors) > 1 and errors[-1] * _ALIKE < errors[-2]
