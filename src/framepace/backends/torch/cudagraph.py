"""CUDA graphs of PyTorch: an inference is captured once and replayed from then on."""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch

from framepace.backends.torch.session import Tensor
from framepace.devices import cuda

Outputs = list[tuple[str, Tensor]]

_WARM_UP = 3  # before a capture: libraries choose their algorithms and allocate their workspaces


@dataclass(frozen=True)
class _Captured:
    """A graph and the tensors that its replay fills; they live as long as it does."""

    graph: Any
    outputs: Outputs


class CudaGraphs:
    """The CUDA graphs of one worker: one for each (slot, count), all in one memory pool.

    The graphs are PyTorch's own, since its allocator must know of a capture. They may share a pool because a worker
    replays them one after the other, on one stream, and their outputs are all kept. They are captured on a stream that
    is used for nothing else (`capture_stream`): other workers may share that of the kernels.
    """

    def __init__(self, capture_stream: Any, device: Any) -> None:
        self._capture_stream = capture_stream
        self._device = device
        self._graphs: dict[tuple[int, int], _Captured] = {}
        self._pool = torch.cuda.graph_pool_handle()

    def replay(self, key: tuple[int, int], run: Callable[[], Outputs]) -> Outputs:
        """Launch the graph `key` on the current stream; the first time, capture it from `run`."""
        if key not in self._graphs:
            compute_stream = torch.cuda.current_stream(self._device)
            with cuda.lock_setup(), torch.cuda.stream(self._capture_stream):
                self._capture_stream.wait_stream(compute_stream)  # the inputs must have been copied
                self._graphs[key] = self._capture(run)
        captured = self._graphs[key]
        captured.graph.replay()
        return captured.outputs

    def close(self) -> None:
        """Free the graphs."""
        self._graphs.clear()

    def _capture(self, run: Callable[[], Outputs]) -> _Captured:
        for _ in range(_WARM_UP):
            run()
        torch.cuda.current_stream(self._device).synchronize()
        gc.collect()  # what is freed while capturing could break it
        graph = torch.cuda.CUDAGraph()
        graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
        try:
            outputs = run()
        except Exception:
            with suppress(Exception):  # the capture is broken; what broke it is what counts
                graph.capture_end()
            raise
        graph.capture_end()
        return _Captured(graph, outputs)
