"""The view-model of a study of calibrations: whether INT8 will do, a row per try, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from msgspec.structs import replace

from framepace.facts.calibrating import FEW, CalibrationPoint, CalibrationStudy, QuantisedNodes, QuantisedSpeed
from framepace.facts.questions import mend_question
from framepace.reporting.views.text import optional, plural
from framepace.units import format_ms
from framepace.values import shown

COLUMNS = ("method", "frames", "error", "cosine", "metric", "passes")
_PASSES = {(True, False): "yes", (False, False): "no", (True, True): "says nothing"}
_EMPTY = "its outputs are nearly zero, so use frames on which it finds something"
_WORTH = 0.95  # of the time: less is no gain
_NAMED = 3  # nodes that a sentence lists


@dataclass(frozen=True)
class CalibrationView:
    """A study in words."""

    sentence: str
    passed: bool
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    todo: str = ""  # a command


def calibration_view(study: CalibrationStudy) -> CalibrationView:
    """A study in words."""
    return CalibrationView(
        sentence=_sentence(study),
        passed=study.passed,
        rows=tuple(map(_row, study.points)),
        notes=tuple(_notes(study)),
        todo=_todo(study),
    )


def _sentence(study: CalibrationStudy) -> str:
    best = study.points[study.best]
    held_out = plural(study.held_out, "held-out frame")
    way = f"calibrated by {best.method} on {plural(best.frames, 'frame')}"
    if best.negligible:
        return f"INT8 of {shown(study.model.model)} cannot be judged: {_EMPTY}, on {held_out}"
    verdict = "will do" if study.passed else "will not do"
    if study.metric is not None:
        held_out = f"{best.scored} of {held_out} that show anything"
    text = f"INT8 of {shown(study.model.model)} {verdict} without training: {way}, {_error(best)} on {held_out}"
    return f"{text}; {best.why[0]}" if best.why else text


def _error(point: CalibrationPoint) -> str:
    if point.score is not None:
        return f"it scores {point.score:.4g}"
    if point.error is not None:
        return f"it is off by {point.error:.2g} (relative L2)"
    return "nothing can be compared"


def _row(point: CalibrationPoint) -> tuple[str, ...]:
    return (
        point.method,
        str(point.frames),
        optional(point.error, lambda error: f"{error:.3g}"),
        optional(point.cosine, lambda cosine: f"{cosine:.6f}"),
        optional(point.score, lambda score: f"{score:.4g}"),
        _PASSES[point.passed, point.negligible],
    )


def _notes(study: CalibrationStudy) -> Iterator[str]:
    yield from study.notes
    if not study.complete:
        yield "stopped before all was tried: other methods and numbers of frames may do better"
    yield from _frames(study)
    yield from _remedy(study)
    if study.calibration in (study.videos or (study.calibration,)):
        yield "the held-out frames are of the same video; another video is the harder test (--video)"
    if study.speed is not None:
        yield _speed(study.speed)


def _frames(study: CalibrationStudy) -> Iterator[str]:
    """How many frames are enough, and whether there were."""
    method = study.points[study.best].method
    curve = sorted((p for p in study.points if p.method == method), key=lambda point: point.frames)
    errors = ", ".join(f"{point.error:.2g} on {point.frames}" for point in curve if point.error is not None)
    if study.available <= FEW:
        few = f"only {plural(study.available, 'frame')} to calibrate on"
        yield f"{few}: the ranges rest on few pictures (error {errors}); give some dozens"
    elif study.falling:
        yield f"the error still falls with more frames ({errors}): give more than {study.available}"
    elif study.enough is not None and len(curve) > 1:
        verb = "is" if study.enough == 1 else "are"
        yield f"{plural(study.enough, 'frame')} {verb} enough: error {errors}"


def _remedy(study: CalibrationStudy) -> Iterator[str]:
    """What to do where INT8 fails."""
    if not _fails(study) or not study.complete:
        return
    if study.falling:
        yield "more frames may help, or a few nodes in FP32"
    else:
        yield "more frames will not help: keep a few nodes in FP32, or train with quantisation"


def _fails(study: CalibrationStudy) -> bool:
    """Whether INT8 will not do, on frames that tell something."""
    return not study.passed and not study.points[study.best].negligible


def _todo(study: CalibrationStudy) -> str:
    """The command that finds the nodes to keep in FP32, where INT8 fails."""
    if not _fails(study):
        return ""
    method = study.points[study.best].method
    model = replace(study.model, precision="int8", calibration=study.calibration, calibration_method=method)
    metric = () if study.metric is None else ("--metric", study.metric)
    return mend_question(model, study.videos, None, *metric)


def _speed(speed: QuantisedSpeed) -> str:
    """How fast INT8 is here, and why it is not faster."""
    times = f"{format_ms(speed.int8_ns)} in INT8, {format_ms(speed.fp32_ns)} in FP32"
    text = f"on this CPU a frame takes {times} (ONNX Runtime, the model alone)"
    if not speed.is_slower:
        return f"{text}: {speed.fp32_ns / speed.int8_ns:.3g} times as fast{_unsigned(speed, speed.int8_ns)}"
    return f"{text}: slower, since it runs {_slow_nodes(speed.nodes)}{_unsigned(speed, speed.fp32_ns)}"


def _slow_nodes(nodes: QuantisedNodes) -> str:
    """What ONNX Runtime did not put into INT8 kernels."""
    parts = []
    if nodes.unfused:
        names = ", ".join([*nodes.unfused[:_NAMED], *("..." for _ in nodes.unfused[_NAMED : _NAMED + 1])])
        parts.append(f"{plural(len(nodes.unfused), 'node')} in FP32 between Q/DQ pairs ({names})")
    parts.append(f"{plural(nodes.converting, 'conversion')} on their own")
    return f"{' and '.join(parts)}, beside {plural(nodes.integer, 'node')} in INT8"


def _unsigned(speed: QuantisedSpeed, best_ns: float) -> str:
    """What unsigned activations bring, where they bring something."""
    if speed.uint8_ns is not None and speed.uint8_ns < best_ns * _WORTH:
        setting = "--set option.activations=uint8"
        return f". With {setting} it takes {format_ms(speed.uint8_ns)}: check the answers with it too"
    return ". It pays on a GPU, not here" if speed.is_slower else ""
