"""The view-model of a check of accuracy: the sentence, a row per output, and what the numbers do not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from framepace.facts.accuracy import AccuracyCheck, OutputAgreement
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import SETTINGS, value_text
from framepace.reporting.views.text import plural
from framepace.values import shown

COLUMNS = ("output", "values", "error", "median", "worst frame", "cosine", "largest", "same")
_OF_A_WAY = ("model", "backend", "device", "precision", "calibration")  # said of each way in any case
_PATTERN = "synthetic"
_ON_A_CPU = (
    "on a CPU most of an FP16 file is computed in FP32, which hides what overflows: check it where it will run "
    "(--device cuda)"
)


@dataclass(frozen=True)
class AccuracyView:
    """A check in words."""

    sentence: str
    passed: bool
    rows: tuple[tuple[str, ...], ...]
    why: tuple[str, ...]
    notes: tuple[str, ...]


def accuracy_view(check: AccuracyCheck) -> AccuracyView:
    """A check of accuracy in words."""
    agreement = check.agreement
    return AccuracyView(
        sentence=_sentence(check),
        passed=agreement.passed,
        rows=tuple(map(_row, agreement.outputs)),
        why=agreement.why,
        notes=tuple(_notes(check)),
    )


def _sentence(check: AccuracyCheck) -> str:
    passed = check.agreement.passed
    verdict = "gives the same answers as" if passed else "does not give the same answers as"
    source = ", ".join(check.videos) or "a moving pattern"
    frames = plural(check.agreement.frames, "frame")
    changed = _changed(check)
    candidate = _way(check.candidate, (f"{name}={new}" for name, _, new in changed))
    reference = _way(check.reference, (f"{name}={old}" for name, old, _ in changed))
    return f"{candidate} {verdict} {reference}, on {frames} of {source}"


def _way(model: ModelPlan, settings: Iterable[str]) -> str:
    """'net.onnx in fp32 (onnxruntime on cpu, threads=1)'."""
    place = model.backend
    if model.device is not None:
        place = f"{model.backend} on {model.device}"
    return f"{shown(model.model)} in {model.precision} ({', '.join((place, *settings))})"


def _changed(check: AccuracyCheck) -> list[tuple[str, str, str]]:
    """Name, old and new value of each setting in which they differ, but for those that `_way` says in any case."""
    changes = []
    for name, setting in SETTINGS.items():
        if setting.part != "models" or name in _OF_A_WAY:
            continue
        old, new = (_value(model, setting.field) for model in (check.reference, check.candidate))
        if old != new:
            changes.append((name, value_text(name, old), value_text(name, new)))
    one, other = check.reference.options, check.candidate.options
    for key in sorted({*one, *other}):
        if one.get(key) != other.get(key):
            name = f"option.{key}"
            changes.append((name, value_text(name, one.get(key)), value_text(name, other.get(key))))
    return changes


def _value(model: ModelPlan, field: str) -> Any:
    """The value of a dotted field."""
    value: Any = model
    for part in field.split("."):
        value = getattr(value, part)
    return value


def _row(output: OutputAgreement) -> tuple[str, ...]:
    errors = [error for error in output.frames_l2 if error is not None]
    shares = [share for share in (output.top1, output.equal) if share is not None]
    return (
        output.name,
        f"{output.compared:,}",
        _number(output.relative_l2),
        _number(median(errors) if errors and output.relative_l2 is not None else None),
        _worst(output),
        "" if output.cosine is None else f"{output.cosine:.6f}",
        _number(output.max_abs),
        "" if not shares else f"{min(shares):.1%}",
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2g}"


def _worst(output: OutputAgreement) -> str:
    if output.worst_l2 is None:
        return ""
    return f"{output.worst_l2:.2g} (frame {output.worst_frame})"


def _notes(check: AccuracyCheck) -> Iterator[str]:
    yield from check.agreement.notes
    if not check.videos:
        yield "a moving pattern says little about your pictures: give some of them (--video)"
    if check.candidate.precision == "int8" and check.candidate.calibration in (check.videos or (_PATTERN,)):
        yield "it was calibrated on the same pictures, which flatters it: check on others"
    if check.candidate.precision == "fp16" and check.candidate.device == "cpu":
        yield _ON_A_CPU
