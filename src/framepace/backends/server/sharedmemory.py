"""System shared memory between client and server: one region per worker for its inputs, one for its outputs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import count
from multiprocessing.shared_memory import SharedMemory
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from framepace.backends.fixedoutputs import fixed_outputs
from framepace.errors import UsageError
from framepace.facts.model import TensorSpec
from framepace.models.dtypes import dtype_of
from framepace.models.served import BATCH
from framepace.models.spec import Resolved
from framepace.openinference.client.remote import RemoteModel
from framepace.openinference.messages import Region

_ALIGNED = 64
_INSTEAD = "--set option.shared_memory=false sends tensors in the request"
_numbers = count()


class SharedTensors:
    """The tensors of one worker in memory that it shares with the server; a context manager.

    Attributes:
        inputs: arrays by input name, to be filled.
        outputs: the bytes of each output, by name.

    Outputs without a fixed size (texts, open shapes) come in the answer: nobody knows how much room they need.
    Raises UsageError for inputs of texts, BackendError where the server refuses.

    Args:
        outputs: as the server describes them.
    """

    def __init__(self, remote: RemoteModel, resolved: Resolved, outputs: Sequence[TensorSpec], batch: int) -> None:
        self._remote = remote
        self._open = ExitStack()
        self._resolved = resolved
        self._names_out = [tensor.name for tensor in outputs]
        self._sizes_out = {tensor.name: _size(tensor) for tensor in _fixed(outputs, batch)}
        self._sizes_in = {tensor.name: _size(tensor) for tensor in resolved.inputs}
        self.inputs: Mapping[str, NDArray[Any]] = {}
        self.outputs: Mapping[str, NDArray[Any]] = {}

    def __enter__(self) -> SharedTensors:
        try:
            places_in, regions_in = self._region(self._sizes_in)
            self.outputs, regions_out = self._region(self._sizes_out)
        except BaseException:
            self._open.close()
            raise
        shapes = {t.name: (dtype_of(t.dtype), self._resolved.shapes[t.name]) for t in self._resolved.inputs}
        self.inputs = {name: places_in[name].view(dtype).reshape(shape) for name, (dtype, shape) in shapes.items()}
        self._remote.share(regions_in, {name: regions_out.get(name) for name in self._names_out})
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.inputs = {}
        self.outputs = {}
        self._open.close()

    def _region(self, sizes: Mapping[str, int]) -> tuple[dict[str, NDArray[np.uint8]], dict[str, Region]]:
        """A registered region with room for tensors of these sizes: their bytes, and where each lies."""
        ends = np.cumsum([-(-size // _ALIGNED) * _ALIGNED for size in sizes.values()]).tolist()
        memory = SharedMemory(create=True, size=max([_ALIGNED, *ends]))
        self._open.callback(_free, memory)
        name = self._registered(memory)
        whole: NDArray[np.uint8] = np.ndarray(memory.size, np.uint8, memory.buf)
        starts = dict(zip(sizes, [0, *ends], strict=False))
        arrays = {tensor: whole[starts[tensor] :][:size] for tensor, size in sizes.items()}
        return arrays, {tensor: Region(name, starts[tensor], size) for tensor, size in sizes.items()}

    def _registered(self, memory: SharedMemory) -> str:
        """The name under which the server knows the memory."""
        name = f"framepace_{os.getpid()}_{next(_numbers)}"
        self._remote.register(name, f"/{memory.name.lstrip('/')}", memory.size)
        self._open.callback(self._remote.unregister, name)
        return name


def _fixed(outputs: Sequence[TensorSpec], batch: int) -> Iterator[TensorSpec]:
    """The outputs whose size is known, in batches of `batch`."""
    for tensor, fixed in zip(outputs, fixed_outputs(outputs, batch), strict=True):
        is_open = any(size != BATCH and not isinstance(size, int) for size in tensor.shape)
        if not is_open and tensor.dtype != "object":
            yield fixed


def _free(memory: SharedMemory) -> None:
    memory.unlink()
    try:
        memory.close()
    except BufferError:  # somebody keeps an output; the memory goes with it
        memory._buf = None  # type: ignore[attr-defined]  # or __del__ complains


def _size(tensor: TensorSpec) -> int:
    """The bytes of a tensor. Raises UsageError where that is not fixed."""
    if tensor.dtype == "object":
        raise UsageError("texts do not lie in shared memory", got=tensor.name, fix=_INSTEAD)
    if not all(isinstance(size, int) for size in tensor.shape):
        raise UsageError("a tensor without a fixed size does not lie in shared memory", got=tensor.name, fix=_INSTEAD)
    return int(np.prod([int(size) for size in tensor.shape])) * dtype_of(tensor.dtype).itemsize
