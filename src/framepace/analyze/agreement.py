"""Agreement of a model's outputs with those of a reference: the numbers over all frames, and the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from framepace.facts.accuracy import Agreement, Gate, MetricScores, OutputAgreement, WorstFrame

# What is larger counts as infinite: squares of float64 must add up without overflow.
_LARGEST = 1e140
_NOTHING = "every output is empty on these frames, so nothing is compared: use frames on which something is found"
_FED = "check what the model is fed (--set scale, mean, std)"
_FEW = 4  # frames on which a verdict hardly rests, where there are more
_ANSWERS = {"detections": "a detection", "text": "text"}  # of a frame, by the metric
_TIE = 2.0**-10  # of the highest score: what FP16 cannot tell apart there is a tie


class FrameNumbers(msgspec.Struct, frozen=True, array_like=True):
    """What one frame's output adds to a tally; `squares` are of the reference, the candidate and their difference.

    `equal` counts equal values of outputs that are no floats; `same_top` is of outputs of one row of scores.
    """

    compared: int = 0
    nonfinite: int = 0
    undefined: int = 0
    squares: tuple[float, float, float] | None = None
    dot: float = 0.0
    max_abs: float = 0.0
    equal: int | None = None
    same_top: bool | None = None
    mismatch: str = ""


def frame_numbers(reference: NDArray[Any], candidate: NDArray[Any]) -> FrameNumbers:
    """One frame's output against the reference's. Where the shapes differ, that is noted and nothing is compared."""
    if reference.shape != candidate.shape:
        return FrameNumbers(mismatch=f"{_text(candidate)} instead of {_text(reference)}")
    if _exact(reference) or _exact(candidate):
        return FrameNumbers(compared=reference.size, equal=int(np.count_nonzero(reference == candidate)))
    return _float_numbers(reference.astype(np.float64), candidate.astype(np.float64))


def _float_numbers(reference: NDArray[Any], candidate: NDArray[Any]) -> FrameNumbers:
    defined = np.abs(reference) < _LARGEST  # NaN is not
    finite = np.abs(candidate) < _LARGEST
    both = defined & finite
    return FrameNumbers(
        compared=int(np.count_nonzero(both)),
        nonfinite=int(np.count_nonzero(defined & ~finite)),
        undefined=reference.size - int(np.count_nonzero(defined)),
        same_top=same_top(reference[0], candidate[0]) if _are_scores(reference) else None,
        **_sums(reference[both], candidate[both]),
    )


def _sums(reference: NDArray[Any], candidate: NDArray[Any]) -> dict[str, Any]:
    """Of values that are finite in both; nothing where there are none."""
    if not reference.size:
        return {}
    difference = candidate - reference
    squares = tuple(float(x @ x) for x in (reference, candidate, difference))
    return {"squares": squares, "dot": float(reference @ candidate), "max_abs": float(np.abs(difference).max())}


class Tally:
    """Running sums of how one output agrees; no frame is kept, so that large outputs need no memory."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._squares = np.zeros(3)  # of the reference, of the candidate, of their difference
        self._dot = self._max_abs = 0.0
        self._frames_l2: list[float | None] = []
        self._lost: list[int] = []
        self._compared = self._nonfinite = self._undefined = 0
        self._rows = self._hits = self._equal = 0
        self._exact = False
        self._mismatch = ""

    def add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """Add one frame's output."""
        self.take(frame_numbers(reference, candidate))

    def take(self, frame: FrameNumbers) -> None:
        """Add one frame's output in numbers."""
        if frame.mismatch or frame.nonfinite:
            self._lost.append(len(self._frames_l2))
        self._frames_l2.append(None if frame.squares is None else _relative(np.array(frame.squares)))
        self._mismatch = self._mismatch or frame.mismatch
        self._compared += frame.compared
        self._nonfinite += frame.nonfinite
        self._undefined += frame.undefined
        self._take_values(frame)

    def result(self) -> OutputAgreement:
        """The numbers over all frames so far."""
        return OutputAgreement(
            name=self._name,
            compared=self._compared,
            nonfinite=self._nonfinite,
            undefined=self._undefined,
            mismatch=self._mismatch or None,
            lost_frames=tuple(self._lost),
            **self._numbers(),
        )

    def _take_values(self, frame: FrameNumbers) -> None:
        if frame.equal is not None:
            self._exact = True
            self._equal += frame.equal
        if frame.same_top is not None:
            self._rows += 1
            self._hits += frame.same_top
        if frame.squares is not None:
            self._squares += frame.squares
            self._dot += frame.dot
            self._max_abs = max(self._max_abs, frame.max_abs)

    def _worst_of_frames(self) -> dict[str, Any]:
        errors = [-1.0 if error is None else error for error in self._frames_l2]
        worst = int(np.argmax(errors))
        return {"worst_l2": errors[worst], "worst_frame": worst}

    def _numbers(self) -> dict[str, Any]:
        if not self._compared:
            return {}
        if self._exact:
            return {"equal": self._equal / self._compared}
        numbers = {
            "relative_l2": _relative(self._squares),
            "frames_l2": tuple(self._frames_l2),
            **self._worst_of_frames(),
            "cosine": _cosine(self._dot, self._squares),
            "max_abs": self._max_abs,
            "zero": not self._squares[0],
        }
        if self._rows:
            numbers["top1"] = self._hits / self._rows
        return numbers


def _are_scores(output: NDArray[Any]) -> bool:
    """Whether a frame's output is one row of scores, so that it has a top-1 class."""
    return output.ndim == 2 and output.shape[0] == 1 < output.shape[1] and not bool(np.isnan(output).any())


def same_top(reference: NDArray[Any], candidate: NDArray[Any]) -> bool:
    """Whether the candidate's highest score is one of the highest of the reference, ties too; not with a NaN in it."""
    if np.isnan(candidate).any():
        return False
    top = reference.max()
    chosen = reference[np.argmax(candidate)]
    return bool(chosen == top or top - chosen < _TIE * abs(top))


def judged(
    frames: int, outputs: Sequence[OutputAgreement], gate: Gate, metric: MetricScores | None = None
) -> Agreement:
    """The numbers of `frames` frames held against a gate, or against the limit of a metric."""
    if metric is not None:
        return _judged_by(metric, frames, tuple(outputs), gate)
    why = tuple(f"output {output.name!r}: {reason}" for output in outputs for reason in _reasons(output, gate))
    notes = tuple(note for output in outputs for note in (*_excused(output, gate), *_blank(output), *_left_out(output)))
    agreement = Agreement(frames=frames, gate=gate, outputs=tuple(outputs), why=why, notes=notes)
    if not why and agreement.says_nothing:
        return replace(agreement, why=(_NOTHING,))
    return agreement


def _reasons(output: OutputAgreement, gate: Gate) -> Iterator[str]:
    yield from _wrong(output, gate)
    if output.max_abs is None or output.max_abs > gate.negligible:
        yield from _off(output, gate)


def _excused(output: OutputAgreement, gate: Gate) -> Iterator[str]:
    """What is off of an output of nearly zeros."""
    for reason in islice(_off(output, gate), 1):
        if output.max_abs is not None and output.max_abs <= gate.negligible:
            yield f"output {output.name!r}: {reason}, but {_negligible(output.max_abs)}"


def _blank(output: OutputAgreement) -> Iterator[str]:
    """That an output without values, or with none but zeros, tells nothing."""
    if output.is_empty:
        yield f"output {output.name!r} is empty on these frames, which say nothing about it"
    elif output.zero:
        yield f"output {output.name!r} is zero on these frames, which say little about it"


def _left_out(output: OutputAgreement) -> Iterator[str]:
    """How many values are NaN or infinite in the reference itself, of which nothing is said, where there are others."""
    if output.undefined and (output.compared or output.nonfinite):
        values = output.undefined + output.compared + output.nonfinite
        left_out = f"{output.undefined:,} of {values:,} values are NaN or infinite in the reference already"
        yield f"output {output.name!r}: {left_out}, and are not compared: {_FED}"


def _judged_by(metric: MetricScores, frames: int, outputs: tuple[OutputAgreement, ...], gate: Gate) -> Agreement:
    """The verdict by a metric, which may compare outputs of other shapes; NaN where there is none is wrong anyway."""
    gate = replace(gate, cosine=None, relative_l2=None, top1=None)
    wrong = [f"output {output.name!r}: {text}" for output in outputs for text in _not_finite(output, gate)]
    why = (*_short(metric), *wrong)
    notes = (*metric.notes, *_few(metric), *(note for output in outputs for note in _left_out(output)))
    return Agreement(frames=frames, gate=gate, outputs=outputs, why=why, notes=notes, metric=metric)


def _few(metric: MetricScores) -> Iterator[str]:
    """That the verdict rests on few of the frames, where neither way answers anything on the others."""
    telling = sum(score is not None for score in metric.scores)
    if telling and (2 * telling < len(metric.scores) or telling < min(_FEW, len(metric.scores))):
        answer = _ANSWERS.get(metric.name.partition("@")[0], "an answer")
        rests = f"only {telling} of {len(metric.scores)} frames {'has' if telling == 1 else 'have'} {answer}"
        yield f"{metric.name}: {rests}, on which the verdict rests: use more that do (--video, --frames)"


def metric_scores(name: str, scores: Sequence[float | None], least: float, notes: Sequence[str] = ()) -> MetricScores:
    """The scores of all frames (None: nothing to compare) with their distribution."""
    return MetricScores(name=name, least=least, scores=tuple(scores), notes=tuple(notes), **_spread(scores))


def _spread(scores: Sequence[float | None]) -> dict[str, Any]:
    """Mean, median and worst of the frames that have a score."""
    numbers = {frame: score for frame, score in enumerate(scores) if score is not None}
    if not numbers:
        return {}
    values = [*numbers.values()]
    worst = min(numbers, key=lambda frame: numbers[frame])
    mean = float(np.mean(values))
    return {"mean": mean, "median": float(np.median(values)), "worst": numbers[worst], "worst_frame": worst}


def _short(metric: MetricScores) -> Iterator[str]:
    """Why a metric does not pass."""
    if metric.mean is None:
        yield f"{metric.name}: neither way answers anything on these frames, so nothing is compared: use others"
    elif metric.mean < metric.least:
        under = sum(score is not None and score < 1 for score in metric.scores)
        compared = sum(score is not None for score in metric.scores)
        mean = f"{metric.mean:.4g} on average"
        yield f"{metric.name}: {mean} is under {metric.least:g}; {under} of {compared} frames are not equal"


def worst_frames(agreement: Agreement, count: int) -> tuple[WorstFrame, ...]:
    """The frames that agree least, the worst first: by the metric, then lost ones, then by the largest error."""
    scores: Sequence[float | None] = [None] * agreement.frames
    if agreement.metric is not None:
        scores = agreement.metric.scores
    lost = {number for output in agreement.outputs for number in output.lost_frames}
    frames = [
        WorstFrame(frame=number, error=_largest(agreement, number), score=score, lost=number in lost)
        for number, score in enumerate(scores)
    ]
    compared = [frame for frame in frames if frame.lost or frame.error is not None or frame.score is not None]
    return tuple(sorted(compared, key=_rank)[:count])


def _rank(frame: WorstFrame) -> tuple[float, bool, float]:
    """The lowest score first, of equal ones a frame that is lost, then the largest error."""
    score = np.inf
    if frame.score is not None:
        score = frame.score
    return score, not frame.lost, -(frame.error or 0.0)


def _largest(agreement: Agreement, frame: int) -> float | None:
    """The largest error of any output on a frame."""
    errors = [output.frames_l2[frame] for output in agreement.outputs if frame < len(output.frames_l2)]
    return max((error for error in errors if error is not None), default=None)


def _negligible(max_abs: float) -> str:
    small = f"no value is off by more than {max_abs:.2g}"
    return f"{small}; it is nearly zero on these frames, so use frames on which the model detects something"


def _not_finite(out: OutputAgreement, gate: Gate) -> Iterator[str]:
    if gate.finite and out.nonfinite:
        yield f"{out.nonfinite} of {out.nonfinite + out.compared} values are NaN or infinite"


def _wrong(out: OutputAgreement, gate: Gate) -> Iterator[str]:
    """Reasons that hold however small the values are."""
    if out.mismatch is not None:
        yield f"has the shape {out.mismatch} on a frame"
    yield from _not_finite(out, gate)
    if out.undefined and not out.compared and not out.nonfinite:
        yield f"is NaN or infinite in the reference already: {_FED}"
    elif not out.compared and (out.nonfinite or out.undefined):
        yield "has no value that is finite in both outputs, so nothing can be compared"
    yield from _too_few(out.top1, gate.top1, "of the frames have the same top-1 class")
    yield from _too_few(out.equal, gate.top1, "of the values are equal")


def _too_few(share: float | None, least: float | None, text: str) -> Iterator[str]:
    if least is not None and share is not None and share < least:
        yield f"{share:.1%} {text}, not {least:.1%}"


def _off(out: OutputAgreement, gate: Gate) -> Iterator[str]:
    if gate.cosine is not None and out.cosine is not None and out.cosine < gate.cosine:
        yield f"cosine {out.cosine:.6g} is under {gate.cosine:g}"
    if gate.relative_l2 is not None and out.relative_l2 is not None and out.relative_l2 > gate.relative_l2:
        yield f"relative L2 error {out.relative_l2:.3g} is over {gate.relative_l2:g}"


def _relative(squares: NDArray[Any]) -> float:
    """|difference| / |reference|; for a reference of zeros, over the candidate's length (1), or 0 without an error."""
    reference, candidate, difference = np.sqrt(squares)
    return float(difference / (reference or candidate or 1.0))


def _cosine(dot: float, squares: NDArray[Any]) -> float:
    """Cosine of the angle between them: 1 where they are equal (zeros too), 0 between zeros and anything else."""
    reference, candidate, difference = np.sqrt(squares)
    if not difference or not reference or not candidate:
        return float(not difference)
    return float(np.clip(dot / reference / candidate, -1, 1))


def _exact(values: NDArray[Any]) -> bool:
    """Whether values must be equal: integers, booleans and strings name things. bfloat16 is of NumPy's kind 'V'."""
    return values.dtype.kind not in "fV"


def _text(values: NDArray[Any]) -> str:
    return "x".join(map(str, values.shape)) or "scalar"
