"""The view-model of a check of accuracy: the sentence, a row per output, and what the numbers do not show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from framepace.facts.accuracy import AccuracyCheck, Emulation, MetricScores, OnFrames, OutputAgreement, WorstFrame
from framepace.facts.parting import Parting
from framepace.facts.plan import ModelPlan
from framepace.facts.questions import mend_question
from framepace.facts.settings import SETTINGS, value_text
from framepace.reporting.views.text import plural
from framepace.values import shown

COLUMNS = ("output", "values", "error", "median", "worst frame", "cosine", "largest", "same")
_OF_A_WAY = ("model", "backend", "device", "precision", "calibration")  # said of each way in any case
_VERDICTS = {True: "gives the same answers as", False: "does not give the same answers as"}
_GRADUAL = 3  # an error that grows by less at a node was there before
_PATTERN = "synthetic"
_HUNDRED = 100
_BILLION = 1e9
_AMPLE = 1e6  # times the largest value: nothing to say
_ELSEWHERE = "check it where it will run as well (--device cuda, or --set backend=tensorrt)"


@dataclass(frozen=True)
class AccuracyView:
    """A check in words."""

    sentence: str
    passed: bool
    rows: tuple[tuple[str, ...], ...]
    why: tuple[str, ...]
    notes: tuple[str, ...]
    metric: str = ""
    worst: tuple[str, ...] = ()
    todo: str = ""


def accuracy_view(check: AccuracyCheck) -> AccuracyView:
    """A check of accuracy in words."""
    agreement = check.agreement
    return AccuracyView(
        sentence=_sentence(check),
        passed=agreement.passed,
        rows=tuple(map(_row, agreement.outputs)),
        why=agreement.why,
        notes=tuple(_notes(check)),
        metric=_metric(agreement.metric),
        worst=tuple(map(worst_text, check.worst)),
        todo=_todo(check),
    )


def _sentence(check: AccuracyCheck) -> str:
    verdict = _VERDICTS[check.agreement.passed]
    if check.agreement.says_nothing:
        verdict = "cannot be held against"
    changed = _changed(check)
    candidate = _way(check.candidate, (f"{name}={new}" for name, _, new in changed))
    if check.emulation is not None:
        candidate = f"{shown(check.candidate.model)} in {check.candidate.precision}, emulated on the CPU,"
    reference = _way(check.reference, (f"{name}={old}" for name, old, _ in changed))
    return f"{candidate} {verdict} {reference}, on {frames_text(check, check.agreement.frames)}"


def frames_text(looked_at: OnFrames, count: int) -> str:
    """'8 frames of street.mp4', or what a model gets that takes no picture."""
    if not looked_at.pictures:
        return f"{plural(count, 'set')} of values (it takes no picture)"
    return f"{plural(count, 'frame')} of {', '.join(looked_at.videos) or 'a moving pattern'}"


def _way(model: ModelPlan, settings: Iterable[str]) -> str:
    """'net.onnx in fp32 (onnxruntime on cpu, threads=1)'."""
    place = model.backend
    if model.device is not None:
        place = f"{model.backend} on {model.device}"
    return f"{shown(model.model)} in {model.precision} ({', '.join((place, *settings))})"


def _changed(check: AccuracyCheck) -> list[tuple[str, str, str]]:
    """Name, old and new value of each setting in which they differ, but for those that `_way` says in any case."""
    both = (check.reference, check.candidate)
    changes = []
    for name, field in _fields(*both).items():
        old, new = (_value(model, field) for model in both)
        if old != new:
            changes.append((name, value_text(name, old), value_text(name, new)))
    return changes


def _fields(*models: ModelPlan) -> dict[str, str]:
    """Dotted fields of a model by the names of their settings, and the options that any of `models` has."""
    fields = {name: setting.field for name, setting in SETTINGS.items() if setting.part == "models"}
    keys = sorted({key for model in models for key in model.options})
    fields |= {f"option.{key}": f"options.{key}" for key in keys}
    return {name: field for name, field in fields.items() if name not in _OF_A_WAY}


def _value(model: ModelPlan, field: str) -> Any:
    """The value of a dotted field; None for an option that is not set."""
    head, _, tail = field.partition(".")
    if head == "options":
        return model.options.get(tail)
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
    if output.lost_frames:
        return f"inf (frame {output.lost_frames[0]})"
    if output.worst_l2 is None:
        return ""
    return f"{output.worst_l2:.2g} (frame {output.worst_frame})"


def _metric(scores: MetricScores | None) -> str:
    """'top5: 0.991 on average (median 1, worst 0 on frame 7), 0.99 wanted'."""
    if scores is None or scores.mean is None:
        return ""
    counted = sum(score is not None for score in scores.scores)
    spread = f"median {scores.median:.4g}, worst {scores.worst:.4g} on frame {scores.worst_frame}"
    mean = f"{scores.mean:.4g} on average of {plural(counted, 'frame')}"
    return f"{scores.name}: {mean} ({spread}), {scores.least:g} wanted"


def _parted(parting: Parting | None) -> Iterator[str]:
    """The first node that differs, or why nobody can say."""
    if parting is None:
        return
    yield from parting.notes
    first = parting.first
    if first is None:
        return
    text = f"they part at {first.node} ({first.operator}): its output is off by {first.error:.2g}"
    if first.before is None:
        yield text
    elif first.before * _GRADUAL > first.error:
        yield f"{text}, what it reads by {first.before:.2g} already: the error grows over nodes, none of them alone"
    else:
        yield f"{text}, what it reads by {first.before:.2g} (relative L2)"


def worst_text(frame: WorstFrame) -> str:
    """'frame 7 (at 0.23 s): error 0.21, score 0.5'."""
    place = f"frame {frame.frame}"
    if frame.seconds is not None:
        place += f" (at {frame.seconds:.2f} s)"
    numbers = (("error", frame.error), ("score", frame.score))
    texts = [f"{name} {value:.2g}" for name, value in numbers if value is not None]
    if frame.lost:
        texts.insert(0, "NaN, infinity or another shape")
    return f"{place}: {', '.join(texts)}"


def _notes(check: AccuracyCheck) -> Iterator[str]:
    if not check.agreement.complete:
        yield "stopped before all frames were compared"
    yield from _parted(check.parting)
    yield from (*check.notes, *check.agreement.notes)
    if check.pictures and not check.videos:
        yield "a moving pattern says little about your pictures: give some of them (--video)"
    if check.candidate.precision == "int8" and check.candidate.calibration in (check.videos or (_PATTERN,)):
        yield "it was calibrated on the same pictures, which flatters it: check on others"
    yield from _emulated(check)


def _emulated(check: AccuracyCheck) -> Iterator[str]:
    """What was emulated, and how much room the range has."""
    if check.emulation is None:
        return
    precision = check.candidate.precision
    yield f"emulated: {precision} is stored in every tensor as GPUs do it, and no device ran it: {_ELSEWHERE}"
    yield from _room(check.emulation, precision, check.agreement.passed)


def _room(emulation: Emulation, precision: str, passed: bool) -> Iterator[str]:
    """How near the largest value is to the precision's largest number; where a sum broke it, that is no comfort."""
    if not emulation.reach or emulation.largest / emulation.reach > _AMPLE:
        return
    text = f"the largest value inside is {_magnitude(emulation.reach)} (node {emulation.node})"
    room = emulation.largest / emulation.reach
    if room < 1:
        yield f"{text}, {precision} holds {_magnitude(emulation.largest)} at most: it overflows"
    elif passed:
        yield f"{text}, {precision} holds {room:,.0f} times as much"


def _magnitude(value: float) -> str:
    """65504 as '65,504', 3.1 as '3.1', 2e38 as '2e+38'."""
    if _HUNDRED <= value < _BILLION:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _todo(check: AccuracyCheck) -> str:
    """The command that finds what breaks a precision; '' where nothing does, or nobody can say."""
    agreement = check.agreement
    model = check.candidate
    if agreement.passed or agreement.says_nothing or model.precision == "fp32" or model.model != check.reference.model:
        return ""
    options: list[str] = []
    if agreement.metric is not None:
        options = ["--metric", agreement.metric.name, "--least", f"{agreement.metric.least:g}"]
    return mend_question(model, check.videos, agreement.frames, *options)
