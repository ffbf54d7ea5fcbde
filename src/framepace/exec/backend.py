"""Deprecated name of `framepace.backends.base`, for plug-ins written against it. The next release removes it."""

from __future__ import annotations

import warnings

from framepace.backends.base import (
    GROUP,
    Backend,
    DeviceTimes,
    Session,
    Tensors,
    Worker,
    backend_names,
    get_backend,
    padded,
    register,
    run_sizes,
)
from framepace.progress import Tell, silent

__all__ = [
    "GROUP",
    "Backend",
    "DeviceTimes",
    "Session",
    "Tell",
    "Tensors",
    "Worker",
    "backend_names",
    "get_backend",
    "padded",
    "register",
    "run_sizes",
    "silent",
]

warnings.warn(
    "framepace.exec.backend is now framepace.backends.base (Tell and silent: framepace.progress); "
    "the old name goes with the next release",
    DeprecationWarning,
    stacklevel=2,
)
