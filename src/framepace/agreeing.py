"""Whether another way to run a model gives the same answers, on the user's own frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from framepace import values
from framepace.analyze.agreement import worst_frames
from framepace.backends.base import backend_for, get_backend
from framepace.cases import CaseOptions, Models, case_of, only_model
from framepace.cluster import joined
from framepace.errors import UsageError, unknown
from framepace.facts.accuracy import AccuracyCheck, Gate, WorstFrame, default_gate
from framepace.facts.address import without_secrets
from framepace.facts.calibrating import CalibrationStudy
from framepace.facts.parting import Parting
from framepace.facts.plan import Calibration, ModelPlan
from framepace.facts.settings import Case, apply
from framepace.facts.workload import Input, Workload
from framepace.lab.placedlab import on_place
from framepace.models.convert.lowformats import check_high, low_formats
from framepace.models.spec import inspect, resolve
from framepace.numerics.calibrating import METHODS, Asked, check_quantisable, divided_frames, few_frames, studied
from framepace.numerics.emulated import EmulatedModel, is_emulated
from framepace.numerics.gate import FRAMES, LARGEST_LEAST, agreement, pictures_of, reference_of, takes_pictures
from framepace.numerics.inputs import looked_at, values_notes
from framepace.numerics.parting import parting
from framepace.numerics.tallying import LEAST
from framepace.openinference.client.address import is_address
from framepace.progress import Tell, silent
from framepace.reading import page_in
from framepace.reporting.page.accuracy import render_accuracy
from framepace.store import write_atomic
from framepace.video.stills import png, seconds_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

_MOST_FRAMES = 100_000
_MOST_PICTURES = 64
_PAGE = "worst.html"
_PARTED_FRAMES = 2  # that nodes are compared on: those that agree least


def accuracy(
    model: Models,
    other: str | Path | None = None,
    *,
    versus: Mapping[str, Any] | None = None,
    frames: int = FRAMES,
    gate: Gate | None = None,
    metric: str | None = None,
    least: float = LEAST,
    worst: int = 0,
    out: str | Path | None = None,
    first: bool = False,
    tell: Tell | None = None,
    ray: str | None = None,
    **options: Unpack[CaseOptions],
) -> AccuracyCheck:
    """How far two ways to run a model agree, frame by frame. Without `other` and `versus` the first is FP32.

    ONNX Runtime computes nothing in FP16 and BF16 on a CPU: there they are emulated (`emulation` in the result).

    Args:
        model: a path, 'builtin:NAME', a plan or a case of one model.
        other: a second file, whose outputs are held against those of `model`.
        versus: settings of the second way: {'precision': 'fp16'}, {'backend': 'torch'}.
        frames: of the videos in `options`, or of a moving pattern; at most 64 per source.
        gate: what the outputs must keep; by default that of the precision.
        metric: what decides in place of the gate: 'top5' (or any number), 'cosine', 'detections' (boxes both find),
            'text' (of recognisers), or 'module:function', called with both ways' outputs of a frame (arrays by name),
            which returns 1 where they are equal, or None where there is nothing to compare.
        least: that the metric must reach on average over the frames.
        worst: of how many frames, those that agree least, the numbers are kept apart.
        out: a folder that gets these frames as pictures, and a page of them.
        first: look for the first node whose output differs, where the outputs do (ONNX Runtime on both sides).
        tell: called with slow steps.
        ray: a cluster on one of whose places both ways run; see `sweep`.
        options: see `CaseOptions`; they hold for both.

    Returns:
        Both ways, and how far each output agrees, with its worst frame.

    Raises:
        UsageError: more than one model, nothing to compare, int8 without frames to calibrate on, outputs that the
            metric cannot read.
        PlanError: a metric cannot be imported, raises, or returns no number.
        ModelError: the two have other inputs, or another number of outputs.
        BackendError: a backend cannot load or run the model.
    """
    frames = int(values.number(frames, "frames", least=1, most=_MOST_FRAMES, whole=True))
    worst = int(values.number(worst, "worst", least=0, most=_MOST_PICTURES, whole=True))
    least = values.number(least, "least", least=0.0, most=LARGEST_LEAST)
    page = page_in(out, _PAGE)
    case = case_of("accuracy", model, **options)
    ways = _ways(case, _changes(other, versus))
    tell = tell or silent
    asked = Asked(gate or default_gate(ways[1].precision), metric, least)
    with joined(ray) as cluster:
        there = silent if cluster else tell
        check = on_place(cluster, case, ways, _compared, ways, case.workload, frames, asked, first, there)
    check = replace(check, worst=worst_frames(check.agreement, worst))
    return check if page is None else _with_pictures(check, case.workload, frames, page)


def _compared(
    ways: tuple[ModelPlan, ModelPlan], workload: Workload, frames: int, asked: Asked, first: bool, tell: Tell
) -> AccuracyCheck:
    """How far the two agree, and where they part if that is asked for."""
    check = _checked(ways, workload, frames, asked, first, tell)
    if first and check.agreement.complete and not check.agreement.passed:
        return replace(check, parting=_parting(check, workload, frames, tell))
    return check


def _checked(
    ways: tuple[ModelPlan, ModelPlan], workload: Workload, frames: int, asked: Asked, first: bool, tell: Tell
) -> AccuracyCheck:
    """How far the two agree: both run, but for a precision that has to be emulated."""
    reference, candidate = ways
    if is_emulated(reference, candidate):
        return _emulated_check(ways, workload, frames, asked, first, tell)
    numbers = agreement(
        candidate, workload.input, asked.gate,
        reference=reference, frames=frames, seed=workload.seed, tell=tell, metric=asked.metric, least=asked.least,
        stoppable=True,
    )  # fmt: skip
    notes = (*values_notes(reference), *few_frames(candidate), *_hidden(candidate), *_other_sizes(reference, candidate))
    source = looked_at(reference, workload.input.videos)
    return AccuracyCheck(reference=reference, candidate=candidate, agreement=numbers, notes=notes, **source)


def _emulated_check(
    ways: tuple[ModelPlan, ModelPlan], workload: Workload, frames: int, asked: Asked, first: bool, tell: Tell
) -> AccuracyCheck:
    """The same where no device computes in the precision. Raises UsageError for the first node that differs."""
    reference, candidate = ways
    if first:
        problem = "--first needs a device that runs the precision"
        fix = "--rank names the nodes that cost accuracy, --hunt the first that makes a NaN or infinity"
        raise UsageError(problem, got=f"{candidate.precision} on a CPU", fix=fix)
    source = workload.input
    model = EmulatedModel(candidate, source, frames, workload.seed, tell)
    numbers = model.agreement(asked.gate, asked.metric, asked.least)
    return AccuracyCheck(
        reference=reference, candidate=candidate, agreement=numbers, emulation=model.emulation(numbers),
        notes=tuple(values_notes(reference)), **looked_at(reference, source.videos),
    )  # fmt: skip


def calibrate(
    model: Models,
    calibration: str | Path | None = None,
    *,
    methods: Sequence[Calibration] = METHODS,
    frames: int = FRAMES,
    gate: Gate | None = None,
    metric: str | None = None,
    least: float = LEAST,
    tell: Tell | None = None,
    **options: Unpack[CaseOptions],
) -> CalibrationStudy:
    """INT8 by several methods of calibration and numbers of frames, judged on frames that none of them has seen.

    Args:
        model: an ONNX file in FP32: a path, 'builtin:NAME', a plan or a case of one model.
        calibration: a video or folder of pictures; by default the plan's. Where the videos in `options` are others,
            they judge; else every second picture is held out.
        methods: 'percentile', 'minmax', 'entropy'; the best of them is tried on 1, 2, 4, ... frames as well.
        frames: pictures to judge by, at most.
        gate: what the outputs must keep; by default that of INT8.
        metric: what decides in place of the gate (see `accuracy`).
        least: that the metric must reach on average over the frames.
        tell: called with slow steps.
        options: see `CaseOptions`.

    Returns:
        All that was tried, the best of it, how many frames are enough, and the speed on the CPU. After Ctrl-C what
        there is by then.

    Raises:
        UsageError: no frames to calibrate on, an unknown method, a model that is not in FP32 or takes no picture.
        ModelError: the model cannot be quantised. SourceError: pictures that cannot be read.
    """
    frames = int(values.number(frames, "frames", least=1, most=_MOST_FRAMES, whole=True))
    plan, source, seed = _calibrated_plan(case_of("calibrate", model, **options), calibration)
    chosen = [_method(name) for name in values.several(methods, "methods")]
    check_quantisable(plan)
    divided = divided_frames(plan.calibration or "", source, frames, seed)
    asked = Asked(gate or default_gate("int8"), metric, values.number(least, "least", least=0.0, most=LARGEST_LEAST))
    return studied(plan, source.videos, divided, chosen, asked, tell or silent)


def _calibrated_plan(case: Case, calibration: str | Path | None) -> tuple[ModelPlan, Input, int]:
    """The plan with what it is calibrated on, the frames to judge by, and the seed. Raises UsageError for none."""
    plan = only_model(case)
    if calibration is not None:
        plan = replace(plan, calibration=values.location(calibration, "calibration"))
    if plan.calibration is None:
        fix = "--calibration VIDEO|FOLDER (frames of your own)"
        raise UsageError("INT8 needs frames to calibrate on", got="none", fix=fix)
    return plan, case.workload.input, case.workload.seed


def _method(name: str) -> Calibration:
    for method in METHODS:
        if name == method:
            return method
    raise unknown("method", name, METHODS)


def _changes(other: str | Path | None, versus: Mapping[str, Any] | None) -> dict[str, Any]:
    """Settings of the second way."""
    changes = dict(values.mapping(versus or {}, "versus"))
    if other is None:
        return changes
    location = values.location(other, "other")
    if is_address(location):  # which only one backend asks
        changes = {"backend": backend_for(location), **changes}
    return {"model": location, **changes}


def _hidden(model: ModelPlan) -> Iterator[str]:
    """That a file in FP16 is computed in FP32."""
    if model.backend != "onnxruntime" or model.device not in (None, "cpu") or inspect(model.model).format != "onnx":
        return
    if "FP16" in low_formats(model.model):
        problem = "on a CPU ONNX Runtime computes most of an FP16 file in FP32, which hides what overflows"
        yield f"{problem}: check it with --device cuda, or the FP32 file with --precision fp16"


def _other_sizes(*models: ModelPlan) -> Iterator[str]:
    """That the two take pictures of other sizes, so that an error is of that, too."""
    sizes = [size for model in models for size in _picture_size(model)]
    if len(set(sizes)) > 1:
        texts = " and ".join(f"{width}x{height}" for width, height in sizes)
        yield f"they take pictures of other sizes ({texts}), so that they see other pixels: an error is of that, too"


def _picture_size(model: ModelPlan) -> Iterator[tuple[int, int]]:
    """Width and height of the picture that a model takes; nothing where that is not known, or any size is taken."""
    if get_backend(model.backend).is_built(model.model) or model.is_native:
        return
    image = resolve(inspect(model.model), model).image
    if image is not None:
        yield image.width, image.height


def _parting(check: AccuracyCheck, workload: Workload, frames: int, tell: Tell) -> Parting:
    """Where the outputs part, on the frames that agree least."""
    decoded = _decoded(check, workload, frames)
    worst = worst_frames(check.agreement, _PARTED_FRAMES)
    pictures: Sequence[Any] = [decoded[frame.frame] for frame in worst if decoded]
    if not pictures:
        pictures = decoded[:_PARTED_FRAMES] or range(_PARTED_FRAMES)
    limit = check.agreement.gate.relative_l2 or default_gate(check.candidate.precision).relative_l2 or 0.0
    return parting((check.reference, check.candidate), pictures, limit, workload.seed, tell)


def _with_pictures(check: AccuracyCheck, workload: Workload, frames: int, page: Path) -> AccuracyCheck:
    """The check with its worst frames written to files, and the page of them."""
    pictures = _decoded(check, workload, frames)
    worst = [_written(frame, pictures[frame.frame : frame.frame + 1], page.parent) for frame in check.worst]
    files = {frame.frame: png(pictures[frame.frame]) for frame in worst if frame.picture is not None}
    shown = replace(check, worst=tuple(worst), page=str(page))
    write_atomic(page, render_accuracy(without_secrets(shown), files).encode())
    return shown


def _decoded(check: AccuracyCheck, workload: Workload, frames: int) -> Sequence[Any]:
    """The pictures of a check; none where the model takes none."""
    if takes_pictures(check.reference):
        return pictures_of(workload.input, frames, workload.seed)
    return ()


def _written(frame: WorstFrame, picture: Sequence[Any], folder: Path) -> WorstFrame:
    """The frame with the file of its picture, where there is one."""
    if not picture:
        return frame
    path = folder / f"frame-{frame.frame}.png"
    write_atomic(path, png(picture[0]))
    return replace(frame, picture=str(path), seconds=seconds_of(picture[0]))


def _ways(case: Case, changes: Mapping[str, Any]) -> tuple[ModelPlan, ModelPlan]:
    """The reference and the candidate."""
    plain = only_model(case)
    if changes:
        return plain, only_model(apply(case, changes))
    reference = reference_of(plain)
    if plain in (reference, replace(reference, device=None)):
        fix = "name another precision, a second file, or settings of the second way"
        raise UsageError("there is nothing to compare", got="the model in FP32 alone", fix=fix)
    if plain.precision != "fp32" and inspect(plain.model).format == "onnx":
        check_high(plain.model, "name the FP32 file that it was made from as the first, and this one as the second")
    return reference, plain
