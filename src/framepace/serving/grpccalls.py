"""The calls of the protocol over gRPC but inference: messages in, messages out, by the same documents as over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from framepace.openinference.errors import RequestError
from framepace.openinference.grpccodec import parameters_of
from framepace.serving import calls
from framepace.serving.service import Service

GrpcCall = Callable[[Service, Any], dict[str, Any]]
"""A call: what it returns are the fields of its response."""


def _live(service: Service, request: Any) -> dict[str, Any]:
    return {"live": True}


def _ready(service: Service, request: Any) -> dict[str, Any]:
    return {"ready": service.repository.ready}


def _model_ready(service: Service, request: Any) -> dict[str, Any]:
    try:
        return {"ready": service.repository.is_ready(request.name, request.version)}
    except RequestError:
        return {"ready": False}


def _server(service: Service, request: Any) -> dict[str, Any]:
    return calls.server_metadata(service)


def _metadata(service: Service, request: Any) -> dict[str, Any]:
    return calls.model_metadata(service.repository, request.name, request.version)


def _config(service: Service, request: Any) -> dict[str, Any]:
    return {"config": calls.model_config(service.repository, request.name, request.version)}


def _statistics(service: Service, request: Any) -> dict[str, Any]:
    return calls.statistics(service.repository, request.name, request.version)


def _index(service: Service, request: Any) -> dict[str, Any]:
    return {"models": service.repository.index(request.ready)}


def _load(service: Service, request: Any) -> dict[str, Any]:
    calls.load(service.repository, request.model_name, parameters_of(request.parameters))
    return {}


def _unload(service: Service, request: Any) -> dict[str, Any]:
    service.repository.unload(request.model_name)
    return {}


def _memory_status(service: Service, request: Any) -> dict[str, Any]:
    return {"regions": {region["name"]: region for region in service.memory.status(request.name)}}


def _memory_register(service: Service, request: Any) -> dict[str, Any]:
    service.memory.register(request.name, request.key, request.offset, request.byte_size)
    return {}


def _memory_unregister(service: Service, request: Any) -> dict[str, Any]:
    service.memory.unregister(request.name)
    return {}


def _cuda_status(service: Service, request: Any) -> dict[str, Any]:
    return {"regions": {region["name"]: region for region in service.memory.status(request.name, "cuda")}}


def _cuda_register(service: Service, request: Any) -> dict[str, Any]:
    service.memory.register_cuda(request.name, request.raw_handle, request.device_id, request.byte_size)
    return {}


def _cuda_unregister(service: Service, request: Any) -> dict[str, Any]:
    service.memory.unregister(request.name, "cuda")
    return {}


def _trace(service: Service, request: Any) -> dict[str, Any]:
    changes = {name: list(setting.value) or None for name, setting in request.settings.items()}
    settings = calls.trace_settings(service, request.model_name, changes)
    listed = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    return {"settings": {name: {"value": values} for name, values in listed.items()}}


def _logging(service: Service, request: Any) -> dict[str, Any]:
    service.log.update(parameters_of(request.settings))
    fields = {bool: "bool_param", int: "uint32_param", str: "string_param"}
    settings = service.log.document().items()
    return {"settings": {name: {fields[type(value)]: value} for name, value in settings}}


CALLS: Mapping[str, GrpcCall] = {
    "ServerLive": _live,
    "ServerReady": _ready,
    "ModelReady": _model_ready,
    "ServerMetadata": _server,
    "ModelMetadata": _metadata,
    "ModelConfig": _config,
    "ModelStatistics": _statistics,
    "RepositoryIndex": _index,
    "RepositoryModelLoad": _load,
    "RepositoryModelUnload": _unload,
    "TraceSetting": _trace,
    "LogSettings": _logging,
    "SystemSharedMemoryStatus": _memory_status,
    "SystemSharedMemoryRegister": _memory_register,
    "SystemSharedMemoryUnregister": _memory_unregister,
    "CudaSharedMemoryStatus": _cuda_status,
    "CudaSharedMemoryRegister": _cuda_register,
    "CudaSharedMemoryUnregister": _cuda_unregister,
}
"""Every call, by its name in inference.proto."""
