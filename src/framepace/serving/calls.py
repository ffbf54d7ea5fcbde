"""The calls of the protocol but inference, apart from how they travel: documents in, documents out."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from framepace.openinference.errors import RequestError
from framepace.serving.interface import Interface, Tensor
from framepace.serving.model import ServedModel
from framepace.serving.repository import Repository
from framepace.serving.service import Service

EXTENSIONS = (
    "classification",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
)
_PICTURE_DIMS = 3  # beside the batch, where the configuration may say which of them are the channels


def server_metadata(service: Service) -> dict[str, Any]:
    """What the server is."""
    extensions = list(EXTENSIONS)
    if service.memory.takes_cuda:
        extensions.append("cuda_shared_memory")
    return {"name": "framepace", "version": importlib.metadata.version("framepace"), "extensions": extensions}


def model_metadata(repository: Repository, name: str, version: str) -> dict[str, Any]:
    """What a model takes and gives. Raises RequestError for one that is not there."""
    model = repository.find(name, version)
    interface = model.interface
    return {
        "name": name,
        "versions": [version] if version else repository.versions(name),
        "platform": interface.platform,
        "inputs": [_tensor(tensor) for tensor in interface.inputs],
        "outputs": [_tensor(tensor) for tensor in interface.outputs],
    }


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}


def model_config(repository: Repository, name: str, version: str) -> dict[str, Any]:
    """A model's configuration, in the terms of Triton's model_config.proto. Raises RequestError."""
    model = repository.find(name, version)
    interface = model.interface
    config = {
        "name": name,
        "platform": interface.platform,
        "backend": model.plan.models[0].backend,
        "version_policy": {"all": {}},
        "max_batch_size": 0,
        "input": [_config_input(tensor, interface) for tensor in interface.inputs],
        "output": [_config_tensor(tensor, interface) for tensor in interface.outputs],
        "instance_group": [_instances(model)],
    }
    if interface.batches:
        config |= {"max_batch_size": interface.most, "dynamic_batching": _batching(model)}
    return config


def _config_input(tensor: Tensor, interface: Interface) -> dict[str, Any]:
    config = _config_tensor(tensor, interface)
    if tensor.layout and len(config["dims"]) == _PICTURE_DIMS:
        config["format"] = f"FORMAT_{tensor.layout.upper()}"
    if tensor.default is not None:
        config["optional"] = True
    return config


def _config_tensor(tensor: Tensor, interface: Interface) -> dict[str, Any]:
    dims = list(tensor.shape)
    if interface.batches and tensor.axis is not None:
        del dims[tensor.axis]
    datatype = {"BYTES": "STRING"}.get(tensor.datatype, tensor.datatype)
    return {"name": tensor.name, "data_type": f"TYPE_{datatype}", "dims": dims}


def _instances(model: ServedModel) -> dict[str, Any]:
    device = model.plan.models[0].device or "cpu"
    kind = "KIND_CPU" if device == "cpu" else "KIND_GPU"
    return {"name": model.name, "kind": kind, "count": model.plan.engine.workers, "gpus": _gpus(device)}


def _gpus(device: str) -> list[int]:
    if device == "cpu":
        return []
    return [int(device.partition(":")[2] or 0)]


def _batching(model: ServedModel) -> dict[str, Any]:
    batch = model.plan.models[0].batch
    return {
        "preferred_batch_size": list(batch.sizes),
        "max_queue_delay_microseconds": round(batch.window_ms * 1000) if batch.policy == "window" else 0,
    }


def statistics(repository: Repository, name: str, version: str) -> dict[str, Any]:
    """What models have done: one, or all where none is named. Raises RequestError."""
    if not name:
        models = repository.all()
    elif version:
        models = [repository.find(name, version)]
    else:
        repository.find(name)
        models = [repository.find(name, each) for each in repository.versions(name)]
    return {"model_stats": [model.statistics.document(model.name, model.version) for model in models]}


def load(repository: Repository, name: str, parameters: dict[str, Any]) -> None:
    """Load a model anew from its plan. Raises RequestError, also for what is not taken from clients: files."""
    for key in parameters:
        if key == "config" or key.startswith("file:"):
            raise RequestError(
                f"failed to load '{name}', models come from the plan alone: parameter '{key}' is not taken",
                "unsupported",
            )
    repository.load(name)


def trace_settings(service: Service, name: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Which requests are recorded, after the changes; the settings are the same for all models. Raises RequestError."""
    if name:
        service.repository.find(name)
    service.trace.update(changes)
    return service.trace.document()
