"""NumPy's dtypes for the names in model files, those that NumPy has only with ml_dtypes among them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from framepace.errors import ModelError


@lru_cache
def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype called `name`, such as 'float32', 'bfloat16' or 'int4'; 'object' for texts. Raises ModelError."""
    try:
        return np.dtype(name)
    except TypeError:
        pass
    try:
        import ml_dtypes

        rare: np.dtype[Any] = np.dtype(getattr(ml_dtypes, name))
    except (ImportError, AttributeError, TypeError) as error:
        fix = "pip install ml_dtypes, or export the model with another dtype"
        raise ModelError("NumPy has no such dtype here", got=name, fix=fix) from error
    return rare


def is_float(name: str) -> bool:
    """Whether the dtype has fractions: 'float16', 'bfloat16', 'float8_e4m3fn', 'float64'."""
    return "float" in name
