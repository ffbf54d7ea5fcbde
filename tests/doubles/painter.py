"""The kernel that prepares pictures, compiled for the host: the same text, one pixel after the other."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from framepace.video.device.description import CPictures


@lru_cache(maxsize=1)
def _library(text: str) -> Any:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler is here to run the kernel with")
    with tempfile.TemporaryDirectory(prefix="framepace-") as folder:
        source = Path(folder) / "paint.c"
        source.write_text(text, encoding="utf-8")
        shared = Path(folder) / "paint.so"
        command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(shared), str(source), "-lm"]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(shared))


def paint(text: str, argument: ctypes.Structure, count: int) -> None:
    """Run the kernel of that text for the first `count` pictures of its argument."""
    _library(text).paint(ctypes.byref(argument), count)


class HostKernel:
    """See devices.protocol.Kernel: it runs when its stream comes there."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.launches: list[int] = []

    def launch(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], argument: ctypes.Structure, stream: Any
    ) -> None:
        """See Kernel."""
        copied = CPictures.from_buffer_copy(argument)
        self.launches.append(grid[2])
        stream.run(0, lambda: paint(self._text, copied, grid[2]))
