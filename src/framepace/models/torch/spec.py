"""What a model file of PyTorch is: its kind, inputs and outputs. An exported program is read without PyTorch."""

from __future__ import annotations

import hashlib
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
    path = Path(location)
    return _inspect(location, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=64)
def _inspect(location: str, modified: int) -> ModelSpec:
    archive = open_archive(location)
    nodes = None
    if archive.kind == "torchscript":
        from framepace.models.torch import script as torchscript

        inputs, outputs = torchscript.interface(archive)
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
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
