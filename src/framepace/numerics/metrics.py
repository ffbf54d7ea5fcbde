"""What 'the same answer' means to a user: the metrics that `accuracy --metric` holds both ways to.

A metric compares one frame's outputs of the reference with those of the candidate: 1 is equal, 0 has nothing in common,
None where neither way answers anything on the frame, so that it says nothing about them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from framepace.errors import PlanError, UsageError, unknown
from framepace.hooks import load_hook
from framepace.numerics.detections import SCORE, Detections, matched, read_detections
from framepace.numerics.transcripts import edits, read_transcript
from framepace.postprocess.families import decided
from framepace.postprocess.network import Network, view_of

Outputs = Mapping[str, NDArray[Any]]
BUILT_IN = ("top1", "top5", "cosine", "detections", "detections@0.5", "text")
_TOP = re.compile(r"top([1-9]\d{0,3})")
_DETECTIONS = re.compile(r"detections(?:@(0?\.\d+))?")  # from which score on a box counts
_TEXTS = "ctc"
_OWN = "or a function of your own: module:function"


class Metric(Protocol):
    """Compares frames one by one, and keeps what there is to say of all of them."""

    def score(self, reference: Outputs, candidate: Outputs) -> float | None:
        """How alike the answers to one frame are. Raises UsageError for outputs that it cannot read."""
        ...

    def notes(self) -> tuple[str, ...]:
        """How the outputs were read, and totals over the frames so far."""
        ...


def metric_of(name: str) -> Metric:
    """'top5' (any number), 'cosine', 'detections' ('detections@0.5': from that score on), 'text', or 'module:function'.

    Raises UsageError for another name, PlanError for a function that cannot be imported.
    """
    if ":" in name:
        return _Own(name)
    top = _TOP.fullmatch(name)
    if top is not None:
        return _Top(int(top[1]))
    boxes = _DETECTIONS.fullmatch(name)
    if boxes is not None:
        return _Boxes(float(boxes[1] or SCORE))
    if name == "text":
        return _Text()
    if name == "cosine":
        return _Cosine()
    raise unknown("metric", name, [*BUILT_IN, _OWN])


def optional_metric(name: str | None, advises: bool = False) -> Metric:
    """The metric of that name; without one nothing is scored, but a better metric may be advised."""
    if name is None:
        return _Nothing(advises)
    return metric_of(name)


def is_own(name: str | None) -> bool:
    """Whether a metric is a function of the user's, which may be another the next time."""
    return name is not None and ":" in name


class _Nothing:
    """Where the numbers of the outputs decide; names the metric that says more of outputs that are surely known."""

    def __init__(self, advises: bool) -> None:
        self._advises = advises
        self._advice = ""

    def score(self, reference: Outputs, candidate: Outputs) -> float | None:
        if self._advises and not self._advice:
            self._advice = _advice(reference)
        return None

    def notes(self) -> tuple[str, ...]:
        return tuple(filter(None, [self._advice]))


def _advice(outputs: Outputs) -> str:
    """What counts in the answers of a detector or a recogniser, which cosine and error do not see."""
    family, _ = decided(view_of(outputs, Network(""), (), None))
    if family is None or not (family.boxes or family.name == _TEXTS):
        return ""
    metric, counts = ("text", "the text") if family.name == _TEXTS else ("detections", "boxes")
    return f"the outputs are those of {family.help}: --metric {metric} asks for {counts}, cosine and error do not"


class _Top:
    """Whether the reference's best class is among the candidate's best."""

    def __init__(self, count: int) -> None:
        self._count = count

    def score(self, reference: Outputs, candidate: Outputs) -> float | None:
        rows = [name for name, values in reference.items() if _is_row(values) and values.size > self._count]
        if not rows:
            raise _unreadable(reference, f"a row of more than {self._count} scores per frame", f"top{self._count}")
        return min(float(self._is_among(reference[name], candidate[name])) for name in rows)

    def notes(self) -> tuple[str, ...]:
        return ()

    def _is_among(self, reference: NDArray[Any], candidate: NDArray[Any]) -> bool:
        scores = candidate.astype(np.float64).ravel()
        if reference.shape != candidate.shape or np.isnan(scores).any():
            return False
        best = scores[int(np.argmax(reference))]
        return int(np.count_nonzero(scores > best)) < self._count


def _is_row(values: NDArray[Any]) -> bool:
    return values.ndim == 2 and values.shape[0] == 1 < values.shape[1] and values.dtype.kind in "fV"


class _Cosine:
    """The lowest cosine of an output: of embeddings, whose largest value is no class."""

    def score(self, reference: Outputs, candidate: Outputs) -> float | None:
        floats = {name: values for name, values in reference.items() if values.dtype.kind in "fV"}
        if not floats:
            raise _unreadable(reference, "an output of floats", "cosine")
        cosines = [_cosine(values, candidate[name]) for name, values in floats.items()]
        return min((cosine for cosine in cosines if cosine is not None), default=None)

    def notes(self) -> tuple[str, ...]:
        return ()


def _cosine(reference: NDArray[Any], candidate: NDArray[Any]) -> float | None:
    """The cosine of the angle between two outputs; None where the reference is zero, 0 where no angle can be found."""
    if not reference.any():
        return None
    one, other = (values.astype(np.float64).ravel() for values in (reference, candidate))
    lengths = np.linalg.norm(one) * np.linalg.norm(other) if one.shape == other.shape else np.nan
    if not np.isfinite(lengths) or not lengths:
        return 0.0
    return float(np.clip(one @ other / lengths, -1, 1))


class _Boxes:
    """The share of boxes that both find: IoU of 0.5 or more, and the same class."""

    def __init__(self, score: float) -> None:
        self._score = score
        self._boxes = self._matched = 0
        self._layout = ""

    def score(self, reference: Outputs, candidate: Outputs) -> float | None:
        expected = self._read(reference)
        actual = self._read(candidate)
        hits, boxes = matched(expected, actual, self._score)
        self._layout = expected.layout
        self._matched += hits
        self._boxes += boxes
        if not boxes:
            return None
        return hits / boxes

    def notes(self) -> tuple[str, ...]:
        return (f"outputs read as {self._layout}; {self._matched} of {self._boxes} boxes of both ways have a match",)

    def _read(self, outputs: Outputs) -> Detections:
        detections = read_detections(outputs, self._score)
        if detections is None:
            layouts = "boxes and scores as YOLO, torchvision, SSD or DETR exports have them"
            raise _unreadable(outputs, layouts, "detections")
        return detections


class _Text:
    """Whether the text is the same: the best class per step, repetitions and blanks left out (CTC)."""

    def __init__(self) -> None:
        self._edits = self._characters = 0

    def score(self, reference: Outputs, candidate: Outputs) -> float | None:
        expected, actual = (read_transcript(outputs) for outputs in (reference, candidate))
        if expected is None or actual is None:
            raise _unreadable(reference, "one output of scores (steps x classes)", "text")
        if not expected and not actual:
            return None
        self._edits += edits(expected, actual)
        self._characters += len(expected)
        return float(expected == actual)

    def notes(self) -> tuple[str, ...]:
        return (f"edit distance {self._edits} over {self._characters} characters of the reference",)


class _Own:
    """A function of the user's, called with both ways' outputs of a frame (arrays by name)."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._function: Callable[..., Any] = load_hook(name)

    def score(self, reference: Outputs, candidate: Outputs) -> float | None:
        result = self._function(dict(reference), dict(candidate))
        if result is None:
            return None
        try:
            number = float(result)
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            fix = "return a number: 1 where both are equal (None: nothing to compare on this frame)"
            raise PlanError(f"the metric {self._name!r} returned no number", got=repr(result)[:200], fix=fix)
        return number

    def notes(self) -> tuple[str, ...]:
        return ()


def _unreadable(outputs: Outputs, expected: str, name: str) -> UsageError:
    got = ", ".join(f"{output} {values.dtype} {list(values.shape)}" for output, values in outputs.items())
    problem = f"the outputs cannot be read by the metric {name!r}"
    fix = "--metric module:function (called with both ways' outputs of a frame, returns 1 where they are equal)"
    return UsageError(problem, got=got, expected=expected, fix=fix)
