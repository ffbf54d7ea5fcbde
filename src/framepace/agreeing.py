"""Whether another way to run a model gives the same answers, on the user's own frames."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from framepace import values
from framepace.cases import CaseOptions, Models, case_of
from framepace.errors import UsageError
from framepace.facts.accuracy import AccuracyCheck, Gate
from framepace.facts.plan import ModelPlan
from framepace.facts.settings import Case, apply
from framepace.numerics.gate import FRAMES, agreement, reference_of
from framepace.progress import Tell, silent

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MOST_FRAMES = 100_000


def accuracy(
    model: Models,
    other: str | Path | None = None,
    *,
    versus: Mapping[str, Any] | None = None,
    frames: int = FRAMES,
    gate: Gate | None = None,
    tell: Tell | None = None,
    **options: Unpack[CaseOptions],
) -> AccuracyCheck:
    """How far two ways to run a model agree: its outputs, frame by frame, against those of a reference.

    Without `other` and `versus` the reference is the same model in FP32.

    Args:
        model: a path, 'builtin:NAME', a plan or a case of one model.
        other: a second file, whose outputs are held against those of `model`.
        versus: settings of the second way: {'precision': 'fp16'}, {'backend': 'torch'}.
        frames: of the videos in `options`, or of a moving pattern; at most 64 per source.
        gate: what the outputs must keep; by default that of the precision.
        tell: called with slow steps.
        options: see `CaseOptions`; they hold for both.

    Returns:
        Both ways, and how far each output agrees, with its worst frame.

    Raises:
        UsageError: more than one model, nothing to compare, int8 without frames to calibrate on.
        ModelError: inputs or outputs of the two have other names.
        BackendError: a backend cannot load or run the model.
    """
    frames = int(values.number(frames, "frames", least=1, most=_MOST_FRAMES, whole=True))
    case = case_of("accuracy", model, **options)
    changes = dict(values.mapping(versus or {}, "versus"))
    if other is not None:
        changes = {"model": values.location(other, "other"), **changes}
    reference, candidate = _ways(case, changes)
    found = agreement(
        candidate,
        case.workload.input,
        gate,
        reference=reference,
        frames=frames,
        seed=case.workload.seed,
        tell=tell or silent,
    )
    return AccuracyCheck(reference=reference, candidate=candidate, videos=case.workload.input.videos, agreement=found)


def _ways(case: Case, changes: Mapping[str, Any]) -> tuple[ModelPlan, ModelPlan]:
    """The reference and the candidate."""
    plain = _only_model(case)
    if changes:
        return plain, _only_model(apply(case, changes))
    reference = reference_of(plain)
    if plain in (reference, replace(reference, device=None)):
        fix = "name another precision, a second file, or settings of the second way"
        raise UsageError("there is nothing to compare", got="the model in FP32 alone", fix=fix)
    return reference, plain


def _only_model(case: Case) -> ModelPlan:
    models = case.plan.models
    if len(models) != 1:
        names = ", ".join(model.name for model in models)
        raise UsageError("one model is checked at a time", got=names, expected="one model", fix="name one of them")
    return models[0]
