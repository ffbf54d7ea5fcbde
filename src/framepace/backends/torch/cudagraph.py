"""CUDA graphs that PyTorch captures: its allocator must know of a capture, so that it alone can begin one."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch

from framepace.devices import cuda
from framepace.devices.capturing import CapturingStream, LibraryGraph
from framepace.devices.protocol import Device, Graph, Stream

_WARM_UP = 3  # before a capture: libraries choose their algorithms and allocate their workspaces


class CudaGraphs:
    """Captures for one worker, all in one memory pool.

    They may share it because the kernels of a worker run one after the other, and their outputs are all kept. They are
    captured on a stream that is used for nothing else: other workers may share that of the kernels.

    Args:
        apart: they may run side by side, so that each has a pool of its own, and a stream, by which cuBLAS keeps its
            workspace (aten/src/ATen/cuda/CublasHandlePool.cpp).
    """

    def __init__(self, device: Device, torch_device: Any, apart: bool = False) -> None:
        self._device = device
        self._torch_device = torch_device
        self._apart = apart
        self._take_stream()

    def _take_stream(self) -> None:
        self._stream = self._device.stream()
        self._own_stream = torch.cuda.ExternalStream(self._stream.handle, device=self._torch_device)
        self._pool = torch.cuda.graph_pool_handle()
        self._captures = 0

    def capture(self, work: Callable[[Stream], object]) -> Graph:
        """See requestgraphs.Capture; the work is run a few times before."""
        if self._apart and self._captures:
            self._take_stream()
        self._captures += 1
        with cuda.lock_setup(), torch.cuda.stream(self._own_stream):
            for _ in range(_WARM_UP):
                work(self._stream)
            self._own_stream.synchronize()
            with _uncollected():
                return self._captured(work)

    def _captured(self, work: Callable[[Stream], object]) -> Graph:
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            work(CapturingStream(self._stream.handle))
        except BaseException:
            self._pool = torch.cuda.graph_pool_handle()  # that of the broken capture may be of no use any more
            with suppress(Exception):  # the capture is broken; what broke it is what counts
                graph.capture_end()
            raise
        graph.capture_end()
        if not hasattr(graph, "raw_cuda_graph_exec"):  # PyTorch 2.9 and before
            return _Replayed(graph)
        # Launched by its handle: `replay` needs PyTorch's current stream, which takes longer to set than the launch.
        return LibraryGraph(int(graph.raw_cuda_graph_exec()), graph.reset)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection: what it frees while capturing could break the capture.

    To collect before each capture, as torch.cuda.graph does, took half a second each on a host with PyTorch's objects,
    and leaves what other threads make meanwhile.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Replayed:
    """See Graph: launched by PyTorch."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def launch(self, stream: Stream) -> None:
        """See Graph."""
        with torch.cuda.stream(torch.cuda.ExternalStream(stream.handle)):
            self._graph.replay()

    def close(self) -> None:
        """See Graph."""
        self._graph.reset()
