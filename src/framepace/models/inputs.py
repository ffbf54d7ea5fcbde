"""Inputs that nobody brings: what a model is given where no picture goes in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.facts.model import TensorSpec


def staging_array(tensor: TensorSpec, into: NDArray[Any]) -> None:
    """Fill a staging array: random within what the dtype and an image allow, the same every time."""
    rng = np.random.default_rng(0)
    if into.dtype.kind == "f":
        into[...] = rng.random(into.shape, dtype=np.float32)
    else:
        into[...] = rng.integers(0, 2, into.shape)
