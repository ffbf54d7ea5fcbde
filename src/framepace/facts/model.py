"""The model: identity, inputs, outputs and layers."""

from __future__ import annotations

from framepace.facts.base import Fact


class TensorSpec(Fact, frozen=True, kw_only=True):
    """One input or output tensor.

    `shape` holds an int for a fixed dimension and a str (the symbol, or '?') for a dynamic one; `dtype` is the NumPy
    name ('float32', 'uint8', 'int64').
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


class ModelSpec(Fact, frozen=True, kw_only=True):
    """Identity and interface of a model file; `sha256` is over the file's bytes."""

    name: str
    location: str
    sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    format: str = "onnx"
    opset: int | None = None
    nodes: int | None = None
    size_bytes: int | None = None


class Layer(Fact, frozen=True, kw_only=True):
    """One layer as the library runs it: median time in ns alone, its kind, number format and where it runs.

    `nodes` names the operators of the model file that were fused into it, where the library says. So it is with the
    tensors that it reads and writes (`inputs` and `outputs`, by the library's names; weights are left out), the `shape`
    of its first output, its operations (`flops`) and the bytes that it moves, weights included.
    """

    name: str
    time: float | None = None
    kind: str = ""
    precision: str = ""
    place: str = ""
    nodes: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()
    flops: float | None = None
    bytes: int | None = None
