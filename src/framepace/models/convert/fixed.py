"""Shapes computed once: the plan's sizes put into the file, and what only computes shapes folded away.

Exporters with dynamic axes write the shapes of a reshape as nodes (Shape, Gather, Concat ...). ONNX Runtime runs those
on the CPU even on a GPU, and shape inference gives up on most of what follows. ONNX Runtime's basic optimisation folds
them once all input sizes are known; a Swin of 6,285 nodes becomes one of 593, every shape of it known.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.errors import ModelError
from framepace.interrupts import INFERENCE_S, ended_after
from framepace.models.convert.optimised import optimised_file, saved

_HOST = "--set shapes=exported"
_TOLERANCE = 1e-3  # of the largest value: sums are taken in another order

Shapes = Mapping[str, tuple[int, ...]]
Arrays = Mapping[str, NDArray[Any]]


def fix_shapes(proto: Any, shapes: Shapes) -> Any:
    """The model with inputs of these shapes, by name, and no node left that only computes shapes.

    `proto` is changed. Nodes, names of inputs and outputs and results stay; constants are folded, and normalisations
    into the convolutions before them. Raises ModelError where nothing can be folded because a node is not known.
    """
    import onnx

    _put_in(proto.graph, shapes)
    with _temporary() as folder:
        return onnx.load(optimised_file(proto, Path(folder)))


def _put_in(graph: Any, shapes: Shapes) -> None:
    for value in graph.input:
        tensor = value.type.tensor_type
        if value.name not in shapes:
            continue
        del tensor.shape.dim[:]
        for size in shapes[value.name]:
            tensor.shape.dim.add().dim_value = size
        if not shapes[value.name]:
            tensor.shape.SetInParent()  # a scalar: no dimensions, and not an unknown number of them
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]


def check_same(plain: Any, fixed: Any, inputs: Arrays, name: str) -> None:
    """Raises ModelError where the two models give different answers on `inputs`.

    A model that fails on them, or that answers differently each time, has nothing to compare.
    """
    with ended_after(3 * INFERENCE_S, f"an inference of {name}"), _temporary() as folder:
        session = _session(saved(plain, Path(folder) / "plain.onnx"))
        try:
            first = session.run(None, dict(inputs))
            second = session.run(None, dict(inputs))
        except Exception:  # ONNX Runtime's own classes; on inputs that it needs, the run itself will say so
            return
        answers = _session(saved(fixed, Path(folder) / "fixed.onnx")).run(None, dict(inputs))
    names = [output.name for output in session.get_outputs()]
    for output, one, two, answer in zip(names, first, second, answers, strict=True):
        if _close(one, two) and not _close(answer, one):
            what = f"model {name!r} gives other answers with fixed shapes"
            raise ModelError(what, got=f"output {output!r}", expected="the answers of the plain model", fix=_HOST)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="framepace-")


def _session(path: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _close(one: Any, other: Any) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return True
    if one.shape != other.shape:
        return False
    if one.dtype.kind != "f":
        return bool(np.array_equal(one, other))
    scale = float(np.nanmax(np.abs(other), initial=0.0))
    return bool(np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True))
