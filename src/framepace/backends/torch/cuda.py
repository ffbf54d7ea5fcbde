"""PyTorch on a GPU: the module runs on the worker's stream, on the worker's own input buffers; outputs stay where made.

PyTorch's allocator keeps its blocks by stream. Outputs are freed once the request has been waited for, thus after their
copy on the other stream, and are reused on the stream that made them: no event of the allocator is needed.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from framepace.backends.base import Worker
from framepace.backends.deviceworker import DeviceWorker, Produced, Slot
from framepace.backends.torch.cudagraph import CudaGraphs
from framepace.backends.torch.session import Tensor, TorchSession, cuda_missing
from framepace.devices import cuda
from framepace.devices.protocol import Stream
from framepace.errors import BackendError, DeviceLost, FramepaceError
from framepace.facts.plan import ModelPlan
from framepace.models.torch.script import first_line
from framepace.progress import Tell

# CUDA's texts (cudaGetErrorString) of the errors after which the context is of no use.
_LOST = (
    "illegal memory access", "unspecified launch failure", "device-side assert", "misaligned address",
    "illegal instruction", "hardware stack error", "invalid program counter", "launch timed out",
    "uncorrectable ECC", "uncorrectable NVLink", "device is unavailable", "GPU is lost", "unknown error",
)  # fmt: skip


class CudaSession(TorchSession):
    """On one GPU; all workers share the weights."""

    def __init__(self, model: ModelPlan, tell: Tell) -> None:
        if (reason := cuda_missing()) is not None:
            raise BackendError("PyTorch cannot use a GPU here", got=reason, expected="CUDA", fix=_advice(reason))
        self.gpu = cuda.identity(model.device)["pci_bus_id"]
        number = cuda.ordinal(model.device)
        super().__init__(model, f"cuda:{number}", tell)
        # The weights were copied on PyTorch's stream, the workers read them on theirs.
        torch.cuda.current_stream(number).synchronize()

    def error(self, error: Exception, problem: str) -> FramepaceError:
        """See TorchSession; what the failed call held is freed, for its frames hold it as long as the error lives."""
        traceback.clear_frames(error.__traceback__)
        torch.cuda.empty_cache()
        return translate(error, problem)

    def _worker(self, index: int) -> Worker:
        device = cuda.open_device(self.plan.device, self.plan.sms, index)
        launch = _Launch(self)
        side_by_side = self.plan.stream == "slot"
        return DeviceWorker(
            device,
            self.plan,
            self.resolved,
            (),
            launch,
            capture=CudaGraphs(device, torch.device(self.device), side_by_side).capture if self.plan.graph else None,
            side_by_side=side_by_side,
            close=launch.close,
            sizes=self.batch_sizes,
            tell=self.note,
        )

    def _close(self) -> None:
        super()._close()
        torch.cuda.empty_cache()


def _advice(reason: str) -> str:
    if "without CUDA" in reason or "not compiled" in reason:
        return "install a CUDA build of PyTorch (pytorch.org/get-started), or use --set device=cpu"
    if "too old" in reason or "insufficient" in reason:
        return "install a newer NVIDIA driver, or a PyTorch built for the CUDA version that `nvidia-smi` shows"
    return "`framepace doctor` says what is missing; --set device=cpu runs without a GPU"


def translate(error: Exception, problem: str) -> FramepaceError:
    """Our error for one of PyTorch: too little memory, a lost device, or a failure."""
    if isinstance(error, FramepaceError):
        return error
    message = first_line(error)
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return cuda.translate(error, problem)
    if any(text.lower() in message.lower() for text in _LOST):
        fix = "look at `nvidia-smi` and the kernel log; start again, in a new process"
        return DeviceLost(problem, got=message, fix=fix)
    return BackendError(problem, got=message, fix=cuda.advice(message))


@dataclass(frozen=True)
class _Address:
    """Device memory as PyTorch takes it without a copy (the CUDA array interface of Numba, version 3)."""

    pointer: int
    shape: tuple[int, ...]
    dtype: str

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        kind = np.dtype(self.dtype).str
        return {"version": 3, "shape": self.shape, "typestr": kind, "data": (self.pointer, False), "stream": None}


class _Launch:
    """The launch of a worker."""

    def __init__(self, session: TorchSession) -> None:
        self._session = session
        self._resolved = session.resolved
        self._device = torch.device(session.device)
        self._streams: dict[int, Any] = {}
        self._inputs: dict[tuple[int, int], list[Tensor]] = {}

    def __call__(self, index: int, slot: Slot, count: int, stream: Stream) -> Mapping[str, Produced]:
        try:
            with torch.inference_mode(), torch.cuda.stream(self._stream(stream.handle)):
                return {name: self._produced(tensor) for name, tensor in self._run(index, slot, count)}
        except Exception as error:  # torch raises RuntimeError for most, whatever the cause
            raise translate(error, "inference failed in PyTorch") from error

    def close(self) -> None:
        """Free buffers, and what the allocator keeps for the worker's stream."""
        self._inputs.clear()
        with suppress(Exception):  # on a lost device
            torch.cuda.empty_cache()

    def _run(self, index: int, slot: Slot, count: int) -> list[tuple[str, Tensor]]:
        key = (index, count)
        if key not in self._inputs:
            self._inputs[key] = self._input_tensors(slot, count)
        return self._session.run(self._inputs[key])

    def _input_tensors(self, slot: Slot, count: int) -> list[Tensor]:
        """The slot's device buffers as tensors."""
        tensors = []
        for tensor in self._resolved.inputs:
            shape = tuple(int(d) for d in tensor.shape)
            address = _Address(slot.pointers[tensor.name], shape, tensor.dtype)
            items = torch.as_tensor(address, device=self._device)
            tensors.append(self._resolved.first(tensor.name, items, count))
        return tensors

    def _stream(self, handle: int) -> Any:
        if handle not in self._streams:
            self._streams[handle] = torch.cuda.ExternalStream(handle, device=self._device)
        return self._streams[handle]

    def _produced(self, tensor: Tensor) -> Produced:
        if tensor.device != self._device:
            fix = "export the model without fixed devices"
            raise BackendError("the model leaves an output on the CPU", got=str(tensor.device), fix=fix)
        dtype = str(tensor.dtype).removeprefix("torch.")
        return Produced(tensor.data_ptr(), tuple(tensor.shape), dtype, tensor)
