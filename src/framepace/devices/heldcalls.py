"""Functions of the CUDA driver that are called with the interpreter lock held.

The bindings let the lock go for each call (cuda_core/cuda/core/_event.pyx, cuda/bindings/driver.pyx), and each time
another worker may take it first. What the driver does in a few microseconds, without waiting for the device, keeps it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

_DRIVER = "libcuda.so.1"


def held(name: str, *arguments: type, library: Any = None) -> Callable[..., int] | None:
    """The driver's function, which returns a CUresult as an int; None where there is none.

    Args:
        arguments: ctypes types of what it takes.
        library: a driver's library to use instead of the machine's.
    """
    try:
        function = getattr(library or ctypes.PyDLL(_DRIVER), name)
    except (OSError, AttributeError):
        return None
    function.argtypes = arguments
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]
