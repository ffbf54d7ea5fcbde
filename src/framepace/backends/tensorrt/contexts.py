"""Execution contexts, one per worker: auxiliary streams of the worker's own; for RTX, compiled kernels are kept."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from framepace.backends.tensorrt.api import Library
from framepace.backends.tensorrt.build import Target, failed
from framepace.backends.tensorrt.engine import device_memory, no_room
from framepace.devices.protocol import Device
from framepace.errors import DeviceMemoryError, StoreError
from framepace.store import cache
from framepace.units import format_bytes


class Contexts:
    """The contexts of one engine; a worker gives its own back for the next one, and all live as long as the engine.

    In 8.6, freeing a context while another one on the same profile went on left that one with an illegal address.

    RTX compiles kernels when a context runs; what it compiled is kept in the cache, and each shape's kernels are
    compiled when it first comes (EAGER): compiling them beside measured inferences would disturb those.
    """

    def __init__(self, lib: Library, engine: Any, path: Path, target: Target) -> None:
        self._lib = lib
        self._engine = engine
        self._free: list[Any] = []
        self._kept: list[Any] = []
        self._config: Any = None
        self._compiled: Any = None
        self._name = f"compiled/{cache.key(lib.version, target, path.resolve())}.cache"
        if lib.compiles_late and hasattr(engine, "create_runtime_config"):
            self._config = self._configured(engine.create_runtime_config())

    def take(self) -> Any:
        """A context. Raises DeviceMemoryError with what one takes and what is free, or BackendError."""
        if self._free:
            return self._free.pop()
        return self._make()

    def give_back(self, context: Any, again: bool = True) -> None:
        """Keep a context for the next worker; not `again`: until the engine goes (a profiler stays on it)."""
        if again:
            self._free.append(context)
        else:
            self._kept.append(context)

    def close(self) -> None:
        """Forget all contexts."""
        self._free.clear()
        self._kept.clear()

    def _make(self) -> Any:
        self._lib.words.take()
        if self._config is None:
            context = self._engine.create_execution_context()
        else:
            context = self._engine.create_execution_context(self._config)
        if context is not None:
            return context
        error = failed(self._lib, "making an execution context")
        if isinstance(error, DeviceMemoryError):
            raise no_room("a worker", f"{format_bytes(device_memory(self._engine))} for each", error)
        raise error

    def save(self) -> None:
        """Keep what was compiled; a cache that cannot be written costs time only."""
        if self._compiled is not None:
            memory = self._compiled.serialize()
            with suppress(StoreError):
                cache.put(self._name, bytes(memory))

    def _configured(self, config: Any) -> Any:
        trt = self._lib.trt
        path = cache.folder() / self._name
        self._compiled = config.create_runtime_cache()
        if path.is_file():
            self._compiled.deserialize(path.read_bytes())  # refuses one of another driver or version, and stays empty
        config.set_runtime_cache(self._compiled)
        config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        return config


def bind_streams(engine: Any, context: Any, device: Device) -> None:
    """Auxiliary streams of the worker's own: TensorRT's would not keep to the device's share of the SMs."""
    count = int(getattr(engine, "num_aux_streams", 0))
    if count:
        context.set_aux_streams([device.stream().handle for _ in range(count)])
