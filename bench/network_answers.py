"""The library alone on the inputs that framepace gave it: are the answers the same, and how long does it take?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from framepace.models import builtin

Arrays = Mapping[str, NDArray[Any]]
LOOP_S = 0.5
SHORTEST_RATIO_NS = 1_000_000
_RELATIVE = 2e-3
_ABSOLUTE = 1e-4


class Answers:
    """What ONNX Runtime alone says; the session is made when it is first needed."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._made: Any = None

    def differ(self, seen: Path) -> str:
        """How the answers that were seen differ from the library's own; '' where they do not."""
        runs, hooks = _read(seen)
        for inputs, outputs in runs[:2]:
            words = self._compared(inputs, outputs)
            if words:
                return words
        for number, handed in enumerate(hooks):
            if runs and not any(_equal(handed, outputs) for _, outputs in runs):
                shapes = {name: array.shape for name, array in handed.items()}
                return f"the hook was handed {shapes} at its call {number}, which the library did not give"
        return ""

    def ratio(self, document: Mapping[str, Any] | None, seen: Path) -> float | None:
        """The median latency of a run in scope model over that of a bare loop, where that takes 1 ms or more."""
        runs, _ = _read(seen)
        if document is None or not runs:
            return None
        median = document["rows"][0]["p50_ns"]
        if median is None:
            return None
        feed = runs[0][0]
        session = self._session()
        times: list[int] = []
        end = time.monotonic() + LOOP_S
        while time.monotonic() < end or len(times) < 3:
            began = time.perf_counter_ns()
            session.run(None, dict(feed))
            times.append(time.perf_counter_ns() - began)
        bare = statistics.median(times)
        if bare < SHORTEST_RATIO_NS:
            return None
        return float(median) / bare

    def _compared(self, inputs: Arrays, outputs: Arrays) -> str:
        try:
            session = self._session()
            wanted = {value.name for value in session.get_inputs()}
            if wanted != set(inputs) or not outputs:
                return ""  # something that cannot be kept in a file, such as text
            names = list(outputs)
            first = dict(zip(names, session.run(names, dict(inputs)), strict=True))
            second = dict(zip(names, session.run(names, dict(inputs)), strict=True))
        except Exception as error:  # onnxruntime's classes are not public: a variant with another input type
            return "" if "Unexpected input data type" in str(error) else f"the library alone fails: {error}"[:200]
        for name, array in outputs.items():
            if array.shape != first[name].shape:
                if first[name].shape == second[name].shape:
                    return f"{name} has shape {array.shape}, the library alone gives {first[name].shape}"
            elif _close(first[name], second[name]) and not _close(array, first[name]):
                return f"{name} differs from what the library alone gives"
        return ""

    def _session(self) -> Any:
        if self._made is None:
            source: str | bytes = self._location
            if self._location.startswith("builtin:"):
                source = builtin.model_bytes(self._location.removeprefix("builtin:"))
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 4
            self._made = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        return self._made


def _read(seen: Path) -> tuple[list[tuple[Arrays, Arrays]], list[Arrays]]:
    """Inferences as (inputs, outputs), and what the hook was handed."""
    runs: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    hooks: dict[int, dict[str, Any]] = {}
    if not seen.is_file():
        return [], []
    with np.load(seen) as arrays:
        for key in arrays.files:
            number, kind, quoted = key.split("|", 2)
            name = unquote(quoted)
            if kind == "hook":
                hooks.setdefault(int(number), {})[name] = arrays[key]
            else:
                runs.setdefault(int(number), ({}, {}))[kind == "out"][name] = arrays[key]
    return list(runs.values()), list(hooks.values())


def _close(one: NDArray[Any], other: NDArray[Any]) -> bool:
    if one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other))
    scale = float(np.nanmax(np.abs(other), initial=0.0))
    if not np.isfinite(scale):
        scale = 1.0
    return bool(np.allclose(one, other, rtol=_RELATIVE, atol=_ABSOLUTE * max(scale, 1e-3), equal_nan=True))


def _equal(handed: Arrays, outputs: Arrays) -> bool:
    """Whether a hook got all outputs of an inference as they were."""
    if set(handed) != set(outputs):
        return False
    return all(array.shape == outputs[name].shape and _close(array, outputs[name]) for name, array in handed.items())
