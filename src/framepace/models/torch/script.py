"""TorchScript: loading what models/torch/file.py let through, and what its schema says."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from framepace.errors import ModelError
from framepace.facts.model import TensorSpec
from framepace.models.torch.file import Archive, script_archive

_LOWERED = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Linear")
_RAISED = re.compile(r"(\w+\.)*\w*(Error|Exception): ")


def load(archive: Archive, device: str) -> Any:
    """The module on the device, in eval mode. Raises ModelError when PyTorch cannot load it."""
    source = script_archive(archive)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that TorchScript is deprecated
            module = torch.jit.load(source, map_location=device)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:  # torch raises RuntimeError for most, whatever the cause
        got = f"{archive.location}: {first_line(error)}"
        fix = f"save it again with torch.jit.save; PyTorch here is {torch.__version__}"
        raise ModelError("PyTorch cannot load the TorchScript file", got=got, fix=fix) from error
    module.eval()
    return module


def interface(archive: Archive) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs by the names of forward's arguments, float32 of unknown shape, and outputs y0, y1, ...

    Arguments with a default are left to it. Raises ModelError for one that is not a tensor.
    """
    schema = load(archive, "cpu").forward.schema
    arguments = [argument for argument in schema.arguments[1:] if not argument.has_default_value()]
    for argument in arguments:
        _check_tensor(argument)
    count = 1
    result = schema.returns[0].type
    if result.kind() == "TupleType":
        count = len(result.elements())
    return _unknown_tensors(argument.name for argument in arguments), _unknown_tensors(f"y{i}" for i in range(count))


def _check_tensor(argument: Any) -> None:
    if argument.type.kind() != "TensorType":
        message = f"input {argument.name!r} of the TorchScript model is not a tensor"
        raise ModelError(message, got=str(argument.type), expected="tensors", fix="wrap the model and script that")


def _unknown_tensors(names: Iterable[str]) -> tuple[TensorSpec, ...]:
    """Tensors of unknown shape, taken as float32."""
    return tuple(TensorSpec(name=name, dtype="float32", shape=("...",)) for name in names)


def leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Tensors of a result with their names: 'y0', 'y1', ... by place, or the keys of a dict."""
    if isinstance(value, torch.Tensor):
        if name[:1].isdigit():
            name = f"y{name}"
        return [(name or "y0", value)]
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
    elif isinstance(value, tuple | list):
        pairs = enumerate(value)
    return [leaf for key, item in pairs for leaf in leaves(item, f"{name}.{key}".lstrip("."))]


def lower(module: Any, dtype: Any) -> None:
    """Convert the weights that autocast would convert again in every run."""
    for part in module.modules():
        if getattr(part, "original_name", "") in _LOWERED:
            part.to(dtype)


def first_line(error: Exception) -> str:
    """PyTorch's message without its own sources; TorchScript prints it last, after the model's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    messages = [line for line in lines if _RAISED.match(line)]
    if messages and "TorchScript" in lines[0]:
        return _RAISED.sub("", messages[-1])
    return lines[0]
