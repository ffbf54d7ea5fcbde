"""The kernel that prepares pictures, as NVRTC takes it; no GPU is needed for that."""

from __future__ import annotations

import pytest

from framepace.devices.kernels import compile_text
from framepace.video.device.description import KERNEL, source

pytest.importorskip("cuda.core", reason="cuda-core is not installed")


@pytest.mark.parametrize("capability", ["7.5", "8.0", "9.0", "10.0"])
def test_nvrtc_compiles_it_for_every_generation(capability: str) -> None:
    """Turing to Blackwell, to machine code in which the kernel has its name."""
    try:
        code = compile_text(source(), capability)
    except Exception as error:  # of a machine without the library
        if "nvrtc" in str(error).lower() and "not" in str(error).lower():
            pytest.skip("NVRTC is not installed")
        raise
    assert KERNEL.encode() in bytes(code.code)
