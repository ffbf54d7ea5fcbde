"""The protocol's messages, made from the descriptors in inference.desc.

They are in a pool of their own, so that a client library with messages of the same names can be loaded beside them.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

INFERENCE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"


@lru_cache(maxsize=1)
def _pool() -> Any:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.descriptor_pool import DescriptorPool

    pool = DescriptorPool()
    data = files("framepace.openinference").joinpath("inference.desc").read_bytes()
    for file in FileDescriptorSet.FromString(data).file:
        pool.Add(file)
    return pool


@lru_cache(maxsize=256)
def message(name: str) -> Any:
    """The class of a message, such as 'ModelInferRequest'; those of the health check by their full names."""
    from google.protobuf.message_factory import GetMessageClass

    if "." not in name:
        name = f"inference.{name}"
    return GetMessageClass(_pool().FindMessageTypeByName(name))


def methods(service: str) -> list[Any]:
    """The descriptors of a service's methods."""
    return list(_pool().FindServiceByName(service).methods)
