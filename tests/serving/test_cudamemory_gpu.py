"""CUDA shared memory on a GPU: memory that another process allocated is read and written by the server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.gpus import gpu
from tests.serving.servers import add_model, ask, numbers, served
from tests.serving.test_cudamemory import register

pytestmark = gpu

CLIENT = """
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
print(bytes(value(driver.cuIpcGetMemHandle(address)).reserved).hex(), flush=True)
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


def test_a_server_reads_and_writes_the_memory_of_another_process(tmp_path: Path) -> None:
    """An input from the region and an output into it, then the region is given back."""
    pytest.importorskip("cuda.bindings")
    with client() as process, served(add_model(tmp_path)) as server:
        handle = bytes.fromhex(line_of(process))
        assert register(server, handle=handle)[0] == 200
        place: dict[str, Any] = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
        first = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], "parameters": place}
        out = {"name": "OUTPUT0", "parameters": {**place, "shared_memory_offset": 32}}
        inputs = [first, numbers("INPUT1", 2)]
        status, answer, _ = ask(server, "POST", "/v2/models/simple/infer", {"inputs": inputs, "outputs": [out]})
        assert status == 200, answer
        assert floats_of(process)[8:12] == [7, 7, 7, 7]
        assert ask(server, "POST", "/v2/cudasharedmemory/region/r/unregister")[0] == 200


def test_a_region_larger_than_its_memory_is_refused(tmp_path: Path) -> None:
    """What the driver says of the allocation counts, not what the client names."""
    pytest.importorskip("cuda.bindings")
    with client() as process, served(add_model(tmp_path)) as server:
        status, answer, _ = register(server, handle=bytes.fromhex(line_of(process)), size=1 << 30)
        assert (status, "were named" in answer["error"]) == (400, True), answer


def test_memory_is_copied_by_the_driver_into_what_numpy_holds(tmp_path: Path) -> None:
    """An answer that is not placed anywhere comes from an input of the GPU as from any other."""
    pytest.importorskip("cuda.bindings")
    with client() as process, served(add_model(tmp_path)) as server:
        assert register(server, handle=bytes.fromhex(line_of(process)))[0] == 200
        place = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
        first = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], "parameters": place}
        inputs = [first, numbers("INPUT1", 2)]
        answer = ask(server, "POST", "/v2/models/simple/infer", {"inputs": inputs})[1]
        sums = next(output for output in answer["outputs"] if output["name"] == "OUTPUT0")
        assert np.array_equal(sums["data"], [7, 7, 7, 7])
