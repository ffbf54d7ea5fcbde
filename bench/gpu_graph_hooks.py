"""Hooks for bench/gpu_graph.py: two that do nothing, and two that poison the process that runs the model."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

AT = 5  # the frame

_STRAY = 'extern "C" __global__ void stray(long long* nowhere) { nowhere[0] = 1; }'


def ignore(model: str, outputs: Mapping[str, Any], frame: int) -> None:
    """Do nothing."""


ignore_too = ignore


def abort(model: str, outputs: Mapping[str, Any], frame: int) -> None:
    """End the process as native code does that meets what it cannot go on from."""
    if frame == AT:
        os.abort()


def stray(model: str, outputs: Mapping[str, Any], frame: int) -> None:
    """Write where no memory is: every later call of CUDA in this process fails."""
    if frame != AT:
        return
    import numpy as np
    from cuda.core import Device, LaunchConfig, Program, ProgramOptions, launch

    options = ProgramOptions(std="c++17", arch=f"sm_{Device().arch}")
    kernel = Program(_STRAY, "c++", options=options).compile("cubin").get_kernel("stray")
    launch(Device().create_stream(), LaunchConfig(grid=1, block=1), kernel, np.int64(8))  # the next inference meets it
