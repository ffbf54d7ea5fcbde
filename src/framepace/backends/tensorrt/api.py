"""Which TensorRT this is, and what it can do: the only place that distinguishes versions.

8.6 and 10 choose precision by builder flags. 11 and TensorRT-RTX build strongly typed networks: the ONNX file itself
must have the precision. 8.6 needs a preview feature for several contexts to share an optimisation profile. RTX compiles
kernels when a context is made and keeps no timings.
"""

from __future__ import annotations

import ctypes
import importlib
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from framepace.errors import UsageError, unknown

# Modules by the name people give in option.module, in the order they are looked for.
_MODULES = {"tensorrt": ("tensorrt",), "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings")}
# TensorRT's number formats as NumPy names; what is not here cannot be an input or output of ours.
_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
    "UINT8": "uint8",
}  # fmt: skip


class Words:
    """TensorRT's log: keeps its last errors and warnings for our error messages. Makes the logger of a library."""

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=8)
        self._warnings: deque[str] = deque(maxlen=32)

    def logger(self, trt: Any) -> Any:
        """An ILogger that writes here; keep it as long as what was made with it."""
        words = self
        severity = trt.ILogger

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()

            def log(self, level: Any, message: str) -> None:
                if level in (severity.INTERNAL_ERROR, severity.ERROR):
                    words.add(message)
                elif level == severity.WARNING:
                    words.warn(message)

        return Logger()

    def add(self, message: str) -> None:
        """Keep an error."""
        self._errors.append(" ".join(message.split()))

    def warn(self, message: str) -> None:
        """Keep a warning."""
        self._warnings.append(" ".join(message.split()))

    def take(self) -> str:
        """The errors since the last call, oldest first; errors and warnings are cleared."""
        errors = "; ".join(dict.fromkeys(list(self._errors)))
        self._errors.clear()
        self._warnings.clear()
        return errors or "TensorRT gave no reason"

    def warnings(self, about: str) -> tuple[str, ...]:
        """Warnings since `take` that contain these words."""
        return tuple(dict.fromkeys(text for text in list(self._warnings) if about in text))


@dataclass(frozen=True)
class Library:
    """A TensorRT: its module, its name ('tensorrt' or 'tensorrt-rtx') and version, and one logger for all of it."""

    trt: Any
    name: str
    version: str
    words: Words
    logger: Any

    @property
    def flagged(self) -> bool:
        """Whether precision is chosen by builder flags; otherwise the ONNX file decides."""
        return hasattr(self.trt.BuilderFlag, "FP16")

    @property
    def major(self) -> int:
        """The first number of the version; RTX counts on its own."""
        return int(self.version.partition(".")[0])

    @property
    def network_flags(self) -> int:
        """What a network is made with: 8.6 must be told that the batch is a dimension, later ones know nothing else."""
        flags = self.trt.NetworkDefinitionCreationFlag
        if hasattr(flags, "EXPLICIT_BATCH"):
            return 1 << int(flags.EXPLICIT_BATCH)
        return 0

    @property
    def profile_sharing(self) -> Any:
        """The preview feature with which several contexts share a profile; None where they always do (from 10 on)."""
        if self.major != 8:
            return None
        feature = getattr(self.trt, "PreviewFeature", None)
        return getattr(feature, "PROFILE_SHARING_0806", None)

    @property
    def compiles_late(self) -> bool:
        """Whether kernels are compiled when a context is made (RTX), not measured while the engine is built."""
        return self.name == "tensorrt-rtx"

    def precisions(self) -> tuple[str, ...]:
        """What this version can run: by its flags, or as the file can be converted."""
        if not self.flagged:
            return ("fp32", "fp16", "int8")
        named = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8"}
        return ("fp32", *(name for name, flag in named.items() if hasattr(self.trt.BuilderFlag, flag)))

    def dtype(self, kind: Any) -> str:
        """NumPy name of a TensorRT data type. Raises UsageError for one that NumPy does not have."""
        name = str(kind).rpartition(".")[2]
        if name not in _DTYPES:
            fix = "keep inputs and outputs in float32 or float16"
            raise UsageError("the engine has an input or output of a type that cannot be copied", got=name, fix=fix)
        return _DTYPES[name]


@lru_cache
def find_library(name: str | None = None) -> Library:
    """The installed TensorRT, or that of `name`.

    Raises ImportError (the registry names the extra), also where its shared libraries are missing; UsageError.
    """
    if name is not None and name not in _MODULES:
        raise unknown("TensorRT module", name, _MODULES)
    candidates = tuple(_MODULES)
    if name is not None:
        candidates = (name,)
    for candidate in candidates:
        module = _first(_MODULES[candidate])
        if module is not None:
            words = Words()
            return Library(module, candidate, str(module.__version__), words, words.logger(module))
    modules = [module for candidate in candidates for module in _MODULES[candidate]]
    raise ImportError(f"none of {', '.join(modules)} is installed")


def _first(modules: Iterable[str]) -> Any:
    for module in modules:
        if find_spec(module) is not None:
            try:
                _preload(module)
                return importlib.import_module(module)
            except OSError as error:  # a shared library that is missing, or of another version
                raise ImportError(f"{module} is installed, but cannot be loaded: {error}") from error
    return None


def _preload(module: str) -> None:
    """The bare bindings of RTX do not find the libraries that come in a package beside them."""
    if module != "tensorrt_rtx_bindings":
        return
    libraries = find_spec("tensorrt_rtx_libs")
    if libraries is None or libraries.origin is None:
        return
    for path in sorted(Path(libraries.origin).parent.glob("*.so*"), key=lambda p: "parser" in p.name):
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
