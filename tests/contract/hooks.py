"""Hooks for runs whose models may be in processes of their own: what they see goes to the file that TOLD names."""

from __future__ import annotations

import ctypes
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLD = "FRAMEPACE_TEST_TOLD"
DIES_AT = 5


def tell(model: str, outputs: Mapping[str, NDArray[Any]], frame: int) -> None:
    """Append the model, the frame and a digest of the outputs."""
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(outputs[name]).tobytes() for name in sorted(outputs)))
    with Path(os.environ[TOLD]).open("a") as file:
        file.write(f"{model} {frame} {digest.hexdigest()}\n")


def die(model: str, outputs: Mapping[str, NDArray[Any]], frame: int) -> None:
    """End the process that runs model 'b', without a word."""
    if model == "b" and frame == DIES_AT:
        os._exit(7)


def ignore(model: str, outputs: Mapping[str, NDArray[Any]], frame: int) -> None:
    """Do nothing."""


def abort(model: str, outputs: Mapping[str, NDArray[Any]], frame: int) -> None:
    """End the process as native code does that meets what it cannot go on from."""
    if frame == DIES_AT:
        os.abort()


def told(path: Path) -> dict[tuple[str, int], str]:
    """Digests by (model, frame); each came once."""
    lines = [line.split() for line in path.read_text().splitlines()]
    found = {(model, int(frame)): digest for model, frame, digest in lines}
    assert len(found) == len(lines)
    return found


def hold(model: str, outputs: Mapping[str, NDArray[Any]], frame: int) -> None:
    """Keep the interpreter lock for 10 ms without using a core, as a C extension can that does not let it go."""
    ctypes.PyDLL(None).usleep(10_000)
