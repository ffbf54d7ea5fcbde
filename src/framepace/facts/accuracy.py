"""Accuracy: what a gate requires of a model's outputs, and how far they agree with those of its reference in FP32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta
from msgspec.structs import replace

from framepace.facts.base import Fact
from framepace.facts.bounded import NonNegative, Positive
from framepace.facts.parting import Parting
from framepace.facts.plan import ModelPlan

_Share = Annotated[float, Meta(ge=0, le=1)]
_Cosine = Annotated[float, Meta(ge=-1, le=1)]
_Count = Annotated[int, Meta(ge=0)]


class Gate(Fact, frozen=True, kw_only=True):
    """Limits for every output, over all frames together; None is no limit. See `default_gate` for INT8.

    `cosine` and `relative_l2` hold for outputs of floats. `top1` is the least share of frames with the same top-1
    class (None for a model whose output of rank 2 is no scores: an embedding), and the least share of equal elements
    of outputs that are no floats. `finite`: no NaN or infinity where the reference has none. Where no value is off by
    more than `negligible`, cosine and relative error are not checked: an output of nearly zeros (a detector's, where
    there is nothing to detect) has large relative errors that mean nothing. By default FP16's smallest normal number.
    """

    cosine: _Cosine | None = 0.999
    relative_l2: NonNegative | None = 0.03
    top1: _Share | None = 0.99
    negligible: NonNegative = 2.0**-14
    finite: bool = True


def default_gate(precision: str) -> Gate:
    """The gate of a precision ('fp32', 'fp16', 'bf16', 'int8') unless the user sets another."""
    if precision == "int8":
        return Gate(cosine=0.99, relative_l2=0.15)
    return Gate()


def narrowed(gate: Gate, room: float) -> Gate:
    """A gate that allows only a share (0 to 1) of the errors of floats that `gate` allows."""
    cosine = None if gate.cosine is None else 1 - room * (1 - gate.cosine)
    return replace(gate, cosine=cosine, relative_l2=None if gate.relative_l2 is None else room * gate.relative_l2)


class OutputAgreement(Fact, frozen=True, kw_only=True):
    """How far one output agrees with the reference's, over all frames.

    `compared` elements are finite in both; `nonfinite` are not finite where the reference's are; `undefined` are
    those that are not finite in the reference itself. Of outputs of floats, over what was compared: `relative_l2`
    |candidate - reference| / |reference|, `worst_l2` the same of the frame where it is largest, `worst_frame` which
    that is (counted from 0), `frames_l2` the same of each frame (None: nothing to compare), `cosine` similarity,
    `max_abs` the largest difference. `top1` is the share of frames with the same top-1 class, of outputs of one row
    of scores per frame; `equal` the share of equal elements of outputs that are no floats. `mismatch` names shapes that
    differ (boxes that only one of the two finds); such frames are not compared. `lost_frames` are those, and the ones
    with values that are not finite in the candidate alone. `zero`: the reference holds nothing else.
    """

    name: str
    compared: _Count
    nonfinite: _Count = 0
    undefined: _Count = 0
    relative_l2: float | None = None
    worst_l2: float | None = None
    worst_frame: int | None = None
    frames_l2: tuple[float | None, ...] = ()
    cosine: float | None = None
    max_abs: float | None = None
    top1: float | None = None
    equal: float | None = None
    mismatch: str | None = None
    lost_frames: tuple[_Count, ...] = ()
    zero: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether neither way has a value on any frame."""
        return not (self.compared or self.nonfinite or self.undefined or self.mismatch)


class MetricScores(Fact, frozen=True, kw_only=True):
    """How alike the answers are by a metric: 'top5', 'detections', 'text', or a function of the user's.

    `scores` are those of each frame: 1 is equal, 0 nothing in common, None where neither way answers anything. `mean`,
    `median` and `worst` are of the frames that have one, `worst_frame` is which it is (counted from 0); the mean must
    be `least` or more. `notes` say how the outputs were read, and totals.
    """

    name: str
    least: float
    scores: tuple[float | None, ...]
    mean: float | None = None
    median: float | None = None
    worst: float | None = None
    worst_frame: int | None = None
    notes: tuple[str, ...] = ()


class Agreement(Fact, frozen=True, kw_only=True):
    """Whether a way to run a model passed the `gate`, and `why` not: one sentence for each number that fell short.

    `notes` say of outputs that passed only as negligible that these frames tell little about them. Where there is a
    `metric`, it decides in place of the limits of the gate, of which only `finite` holds. `complete`: all frames were
    compared, no Ctrl-C came before.
    """

    frames: Positive
    gate: Gate
    outputs: tuple[OutputAgreement, ...]
    why: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    metric: MetricScores | None = None
    complete: bool = True

    @property
    def passed(self) -> bool:
        """Whether the outputs meet every limit of the gate."""
        return not self.why

    @property
    def says_nothing(self) -> bool:
        """Whether there is nothing to compare: no output has a value, or neither way answers anything by the metric."""
        if any(output.nonfinite for output in self.outputs):
            return False
        if self.metric is not None:
            return self.metric.mean is None
        return all(output.is_empty for output in self.outputs)


class WorstFrame(Fact, frozen=True, kw_only=True):
    """A frame on which two ways agree least: `error` is its relative L2 error, `score` that of the metric; `lost` where
    an output is NaN, infinite or of another shape.

    `frame` counts the frames of the check from 0. `seconds` is its place in the video, `picture` the path of the file
    it was written to.
    """

    frame: _Count
    error: float | None = None
    score: float | None = None
    lost: bool = False
    seconds: float | None = None
    picture: str | None = None


class Emulation(Fact, frozen=True, kw_only=True):
    """What a precision has to hold where it was emulated: the largest magnitude that a node makes in FP32, on the worst
    frame, beside the `largest` number of the precision."""

    largest: float
    reach: float | None = None
    node: str | None = None


class OnFrames(Fact, frozen=True, kw_only=True):
    """What was looked at: frames of `videos` (none: a moving pattern), or values where a model takes no `pictures`."""

    videos: tuple[str, ...] = ()
    pictures: bool = True


class AccuracyCheck(OnFrames, frozen=True, kw_only=True):
    """Two ways to run a model, and how far the candidate's outputs agree with the reference's.

    `worst` are the frames that agree least, where they
    were asked for, and `page` shows them; `parting` is where the outputs part, likewise. With an `emulation` no device
    computed in the candidate's precision. `notes` say what the check rests on.
    """

    reference: ModelPlan
    candidate: ModelPlan
    agreement: Agreement
    worst: tuple[WorstFrame, ...] = ()
    page: str | None = None
    parting: Parting | None = None
    emulation: Emulation | None = None
    notes: tuple[str, ...] = ()


def agreement_text(agreement: Agreement) -> str:
    """The numbers of the output that agrees least, in a few words."""
    if agreement.metric is not None and agreement.metric.mean is not None:
        return f"{agreement.metric.name} {agreement.metric.mean:.4g} over {_frames(agreement.frames)}"
    numbers = ", ".join(_least(agreement.outputs, agreement.gate.negligible)) or "nothing to compare"
    return f"{numbers} over {_frames(agreement.frames)}"


def _frames(count: int) -> str:
    return "1 frame" if count == 1 else f"{count} frames"


def _least(outputs: Sequence[OutputAgreement], negligible: float) -> Iterator[str]:
    """Errors of what is off by more than what is negligible: those of nearly zeros are large and mean nothing."""
    off = [output for output in outputs if output.max_abs is None or output.max_abs > negligible]
    errors = [output.relative_l2 for output in off if output.relative_l2 is not None]
    cosines = [output.cosine for output in off if output.cosine is not None]
    shares = [share for output in outputs for share in (output.top1, output.equal) if share is not None]
    broken = sum(output.nonfinite for output in outputs)
    if broken:
        yield f"{broken:,} values NaN or infinite"
    if outputs and not off:
        yield f"no value is off by more than {max(output.max_abs or 0.0 for output in outputs):.1g}"
    if errors:
        yield f"relative L2 error {max(errors):.2g}"
    if cosines:
        yield f"cosine {min(cosines):.6f}"
    if shares:
        yield f"{min(shares):.0%} the same"
