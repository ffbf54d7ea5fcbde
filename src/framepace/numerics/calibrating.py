"""INT8 by several calibrations, each judged on frames that it has not seen."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.analyze.calibrating import (
    best_point,
    calibration_counts,
    calibration_point,
    enough_frames,
    still_falling,
)
from framepace.errors import ModelError, UsageError
from framepace.facts.accuracy import Agreement, Gate
from framepace.facts.calibrating import FEW, CalibrationPoint, CalibrationStudy, QuantisedSpeed
from framepace.facts.plan import Batching, Calibration, ModelPlan
from framepace.facts.workload import Input
from framepace.models.convert import calibration
from framepace.models.convert.int8cpu import saturates_int8
from framepace.models.convert.lowformats import check_high
from framepace.models.convert.optimised import saved
from framepace.models.convert.precision import to_int8
from framepace.models.convert.variant import load
from framepace.models.spec import inspect, resolve
from framepace.numerics.gate import agreement_on, pictures_of, reference_of
from framepace.numerics.quantisedgraph import quantised_speed
from framepace.numerics.tallying import LEAST
from framepace.progress import Tell
from framepace.video.source import SYNTHETIC

METHODS: tuple[Calibration, ...] = ("percentile", "minmax", "entropy")


@dataclass(frozen=True)
class Asked:
    """What INT8 must keep: the limits of a gate, or a metric's least mean."""

    gate: Gate
    metric: str | None = None
    least: float = LEAST


@dataclass(frozen=True)
class Frames:
    """Pictures to calibrate on, and others to judge by."""

    calibrated: Sequence[Any]
    held_out: Sequence[Any]


def divided_frames(location: str, input: Input, most: int, seed: int) -> Frames:
    """Pictures of `location` to calibrate on, and up to `most` of the videos; of one source every second is held out.

    Raises SourceError for what cannot be read, UsageError where one picture would have to be both.
    """
    pictures = calibration.pictures_of(location)
    if input.videos and location not in input.videos:
        return Frames(pictures, pictures_of(input, most, seed))
    if len(pictures) < 2:
        fix = "give more frames, or others to judge by (--video)"
        problem = "INT8 cannot be judged on the one frame that it is calibrated on"
        raise UsageError(problem, got=location, expected="two frames or more", fix=fix)
    return Frames(pictures[::2], pictures[1::2][:most])


def studied(
    model: ModelPlan, videos: tuple[str, ...], frames: Frames, methods: Sequence[Calibration], asked: Asked, tell: Tell
) -> CalibrationStudy:
    """Each method on all frames, then the best of them on fewer; ended early by Ctrl-C, with what there is."""
    tries = _measured(model, frames, methods, asked, tell)
    points = tuple(tries.points)
    best = best_point(points)
    curve = [point for point in points if point.method == points[best].method]
    return CalibrationStudy(
        model=model, calibration=model.calibration or "", videos=videos, gate=asked.gate, metric=asked.metric,
        available=len(frames.calibrated), held_out=len(frames.held_out), points=points, best=best,
        enough=enough_frames(curve), falling=still_falling(curve), complete=tries.complete, speed=tries.speed,
        notes=tries.notes(),
    )  # fmt: skip


@dataclass
class _Tries:
    """What was tried: points in order, and the error of each method that failed."""

    points: list[CalibrationPoint] = field(default_factory=list)
    failures: dict[Calibration, ModelError] = field(default_factory=dict)
    speed: QuantisedSpeed | None = None
    complete: bool = False

    def run(self, quantiser: Quantiser, methods: Sequence[Calibration], available: int, asked: Asked) -> None:
        """Each method on all frames, the best of them on fewer, and the speed. Raises ModelError where all fail."""
        for method in methods:
            self._add(quantiser, method, available, asked)
        if not self.points:
            raise self.failures[methods[-1]]
        best = self.points[best_point(self.points)]
        for count in reversed(calibration_counts(available)[:-1]):
            self._add(quantiser, best.method, count, asked)
        self.speed = quantiser.speed(best)
        self.complete = True

    def notes(self) -> tuple[str, ...]:
        """Why methods failed."""
        return tuple(f"{method} failed: {error.got or error.what}" for method, error in self.failures.items())

    def _add(self, quantiser: Quantiser, method: Calibration, count: int, asked: Asked) -> None:
        try:
            self.points.append(quantiser.point(method, count, asked))
        except ModelError as error:
            self.failures[method] = error


def _measured(model: ModelPlan, frames: Frames, methods: Sequence[Calibration], asked: Asked, tell: Tell) -> _Tries:
    """Everything, or what there is after Ctrl-C."""
    tries = _Tries()
    with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
        try:
            tries.run(Quantiser(model, frames, Path(folder), tell), methods, len(frames.calibrated), asked)
        except KeyboardInterrupt:
            if not tries.points:
                raise
    return tries


class Quantiser:
    """Quantises one model again and again, and holds it against FP32.

    Args:
        model: an ONNX file in FP32, as its plan runs it.
        frames: see `divided_frames`.
        folder: for quantised files, one of which is kept at a time per calibration.

    Raises UsageError: no ONNX file, one that is quantised already, or one that takes no picture.
    """

    def __init__(self, model: ModelPlan, frames: Frames, folder: Path, tell: Tell) -> None:
        check_quantisable(model)
        self._plan = replace(model, batch=Batching(), precision="fp32", calibration=None, fp32_nodes=())
        self._kept = model.fp32_nodes
        self._frames = frames
        self._folder = folder
        self._tell = tell
        self._proto = load(model.model)
        self._resolved = resolve(inspect(model.model), self._plan)

    def point(self, method: Calibration, count: int, asked: Asked) -> CalibrationPoint:
        """INT8 calibrated by `method` on the first `count` pictures, judged on the held-out ones."""
        self._tell(f"INT8 by {method} on {count} frames", None)
        return calibration_point(method, count, self._agreement(self._quantised(method, count), asked))

    def speed(self, point: CalibrationPoint) -> QuantisedSpeed:
        """FP32 and INT8 on the CPU by ONNX Runtime, in turn."""
        plain = saved(self._proto, self._folder / "plain.onnx")
        inputs = calibration.PreparedInputs(self._plan, self._resolved, self._frames.held_out[:1])[0]
        signed = self._quantised(point.method, point.frames)
        unsigned = self._quantised(point.method, point.frames, unsigned=True)
        return quantised_speed(str(plain), str(signed), str(unsigned), inputs, self._plan.threads)

    def _quantised(self, method: Calibration, count: int, unsigned: bool = False) -> Path:
        """The file of one calibration, made where it is not there yet."""
        path = self._folder / f"{method}-{count}-{unsigned}.onnx"
        if not path.is_file():
            frames = calibration.PreparedInputs(self._plan, self._resolved, self._frames.calibrated[:count])
            name = f"{self._plan.name} by {method} on {count}"
            made = to_int8(
                self._proto, frames, name, self._tell, method=method, kept=self._kept, unsigned=unsigned,
                narrow=saturates_int8(),
            )  # fmt: skip
            saved(made, path)
        return path

    def _agreement(self, path: Path, asked: Asked) -> Agreement:
        reference = reference_of(self._plan)
        candidate = replace(reference, model=str(path), precision="int8")
        pictures = self._frames.held_out
        return agreement_on(
            pictures, candidate, reference, asked.gate, tell=self._tell, metric=asked.metric, least=asked.least
        )


def check_quantisable(model: ModelPlan) -> None:
    """Raise UsageError for what cannot be calibrated on pictures, ModelError for what cannot be read."""
    spec = inspect(model.model)
    if spec.format != "onnx":
        fix = "export it to ONNX"
        raise UsageError("only ONNX files are quantised here", got=model.model, expected="an .onnx file", fix=fix)
    check_high(model.model)
    if resolve(spec, model).image is None:
        problem = "the model takes no picture, and is calibrated on pictures"
        raise UsageError(problem, got=model.model, fix="name the input that takes the picture (--image NAME)")


def few_frames(model: ModelPlan) -> Iterator[str]:
    """A note that INT8 is calibrated on few pictures, where it is."""
    if model.precision != "int8" or model.calibration in (None, SYNTHETIC):
        return
    pictures = calibration.counted(model.calibration or "", FEW + 1)
    if pictures <= FEW:
        few = f"INT8 is calibrated on {pictures} pictures: its ranges rest on few, some dozens are usual"
        yield f"{few} (--methods percentile shows the error over their number)"
