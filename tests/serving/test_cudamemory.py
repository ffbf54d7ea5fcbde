"""CUDA shared memory, with a double of the driver: regions by handle, tensors in them, and where there is no GPU."""

from __future__ import annotations

import base64
import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from framepace.openinference.errors import RequestError
from framepace.serving.server import Server
from framepace.serving.sharedmemory import SharedMemory
from tests.serving.servers import Reply, add_model, ask, numbers, served

HANDLE = b"h" * 64
CUDA = "/v2/cudasharedmemory"


class Gpu:
    """A driver of one GPU, whose memory is this process's. Handles of other sizes than theirs are not there."""

    def __init__(self, size: int = 256) -> None:
        self.memory = bytearray(size)
        self.open_addresses: list[int] = []

    def open(self, handle: bytes, device: int) -> int:
        """See IpcDriver."""
        if handle != HANDLE or device != 0:
            raise RuntimeError("CUDA_ERROR_INVALID_VALUE (1)")
        self.open_addresses.append(1000)
        return 1000

    def close(self, address: int, device: int) -> None:
        """See IpcDriver."""
        self.open_addresses.remove(address)

    def size(self, address: int, device: int) -> int:
        """See IpcDriver."""
        return 1000 + len(self.memory) - address

    def read(self, address: int, into: memoryview, device: int) -> None:
        """See IpcDriver."""
        start = address - 1000
        into[:] = self.memory[start : start + len(into)]

    def write(self, address: int, data: bytes | memoryview, device: int) -> None:
        """See IpcDriver."""
        start = address - 1000
        self.memory[start : start + len(data)] = data


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    """The GPU of servers that are started now."""
    gpu = Gpu()
    monkeypatch.setattr("framepace.serving.sharedmemory.cuda_driver", lambda: gpu)
    return gpu


@pytest.fixture
def server(gpu: Gpu, tmp_path: Any) -> Iterator[Server]:
    """A server on a machine with a GPU."""
    with served(add_model(tmp_path), grpc_port=0) as running:
        yield running


def register(server: Server, name: str = "r", handle: bytes = HANDLE, device: int = 0, size: int = 64) -> Reply:
    """Register memory of the GPU."""
    document = {"raw_handle": {"b64": base64.b64encode(handle).decode()}, "device_id": device, "byte_size": size}
    return ask(server, "POST", f"{CUDA}/region/{name}/register", document)


def test_tensors_are_read_from_and_written_to_a_gpu(server: Server, gpu: Gpu) -> None:
    """Inputs and outputs in one region, each at its place."""
    gpu.memory[:16] = np.full(4, 5, np.float32).tobytes()
    assert register(server)[0] == 200
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    first = {"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], "parameters": place}
    out = {"name": "OUTPUT0", "parameters": {**place, "shared_memory_offset": 32}}
    status, answer, _ = ask(
        server, "POST", "/v2/models/simple/infer", {"inputs": [first, numbers("INPUT1", 2)], "outputs": [out]}
    )
    assert status == 200, answer
    assert answer["outputs"] == [{"name": "OUTPUT0", "datatype": "FP32", "shape": [1, 4]}]
    assert np.frombuffer(gpu.memory, np.float32)[8:12].tolist() == [7, 7, 7, 7]


def test_regions_are_listed_and_forgotten_apart_from_those_of_the_system(server: Server, gpu: Gpu) -> None:
    """A region of the one kind is none of the other; a handle is given back with its region."""
    assert register(server)[0] == 200
    listed = [{"name": "r", "device_id": 0, "byte_size": 64}]
    assert ask(server, "GET", f"{CUDA}/region/r/status")[:2] == (200, listed)
    assert ask(server, "GET", "/v2/systemsharedmemory/status")[:2] == (200, [])
    assert ask(server, "POST", "/v2/systemsharedmemory/unregister")[0] == 200
    status, answer, _ = ask(server, "POST", "/v2/systemsharedmemory/region/r/unregister")
    assert (status, answer["error"]) == (400, "shared memory region 'r' is cuda shared memory, not system")
    assert ask(server, "GET", f"{CUDA}/status")[:2] == (200, listed)
    assert ask(server, "POST", f"{CUDA}/region/r/unregister")[0] == 200
    gc.collect()
    assert gpu.open_addresses == []
    assert ask(server, "GET", f"{CUDA}/status")[:2] == (200, [])


def test_the_extension_is_named_where_there_is_a_gpu(server: Server, tmp_path: Any) -> None:
    """And only there."""
    assert "cuda_shared_memory" in ask(server, "GET", "/v2")[1]["extensions"]
    assert not SharedMemory(cuda=lambda: None).takes_cuda
    assert not SharedMemory(allowed=False, cuda=Gpu).takes_cuda


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"handle": b"short"}, "'raw_handle' has 5 bytes, expected 64"),
        ({"handle": b"x" * 64}, "unable to open its handle on GPU 0: CUDA_ERROR_INVALID_VALUE (1)"),
        ({"device": 7}, "unable to open its handle on GPU 7"),
        ({"size": 257}, "it has 256 bytes, and 257 were named"),
        ({"size": 0}, "invalid args"),
        ({"device": 1 << 40}, "invalid args"),
    ],
)
def test_what_is_no_memory_of_a_gpu_is_refused(server: Server, gpu: Gpu, asked: dict[str, Any], says: str) -> None:
    """With the reason, and nothing stays open."""
    status, answer, _ = register(server, **asked)
    assert (status, says in answer["error"]) == (400, True), answer
    gc.collect()
    assert gpu.open_addresses == []
    assert register(server)[0] == 200
    assert register(server)[1]["error"] == "shared memory region 'r' already in manager"


@pytest.mark.parametrize("handle", [None, 5, "aGVsbG8=", {}, {"b64": 5}, {"b64": "***"}, []])
def test_a_handle_that_cannot_be_read_is_told(server: Server, handle: Any) -> None:
    """Whatever stands in its place."""
    document = {"raw_handle": handle, "device_id": 0, "byte_size": 64}
    status, answer, _ = ask(server, "POST", f"{CUDA}/region/r/register", document)
    assert (status, answer["error"]) == (400, "Unable to parse 'raw_handle': expected an object with 'b64'")


def test_regions_of_a_gpu_over_grpc(server: Server) -> None:
    """The same three calls."""
    import grpc

    from framepace.openinference.protos import message

    assert server.grpc is not None
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc.port}") as channel:

        def call(verb: str, **fields: Any) -> Any:
            request = message(f"CudaSharedMemory{verb}Request")(**fields)
            method: Callable[..., Any] = channel.unary_unary(
                f"/inference.GRPCInferenceService/CudaSharedMemory{verb}",
                request_serializer=message(f"CudaSharedMemory{verb}Request").SerializeToString,
                response_deserializer=message(f"CudaSharedMemory{verb}Response").FromString,
            )
            return method(request)

        call("Register", name="g", raw_handle=HANDLE, device_id=0, byte_size=64)
        assert call("Status").regions["g"].byte_size == 64
        call("Unregister", name="g")
        assert not call("Status").regions
        with pytest.raises(grpc.RpcError) as caught:
            call("Register", name="g", raw_handle=HANDLE, device_id=-1, byte_size=64)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_without_a_gpu_it_is_said() -> None:
    """With what to do instead."""
    memory = SharedMemory(cuda=lambda: None)
    with pytest.raises(RequestError, match="this server reaches no GPU; register system shared memory") as caught:
        memory.register_cuda("r", HANDLE, 0, 64)
    assert caught.value.kind == "unsupported"
    with pytest.raises(RequestError, match="start it with --shared-memory"):
        SharedMemory(allowed=False, cuda=Gpu).register_cuda("r", HANDLE, 0, 64)
