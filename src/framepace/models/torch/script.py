"""TorchScript: loading what exec/torchfile.py let through, and what its schema says."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
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

    Arguments with a default are left to it. Raises ModelError for one that is no tensor.
    """
    schema = load(archive, "cpu").forward.schema
    arguments = [argument for argument in schema.arguments[1:] if not argument.has_default_value()]
    for argument in arguments:
        if argument.type.kind() != "TensorType":
            what = f"input {argument.name!r} of the TorchScript model is no tensor"
            raise ModelError(what, got=str(argument.type), expected="tensors", fix="wrap the model and script that")
    returned = schema.returns[0].type
    count = len(returned.elements()) if returned.kind() == "TupleType" else 1
    names = ([argument.name for argument in arguments], [f"y{i}" for i in range(count)])
    made = (tuple(TensorSpec(name=name, dtype="float32", shape=("...",)) for name in part) for part in names)
    return next(made), next(made)


def leaves(value: Any, name: str = "") -> list[tuple[str, Any]]:
    """Tensors of a result with their names: 'y0', 'y1', ... by place, or the keys of a dict."""
    if isinstance(value, torch.Tensor):
        return [(f"y{name}" if name[:1].isdigit() else name or "y0", value)]
    pairs = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, tuple | list) else ()
    return [leaf for key, item in pairs for leaf in leaves(item, f"{name}.{key}" if name else str(key))]


def lower(module: Any, dtype: Any) -> None:
    """Convert the weights that autocast would convert again in every run."""
    for part in module.modules():
        if getattr(part, "original_name", "") in _LOWERED:
            part.to(dtype)


def first_line(error: Exception) -> str:
    """What PyTorch says before it goes on about its own sources; TorchScript says it last, after the model's code."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if _RAISED.match(line)] if lines[:1] and "TorchScript" in lines[0] else []
    return _RAISED.sub("", said[-1]) if said else (lines or [type(error).__name__])[0]
