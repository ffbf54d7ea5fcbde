"""Whether this machine has a GPU, and which backends can use it: what the GPU part of the suite depends on."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

import pytest


@lru_cache
def has_gpu() -> bool:
    """A CUDA device and the device layer's library."""
    try:
        from framepace.devices import cuda

        return bool(cuda.identity(None)["name"])
    except Exception:
        return False


@lru_cache
def missing(backend: str, device: str) -> str | None:
    """Why the backend cannot be tested on the device here, or None."""
    module = {"onnxruntime": "onnxruntime", "torch": "torch", "tensorrt": "tensorrt"}.get(backend)
    if module is not None and find_spec(module) is None:
        return f"{module} is not installed"
    if device == "cpu":
        return None
    if not has_gpu():
        return "no GPU"
    if backend == "onnxruntime":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return "onnxruntime without CUDA"
    if backend == "torch":
        import torch

        return None if torch.cuda.is_available() else "torch without CUDA"
    return None


gpu = pytest.mark.skipif(not has_gpu(), reason="no GPU")
