"""The requests that perf_analyzer exports, summed up by load."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from framepace.facts.loads import LoadMode, LoadPoint
from framepace.units import NS_PER_S

_MODES: dict[str, LoadMode] = {"concurrency": "in flight", "request_rate": "per second"}
_SHOWN = (50, 90, 95, 99)


class _Request(msgspec.Struct):
    timestamp: int
    response_timestamps: list[int] = []


class _Setting(msgspec.Struct):
    mode: str = ""
    value: float | None = None


class _Experiment(msgspec.Struct):
    requests: list[_Request]
    experiment: _Setting = msgspec.field(default_factory=_Setting)


class _Document(msgspec.Struct):
    experiments: list[_Experiment]


def experiment_points(text: str) -> list[LoadPoint]:
    """A load per experiment that has answers; empty for what is no export of perf_analyzer."""
    try:
        document = msgspec.json.decode(text.encode(), type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    points = [_point(experiment) for experiment in document.experiments]
    return [point for point in points if point is not None]


def _point(experiment: _Experiment) -> LoadPoint | None:
    answered = [request for request in experiment.requests if request.response_timestamps]
    if not answered:
        return None
    sent = np.array([request.timestamp for request in answered], np.float64)
    came = np.array([request.response_timestamps[-1] for request in answered], np.float64)
    setting = experiment.experiment
    return LoadPoint(
        mode=_MODES.get(setting.mode, ""),
        load=setting.value,
        throughput=_rate(sent, came),
        mean=float(np.mean(came - sent)),
        percentiles=_percentiles(came - sent),
    )


def _rate(sent: NDArray[np.float64], came: NDArray[np.float64]) -> float:
    return len(sent) * NS_PER_S / max(1.0, float(came.max() - sent.min()))


def _percentiles(latency: NDArray[np.float64]) -> dict[str, float]:
    return {f"p{q}": float(np.quantile(latency, q / 100)) for q in _SHOWN}
