"""CUDA shared memory on a GPU: memory that another process allocated is read and written, and given back.

It needs cuda-bindings and NumPy, and nothing of a server.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Input, Region
from framepace.serving.cudamemory import cuda_driver
from framepace.serving.sharedmemory import SharedMemory, SharedTensor

pytestmark = pytest.mark.skipif(cuda_driver() is None, reason="no GPU, or no cuda-bindings to call it with")

CLIENT = """
import ctypes
import sys
import numpy as np
from cuda.bindings import driver
def value(result):
    assert int(result[0]) == 0, result
    return result[1] if len(result) > 1 else None
value(driver.cuInit(0))
value(driver.cuCtxSetCurrent(value(driver.cuDevicePrimaryCtxRetain(value(driver.cuDeviceGet(0))))))
address = value(driver.cuMemAlloc(64))
data = np.zeros(16, np.float32)
data[:4] = 5
value(driver.cuMemcpyHtoD(address, data.ctypes.data, 64))
handle = value(driver.cuIpcGetMemHandle(address))
print(ctypes.string_at(handle.getPtr(), 64).hex(), flush=True)
for line in sys.stdin:
    value(driver.cuMemcpyDtoH(data.ctypes.data, address, 64))
    print(*data.tolist(), flush=True)
"""


@contextmanager
def client() -> Iterator[subprocess.Popen[str]]:
    """A process that holds 64 bytes of the GPU, the first four numbers 5: its first line is their handle."""
    command = [sys.executable, "-c", CLIENT]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def line_of(process: subprocess.Popen[str]) -> str:
    """Its next line."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def floats_of(process: subprocess.Popen[str]) -> list[float]:
    """What is in the memory now."""
    assert process.stdin is not None
    process.stdin.write("read\n")
    process.stdin.flush()
    return [float(text) for text in line_of(process).split()]


@contextmanager
def registered(size: int = 64) -> Iterator[tuple[SharedMemory, subprocess.Popen[str]]]:
    """The memory of another process as region 'r'."""
    with client() as process:
        memory = SharedMemory()
        memory.register_cuda("r", bytes.fromhex(line_of(process)), 0, size)
        yield memory, process
        memory.unregister("r", "cuda")


def test_an_input_in_the_memory_of_another_process_is_read() -> None:
    """All of it, and one of its items."""
    with registered() as (memory, _):
        tensor = memory.tensor(Input("x", "FP32", (2, 4), region=Region("r", 0, 32)), "model")
        assert isinstance(tensor, SharedTensor)
        whole = np.ones((2, 4), np.float32)
        tensor.read(None, 0, whole)
        assert whole.tolist() == [[5] * 4, [0] * 4]
        item = np.ones((1, 4), np.float32)
        tensor.read(0, 0, item)
        assert item.tolist() == [[5] * 4]


def test_truth_values_in_it_are_read_at_once() -> None:
    """They are looked at when the request comes, as texts are: a part that begins within."""
    with registered() as (memory, _):
        truth = memory.tensor(Input("x", "BOOL", (8,), region=Region("r", 12, 8)), "model")
        assert isinstance(truth, np.ndarray)
        assert np.array_equal(truth, [False, False, True, True, False, False, False, False])  # 5.0f is 00 00 a0 40


@pytest.mark.parametrize("kind", [bytes, memoryview])
def test_an_output_is_written_where_the_other_process_sees_it(kind: type) -> None:
    """At its place, whatever holds it."""
    with registered() as (memory, process):
        data = kind(np.full(4, 7, np.float32).tobytes())
        memory.memory(Region("r", 32, 16)).write(32, data)
        assert floats_of(process) == [5] * 4 + [0] * 4 + [7] * 4 + [0] * 4


def test_a_region_larger_than_its_memory_is_refused() -> None:
    """What the driver says of the allocation counts, not what the client names."""
    with pytest.raises(RequestError, match="were named"), registered(1 << 30):
        pass


def test_a_handle_that_is_none_is_refused() -> None:
    """In the words of the driver."""
    with pytest.raises(RequestError, match="unable to open its handle on GPU 0: CUDA_ERROR"):
        SharedMemory().register_cuda("r", bytes(64), 0, 64)
