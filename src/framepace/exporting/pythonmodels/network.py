"""A network for Triton's python backend: model.onnx beside this file, run by ONNX Runtime. Written by framepace export.

It needs numpy (below 2 for Triton up to 2.51) and onnxruntime in the environment of the python backend.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb

_LEVELS = {"-1": "ORT_ENABLE_BASIC", "1": "ORT_ENABLE_EXTENDED", "2": "ORT_DISABLE_ALL"}


class TritonPythonModel:
    """The requests that Triton hands over together are one inference."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the network as the configuration's parameters say."""
        config = json.loads(args["model_config"])
        self._batched = config["max_batch_size"] > 0
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        path = os.path.join(args["model_repository"], args["model_version"], "model.onnx")
        self._session = ort.InferenceSession(path, _options(config), providers=_providers(args))

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One inference for all requests, whose answers are its parts."""
        taken = [self._taken(request) for request in requests]
        if not self._batched:
            return [self._response(self._run(arrays)) for arrays in taken]
        results = self._run([np.concatenate(arrays) for arrays in zip(*taken, strict=True)])
        ends = np.cumsum([arrays[0].shape[0] for arrays in taken])[:-1]
        return [self._response(parts) for parts in zip(*(np.split(r, ends) for r in results), strict=True)]

    def _taken(self, request: Any) -> list[Any]:
        return [pb.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs]

    def _run(self, arrays: Sequence[Any]) -> Any:
        return self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)))

    def _response(self, arrays: Sequence[Any]) -> Any:
        named = zip(self._outputs, arrays, strict=True)
        return pb.InferenceResponse([pb.Tensor(name, np.ascontiguousarray(array)) for name, array in named])


def _providers(args: dict[str, str]) -> list[Any]:
    """The GPU of the instance, if it has one, before the CPU."""
    providers: list[Any] = ["CPUExecutionProvider"]
    if args["model_instance_kind"] == "GPU":
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": args["model_instance_device_id"]}))
    return providers


def _options(config: dict[str, Any]) -> Any:
    """Threads, memory and optimisation, by the names that Triton's onnxruntime backend has for them."""
    parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
    options = _limits(parameters)
    level = str(config.get("optimization", {}).get("graph", {}).get("level", 0))
    if level in _LEVELS:
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, _LEVELS[level])
    for name, value in parameters.items():
        if name.startswith("session."):
            options.add_session_config_entry(name, value)
    return options


def _limits(parameters: dict[str, str]) -> Any:
    """Threads and memory."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    options.enable_cpu_mem_arena = parameters.get("enable_mem_arena", "1") == "1"
    options.enable_mem_pattern = parameters.get("enable_mem_pattern", "1") == "1"
    if parameters.get("execution_mode") == "1":
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    return options
