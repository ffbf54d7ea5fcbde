"""Kernels compiled at run time by NVRTC, through cuda-core."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

from framepace.devices.capturing import check
from framepace.devices.protocol import Stream
from framepace.errors import BackendError

_LEGACY = 1  # CU_STREAM_LEGACY: the default stream of a context, on which FFmpeg's decoder works


class CudaKernel:
    """See protocol.Kernel."""

    def __init__(self, core: Any) -> None:
        from cuda.bindings import driver

        self._core = core  # which keeps the code loaded
        self._function = driver.CUfunction(int(core.handle))
        self._driver = driver

    def launch(
        self, grid: tuple[int, int, int], block: tuple[int, int, int], argument: ctypes.Structure, stream: Stream
    ) -> None:
        """See Kernel."""
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(argument))
        address = ctypes.addressof(pointers)
        check(self._driver.cuLaunchKernel(self._function, *grid, *block, 0, stream.handle, address, 0))


@lru_cache
def compiled(text: str, name: str, capability: str) -> CudaKernel:
    """The kernel called `name` of a text in CUDA C++, for a compute capability ('9.0'); compiled once in a process.

    Raises BackendError where NVRTC is missing or refuses the text.
    """
    try:
        code = compile_text(text, capability)
        return CudaKernel(code.get_kernel(name))
    except Exception as error:  # of the loader, of NVRTC, of the driver: cuda-core raises several kinds
        words = " ".join(str(error).split())
        fix = "pip install nvidia-cuda-nvrtc, or --set prepare-place=host"
        raise BackendError("the kernel that prepares pictures cannot be compiled", got=words, fix=fix) from error


def compile_text(text: str, capability: str) -> Any:
    """The machine code of a text in CUDA C++. Raises what cuda-core does."""
    from cuda.core import Program, ProgramOptions

    options = ProgramOptions(arch=f"sm_{capability.replace('.', '')}", std="c++17")
    return Program(text, "c++", options).compile("cubin")


def await_decoder(stream: Stream, event: Any) -> None:
    """Let `stream` wait for what was decoded so far; `event` is taken for it."""
    from cuda.bindings import driver

    check(driver.cuEventRecord(event.handle, _LEGACY))
    stream.wait(event)
