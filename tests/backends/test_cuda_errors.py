"""CUDA's words become errors with what to do; no GPU is needed for words."""

from __future__ import annotations

import pytest

from framepace.devices.cuda import translate
from framepace.errors import BackendError, DeviceLost, DeviceMemoryError, FramepaceError


@pytest.mark.parametrize(
    ("words", "kind", "fix"),
    [
        ("CUDA failure 2: out of memory ; GPU=0", DeviceMemoryError, "smaller batch"),
        ("CUDA_ERROR_ILLEGAL_ADDRESS: an illegal address", DeviceLost, "new process"),
        ("CUDA driver version is insufficient for CUDA runtime version", BackendError, "newer NVIDIA driver"),
        ("a kernel launch error has occurred due to cluster misconfiguration", BackendError, "graph=off"),
    ],
)
def test_what_cuda_says_is_told_with_what_to_do(words: str, kind: type[FramepaceError], fix: str) -> None:
    """The kind of the error, and a fix that works."""
    error = translate(RuntimeError(words), "an inference")
    assert type(error) is kind
    assert fix in str(error.fix)
