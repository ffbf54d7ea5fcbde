"""What calibrating INT8 in several ways showed: errors on frames that no calibration has seen, and the speed."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from framepace.facts.accuracy import Gate
from framepace.facts.base import Fact
from framepace.facts.bounded import Positive
from framepace.facts.plan import Calibration, ModelPlan

FEW = 10
"""Frames or fewer, with which ranges rest on too few pictures."""
_Count = Annotated[int, Meta(ge=0)]


class CalibrationPoint(Fact, frozen=True, kw_only=True):
    """One quantised model: calibrated by `method` on `frames` pictures, held against FP32 on the held-out ones.

    `error` is the largest relative L2 error of an output, `cosine` the lowest, `score` the mean of the metric, if one
    was asked for, over `scored` frames. `why` says why it does not pass. `negligible`: it passes only because outputs
    are nearly zero on these frames, which tells nothing.
    """

    method: Calibration
    frames: Positive
    error: float | None = None
    cosine: float | None = None
    score: float | None = None
    scored: _Count = 0
    passed: bool
    negligible: bool = False
    why: tuple[str, ...] = ()


class QuantisedNodes(Fact, frozen=True, kw_only=True):
    """How ONNX Runtime runs a file of Q/DQ pairs: `integer` nodes in INT8; `unfused` between pairs, in FP32.

    `converting` counts the QuantizeLinear and DequantizeLinear that are left and run on their own.
    """

    integer: _Count
    unfused: tuple[str, ...] = ()
    converting: _Count = 0


class QuantisedSpeed(Fact, frozen=True, kw_only=True):
    """The shortest of a few inferences of one frame in turn, in ns, and the nodes that explain them.

    `uint8_ns` is INT8 with unsigned activations, which CPUs multiply faster.
    """

    fp32_ns: float
    int8_ns: float
    uint8_ns: float | None = None
    nodes: QuantisedNodes

    @property
    def is_slower(self) -> bool:
        """Whether INT8 takes longer than FP32 here."""
        return self.int8_ns > self.fp32_ns


class CalibrationStudy(Fact, frozen=True, kw_only=True):
    """INT8 of a model by several methods and numbers of frames.

    `available` pictures may be calibrated on, `held_out` others judge; no picture is both. `points` are in the order
    in which they were tried, `best` is the index of the one to use, on all frames. `notes` say which methods failed.
    `enough` is the smallest number of frames from which on more change nothing, `falling` whether the error still fell
    with the last of them. `complete`: not stopped before all was tried.
    """

    model: ModelPlan
    calibration: str
    videos: tuple[str, ...] = ()
    gate: Gate
    metric: str | None = None
    available: Positive
    held_out: Positive
    points: tuple[CalibrationPoint, ...]
    best: int
    enough: int | None = None
    falling: bool = False
    complete: bool = True
    speed: QuantisedSpeed | None = None
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether post-training quantisation will do; not where the frames tell nothing."""
        best = self.points[self.best]
        return best.passed and not best.negligible
