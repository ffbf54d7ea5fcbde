"""What a loaded model takes and gives in the protocol's terms, and requests held against it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from numpy.typing import NDArray

from framepace.errors import ModelError
from framepace.facts.model import TensorSpec
from framepace.models.resolved import Resolved
from framepace.openinference.datatypes import DATATYPES
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferRequest, Input, Wanted, shape_text
from framepace.serving.sharedmemory import SharedMemory, SharedTensor


@dataclass(frozen=True)
class Tensor:
    """An input or output.

    Attributes:
        shape: of one request; -1 where the sizes of requests differ.
        axis: the batch axis, None where it has none.
        default: what is used where nothing is sent; only inputs with values in the plan have one.
        layout: of an input that takes pictures, 'nchw' or 'nhwc'.
        columns: whether it may come as [batch, 1], too, as ensembles of Triton take texts and pictures.
        labels: of an output, names of classes, where the plan or the model's file says them.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    axis: int | None = None
    default: NDArray[Any] | None = None
    layout: str = ""
    columns: bool = False
    labels: Sequence[str] = ()

    @cached_property
    def of_one(self) -> tuple[int, ...]:
        """The shape of a request of one item, whose open sizes are 1."""
        return tuple(1 if size < 0 else size for size in self.shape)


@dataclass(frozen=True)
class Interface:
    """A model's inputs and outputs.

    Attributes:
        most: items of one request at most.
        batches: whether the first axis of requests is the batch.
        platform: what runs it.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    most: int = 1
    platform: str = ""
    by_name: Mapping[str, Tensor] = field(init=False)
    outputs_by_name: Mapping[str, Tensor] = field(init=False)
    _all_wanted: Mapping[bool, Sequence[Wanted]] = field(init=False)  # as bytes, or not

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {tensor.name: tensor for tensor in self.inputs})
        object.__setattr__(self, "outputs_by_name", {tensor.name: tensor for tensor in self.outputs})
        wanted = {binary: [Wanted(tensor.name, binary) for tensor in self.outputs] for binary in (False, True)}
        object.__setattr__(self, "_all_wanted", wanted)

    @property
    def batches(self) -> bool:
        """Whether requests may have several items."""
        return self.most > 1

    def wanted(self, request: InferRequest) -> Sequence[Wanted]:
        """The outputs that are asked for. Raises RequestError for one that the model does not have."""
        if not request.outputs:
            return self._all_wanted[request.binary]
        for output in request.outputs:
            if output.name not in self.outputs_by_name:
                raise RequestError(f"unexpected inference output '{output.name}' for model '{self.name}'")
        return request.outputs

    def bound(self, request: InferRequest, memory: SharedMemory) -> tuple[dict[str, NDArray[Any] | SharedTensor], int]:
        """The arrays by the names of the inputs, and how many items they are.

        Raises RequestError for inputs that lack, that are unknown, or of another datatype or shape.
        """
        arrays: dict[str, NDArray[Any] | SharedTensor] = {}
        items: int | None = None
        for sent in request.inputs:
            tensor = self._named(sent)
            items = self._items(tensor, sent.shape, items)
            arrays[sent.name] = memory.tensor(sent, self.name) if sent.data is None else sent.data
        if len(arrays) < len(self.inputs):
            self._check_complete(arrays)
        return arrays, items or 1

    def _named(self, sent: Input) -> Tensor:
        """The input of that name and datatype."""
        tensor = self.by_name.get(sent.name)
        if tensor is None:
            raise RequestError(f"unexpected inference input '{sent.name}' for model '{self.name}'")
        if sent.datatype != tensor.datatype:
            raise RequestError(
                f"inference input '{sent.name}' data-type is '{sent.datatype}', but model '{self.name}' expects "
                f"'{tensor.datatype}'"
            )
        return tensor

    def _items(self, tensor: Tensor, shape: tuple[int, ...], items: int | None) -> int | None:
        """How many items the request has, this input included."""
        if tensor.columns and shape[1:] == (1,):
            shape = shape[:1]
        if shape == tensor.shape:
            return items
        axis = tensor.axis
        if axis is None or not _fits(shape, tensor.shape, axis):
            raise RequestError(
                f"unexpected shape for input '{tensor.name}' for model '{self.name}'. Expected "
                f"{shape_text(tensor.shape)}, got {shape_text(shape)}"
            )
        if items not in (None, shape[axis]):
            raise RequestError(f"input '{tensor.name}' batch size does not match other inputs for '{self.name}'")
        if not 1 <= shape[axis] <= self.most:
            bound = f"<= {self.most}" if shape[axis] else ">= 1"
            raise RequestError(f"inference request batch-size must be {bound} for '{self.name}'")
        return shape[axis]

    def _check_complete(self, arrays: Mapping[str, object]) -> None:
        missing = [t.name for t in self.inputs if t.name not in arrays and t.default is None]
        if missing:
            got = _names(arrays)
            raise RequestError(
                f"expected {len(self.inputs)} inputs but got {len(arrays)} inputs for model '{self.name}'. "
                f"Got input(s) {got}, but missing required input(s) {_names(missing)}. "
                "Please provide all required input(s)."
            )


def _fits(shape: tuple[int, ...], expected: tuple[int, ...], axis: int) -> bool:
    """Whether a shape is the expected one but for its batch."""
    return shape[:axis] == expected[:axis] and shape[axis + 1 :] == expected[axis + 1 :] and len(shape) > axis


def _names(names: Any) -> str:
    return "[" + ",".join(f"'{name}'" for name in names) + "]"


def interface_of(
    name: str,
    resolved: Resolved,
    outputs: Sequence[TensorSpec],
    axes: Mapping[str, int],
    most: int,
    platform: str = "",
    labels: Sequence[str] = (),
) -> Interface:
    """The interface of a model.

    Args:
        axes: the batch axes of the outputs.
        most: items in one inference.
        labels: names of the model's classes.

    Raises ModelError for a dtype that the protocol does not have.
    """
    if not _has_axes(resolved, outputs, axes):
        most = 1  # what has no batch axis cannot be divided among requests
    inputs = tuple(_input(tensor, resolved, most) for tensor in resolved.inputs)
    given = tuple(_output(tensor, axes.get(tensor.name), most, labels) for tensor in outputs)
    return Interface(name, inputs, given, most, platform)


def _has_axes(resolved: Resolved, outputs: Sequence[TensorSpec], axes: Mapping[str, int]) -> bool:
    """Whether all inputs and outputs have a batch axis."""
    return all(resolved.axis(t.name) is not None for t in resolved.inputs) and all(t.name in axes for t in outputs)


def _input(tensor: TensorSpec, resolved: Resolved, most: int) -> Tensor:
    axis = resolved.axis(tensor.name)
    shape = [int(size) for size in tensor.shape]
    if axis is not None:
        shape[axis] = -1 if most > 1 else 1
    value = resolved.values.get(tensor.name)
    default = None if value is None else value.frames[0]
    layouts = {image.name: image.layout for image in (*resolved.images, *resolved.previous) if image.time_axis is None}
    return Tensor(tensor.name, _datatype(tensor), tuple(shape), axis, default, layouts.get(tensor.name, ""))


def _output(tensor: TensorSpec, axis: int | None, most: int, labels: Sequence[str]) -> Tensor:
    shape = [size if isinstance(size, int) else -1 for size in tensor.shape]
    if axis is not None:
        shape[axis] = -1 if most > 1 else 1
    return Tensor(tensor.name, _datatype(tensor), tuple(shape), axis, labels=labels)


def _datatype(tensor: TensorSpec) -> str:
    if tensor.dtype not in DATATYPES:
        raise ModelError(
            f"tensor {tensor.name!r} has a dtype that the Open Inference Protocol does not know",
            got=tensor.dtype,
            expected=", ".join(sorted(DATATYPES)),
            fix="export the model with one of these at its inputs and outputs",
        )
    return DATATYPES[tensor.dtype]
