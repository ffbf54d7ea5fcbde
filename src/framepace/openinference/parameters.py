"""Parameters of requests, inputs and outputs: their types, and what the known ones mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Region, Wanted

_RESERVED = "triton_"


def flag(parameters: Mapping[str, Any], name: str) -> bool:
    """A truth value; False where it is not given. Raises RequestError for anything else."""
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise RequestError(f"Unable to parse '{name}'")
    return value


def whole(parameters: Mapping[str, Any], name: str, default: int = 0) -> int:
    """A whole number from 0 on. Raises RequestError for anything else."""
    value = parameters.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise RequestError(f"Unable to parse '{name}'")
    return value


def region_of(parameters: Mapping[str, Any]) -> Region | None:
    """The part of a shared memory region that is named, if one is."""
    if "shared_memory_region" not in parameters:
        return None
    name = parameters["shared_memory_region"]
    if not isinstance(name, str):
        raise RequestError("Unable to parse 'shared_memory_region'")
    size = whole(parameters, "shared_memory_byte_size", default=-1)  # which it does not take: it has to be given
    return Region(name, whole(parameters, "shared_memory_offset"), size)


def wanted(name: str, parameters: Mapping[str, Any], binary: bool) -> Wanted:
    """An output that was asked for; `binary` is what the request says of all of them."""
    region = region_of(parameters)
    classes = whole(parameters, "classification")
    if "binary_data" in parameters:
        binary = flag(parameters, "binary_data")
        if region is not None and binary:
            raise RequestError("Output can't set both 'shared_memory_region' and 'binary_data'")
    if region is not None and "classification" in parameters:
        raise RequestError("Output can't set both 'shared_memory_region' and 'classification'")
    return Wanted(name, binary, region, classes)


def check_custom(parameters: Mapping[str, Any]) -> None:
    """Raise RequestError for parameters of a request that are no simple values, or whose names are reserved."""
    for name, value in parameters.items():
        if not isinstance(value, bool | int | float | str):
            raise RequestError(f"request parameter '{name}' must be a number, a text or a truth value")
        if name.startswith(_RESERVED) and name != "triton_enable_empty_final_response":
            reserved = f"parameter keys starting with '{_RESERVED}' are reserved for Triton usage"
            raise RequestError(f"{reserved} and should not be specified: '{name}'")
