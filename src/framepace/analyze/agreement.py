"""Agreement of a model's outputs with those of a reference: the numbers, frame by frame, and the verdict on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.accuracy import Agreement, Gate, OutputAgreement

# What is larger counts as infinite: squares of float64 must add up without overflow.
_LARGEST = 1e140


class Tally:
    """Adds up how one output agrees; nothing of a frame is kept, so that large outputs need no memory."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._squares = np.zeros(3)  # of the reference, of the candidate, of their difference
        self._dot, self._max_abs, self._worst = 0.0, 0.0, 0.0
        self._compared = self._nonfinite = self._undefined = 0
        self._rows = self._hits = self._equal = 0
        self._exact, self._mismatch = False, ""

    def add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        """One frame's output: of the same shape in both, or that is noted and nothing compared."""
        if reference.shape != candidate.shape:
            self._mismatch = self._mismatch or f"{_text(candidate)} instead of {_text(reference)}"
        elif _exact(reference) or _exact(candidate):
            self._exact = True
            self._compared += reference.size
            self._equal += int(np.count_nonzero(reference == candidate))
        else:
            self._add(reference.astype(np.float64), candidate.astype(np.float64))

    def found(self) -> OutputAgreement:
        """The numbers over all frames so far."""
        counts: dict[str, Any] = {
            "compared": self._compared,
            "nonfinite": self._nonfinite,
            "undefined": self._undefined,
        }
        numbers = self._numbers() if self._compared else {}
        return OutputAgreement(name=self._name, **counts, **numbers, mismatch=self._mismatch or None)

    def _add(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        defined, finite = np.abs(reference) < _LARGEST, np.abs(candidate) < _LARGEST  # NaN is neither
        self._undefined += reference.size - int(np.count_nonzero(defined))
        self._nonfinite += int(np.count_nonzero(defined & ~finite))
        if reference.ndim == 2 and reference.shape[0] == 1 < reference.shape[1] and not np.isnan(reference).any():
            self._rows += 1
            self._hits += same_top(reference[0], candidate[0])
        both = defined & finite
        if both.any():
            self._measure(reference[both], candidate[both])

    def _measure(self, reference: NDArray[Any], candidate: NDArray[Any]) -> None:
        difference = candidate - reference
        squares = np.array([x @ x for x in (reference, candidate, difference)])
        self._compared += reference.size
        self._squares += squares
        self._dot += float(reference @ candidate)
        self._max_abs = max(self._max_abs, float(np.abs(difference).max()))
        self._worst = max(self._worst, _relative(squares))

    def _numbers(self) -> dict[str, Any]:
        if self._exact:
            return {"equal": self._equal / self._compared}
        return {
            "relative_l2": _relative(self._squares),
            "worst_l2": self._worst,
            "cosine": _cosine(self._dot, self._squares),
            "max_abs": self._max_abs,
            "top1": self._hits / self._rows if self._rows else None,
        }


def same_top(reference: NDArray[Any], candidate: NDArray[Any]) -> bool:
    """Whether the candidate's highest score is one of the reference's highest; never with a NaN in it."""
    return bool(reference[np.argmax(candidate)] == reference.max() and not np.isnan(candidate).any())


def judged(frames: int, outputs: Sequence[OutputAgreement], gate: Gate) -> Agreement:
    """The numbers of `frames` frames held against a gate."""
    why, notes = list[str](), list[str]()
    for out in outputs:
        off = list(_off(out, gate))
        negligible = out.max_abs is not None and out.max_abs <= gate.negligible
        why += [f"output {out.name!r}: {reason}" for reason in (*_wrong(out, gate), *([] if negligible else off))]
        if negligible and off:
            small = f"no value is off by more than {out.max_abs:.2g}"
            advice = "it is nearly zero on these frames, so use frames in which the model finds something"
            notes.append(f"output {out.name!r}: {off[0]}, but {small}; {advice}")
    return Agreement(frames=frames, gate=gate, outputs=tuple(outputs), why=tuple(why), notes=tuple(notes))


def agreed(found: Agreement) -> str:
    """The numbers of the output that agrees least, in a few words."""
    outs = found.outputs
    worst = max((o.relative_l2 for o in outs if o.relative_l2 is not None), default=None)
    cosine = min((o.cosine for o in outs if o.cosine is not None), default=None)
    same = [share for o in outs for share in (o.top1, o.equal) if share is not None]
    told = [] if worst is None else [f"relative L2 error {worst:.2g}"]
    told += [] if cosine is None else [f"cosine {cosine:.6f}"]
    told += [f"{min(same):.0%} the same"] if same else []
    return f"{', '.join(told)} over {found.frames} frames"


def _wrong(out: OutputAgreement, gate: Gate) -> Iterator[str]:
    """What no size of the values excuses."""
    if out.mismatch is not None:
        yield f"has the shape {out.mismatch} on a frame"
    if gate.finite and out.nonfinite:
        yield f"{out.nonfinite} of {out.nonfinite + out.compared} values are NaN or infinite"
    if not out.compared and (out.nonfinite or out.undefined):
        yield "has no value that is finite in both and could be compared"
    for share, what in ((out.top1, "of the frames have the same top-1 class"), (out.equal, "of the values are equal")):
        if gate.top1 is not None and share is not None and share < gate.top1:
            yield f"{share:.1%} {what}, not {gate.top1:.1%}"


def _off(out: OutputAgreement, gate: Gate) -> Iterator[str]:
    if gate.cosine is not None and out.cosine is not None and out.cosine < gate.cosine:
        yield f"cosine {out.cosine:.6g} is under {gate.cosine:g}"
    if gate.relative_l2 is not None and out.relative_l2 is not None and out.relative_l2 > gate.relative_l2:
        yield f"relative L2 error {out.relative_l2:.3g} is over {gate.relative_l2:g}"


def _relative(squares: NDArray[Any]) -> float:
    """|difference| / |reference|; of a reference of zeros, of the candidate's own length (1), or 0 without an error."""
    reference, candidate, difference = np.sqrt(squares)
    return float(difference / (reference or candidate or 1.0))


def _cosine(dot: float, squares: NDArray[Any]) -> float:
    """Cosine of the angle between both: 1 where they are equal (zeros too), 0 between zeros and anything else."""
    reference, candidate, difference = np.sqrt(squares)
    if not difference or not reference or not candidate:
        return float(not difference)
    return float(np.clip(dot / reference / candidate, -1, 1))


def _exact(values: NDArray[Any]) -> bool:
    """Integers, booleans and strings name things; bfloat16 is of NumPy's kind 'V'."""
    return values.dtype.kind not in "fV"


def _text(values: NDArray[Any]) -> str:
    return "x".join(map(str, values.shape)) or "scalar"
