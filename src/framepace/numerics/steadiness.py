"""Whether a network answers the same when it is asked the same again; nothing can be held against one that does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from framepace.backends.base import Tensors
from framepace.errors import ModelError
from framepace.facts.accuracy import OutputAgreement

_ROUNDING = 1e-3  # of the norm of an output: sums in another order differ by far less
_FIX = "export it without what draws random numbers (dropout in training mode, RandomNormal, Multinomial, ...)"


def differs(output: OutputAgreement) -> bool:
    """Whether an output differs by more than rounding, so that a network that draws random numbers may be why."""
    lost = bool(output.nonfinite or output.mismatch or output.lost_frames)
    return lost or (output.relative_l2 or 0.0) > _ROUNDING or output.equal not in (None, 1.0)


def check_steady(ask: Callable[[], Tensors]) -> None:
    """Raise ModelError where two answers of the FP32 reference to the same input are not the same.

    Args:
        ask: runs it on one frame; what it gives may be valid until it is called again.
    """
    first = {name: values.copy() for name, values in ask().items()}
    second = ask()
    shares = {name: _difference(values, second[name]) for name, values in first.items()}
    worst = max(shares, key=lambda name: shares[name])
    if shares[worst] <= _ROUNDING:
        return
    got = f"output {worst}: {shares[worst]:.0%} apart on the same frame, in FP32"
    expected = "the same answer to the same input"
    raise ModelError("the network answers otherwise each time", got=got, expected=expected, fix=_FIX)


def _difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """The L2 norm of the difference over that of the first; 1 where the shapes are not the same."""
    if one.shape != other.shape:
        return 1.0
    if one.tobytes() == other.tobytes():
        return 0.0
    if one.dtype.kind not in "fiub":
        return 1.0
    values = one.astype(np.float64)
    apart = np.nan_to_num(values - other.astype(np.float64))
    return float(np.linalg.norm(apart) / (np.linalg.norm(np.nan_to_num(values)) or 1.0))
