"""What a model file of PyTorch is: its kind, inputs and outputs. An exported program is read without PyTorch."""

from __future__ import annotations

import hashlib
import os
import stat
from functools import lru_cache
from pathlib import Path

from framepace.facts.model import ModelSpec
from framepace.models.torch.file import damaged, document, open_archive, signature

SUFFIXES = (".pt2", ".pt", ".pth", ".ts", ".torchscript")


def inspect(location: str) -> ModelSpec:
    """Identity and interface of an exported program or a TorchScript file.

    Dynamic dimensions are strings. TorchScript knows neither shapes nor dtypes: its inputs have shape ('...',) and are
    taken as float32; PyTorch is needed to read it. Raises ModelError.
    """
    return _inspect(location, modified(location))


def modified(location: str) -> int:
    """When the file was last changed, ns; 0 for what is no file."""
    try:
        status = os.stat(location)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return 0
    if not stat.S_ISREG(status.st_mode):
        return 0
    return status.st_mtime_ns


@lru_cache(maxsize=64)
def _inspect(location: str, version: int) -> ModelSpec:
    archive = open_archive(location)
    nodes = None
    if archive.kind == "torchscript":
        from framepace.models.torch.script import interface

        inputs, outputs = interface(archive)
    else:
        program = document(archive)
        with damaged(location):
            inputs, outputs = signature(archive, program)
            nodes = len(program["graph_module"]["graph"]["nodes"])
    return ModelSpec(
        name=Path(location).stem,
        location=location,
        sha256=_sha256(Path(location)),
        inputs=inputs,
        outputs=outputs,
        format=archive.kind,
        nodes=nodes,
        size_bytes=Path(location).stat().st_size,
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
