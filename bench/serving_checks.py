"""Clients that know the right answer, by each way into a server; and clients that go away in mid-request."""

from __future__ import annotations

import http.client
import json
import mmap
import os
import socket
import struct
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from framepace.openinference.protos import INFERENCE, message

Array = NDArray[np.float32]
Way = Callable[[int], Array]
"""Asks for the answer to a picture, by its number."""
PICTURES = 8
PATH = "/v2/models/m/infer"
SHAPE = [1, 3, 160, 160]
ANSWER_BYTES = 400
_LENGTH = "Inference-Header-Content-Length"
_APART = 0.01  # answers to two pictures, at least; what is compared is far closer
_TIMEOUT_S = 30
_CLIENT = {"framepace-client": "checks"}  # so that it has its turn, however many requests wrk has waiting


def grpc_module() -> Any:
    """grpcio, where it is installed."""
    try:
        import grpc
    except ImportError:
        return None
    return grpc


def right_answers(model: bytes, seed: int) -> tuple[Sequence[Array], Sequence[Array]]:
    """Pictures, and what the runtime alone makes of each."""
    session = onnxruntime.InferenceSession(model)
    draw = np.random.default_rng(seed)
    # Two decimals: the JSON of a picture is half as long.
    pictures = [(draw.normal(size=SHAPE) * (1 + n / 4)).round(2).astype(np.float32) for n in range(PICTURES)]
    answers = [session.run(None, {"images": picture})[0] for picture in pictures]
    between = [np.abs(one - other).max() for n, one in enumerate(answers) for other in answers[:n]]
    assert min(between) > _APART, "two pictures have one answer: a wrong one would not be seen"
    return pictures, answers


def is_right(got: Array, right: Array) -> bool:
    """Whether an answer is that of the runtime alone; in a batch its last digits differ."""
    return got.shape == right.shape and bool(np.allclose(got, right, rtol=1e-3, atol=1e-6))


class Http:
    """JSON and binary tensors, over one connection that stays."""

    def __init__(self, port: int, pictures: Sequence[Array]) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_S)
        self._texts = [_document({"data": picture.ravel().tolist()}) for picture in pictures]
        self._pictures = [picture.tobytes() for picture in pictures]
        size = {"parameters": {"binary_data_size": len(self._pictures[0])}}
        self._head = _document(size, outputs=[{"name": "y0", "parameters": {"binary_data": True}}])

    def json(self, number: int) -> Array:
        """Numbers as text, there and back."""
        (output,) = json.loads(self._asked(self._texts[number])[1])["outputs"]
        return np.array(output["data"], np.float32).reshape(output["shape"])

    def binary(self, number: int) -> Array:
        """Bytes behind the JSON, there and back."""
        response, body = self._asked(self._head + self._pictures[number], {_LENGTH: str(len(self._head))})
        length = int(response.headers[_LENGTH])
        (output,) = json.loads(body[:length])["outputs"]
        return np.frombuffer(body[length:], np.float32).reshape(output["shape"])

    def _asked(self, body: bytes, headers: dict[str, str] | None = None) -> tuple[http.client.HTTPResponse, bytes]:
        return asked(self.connection, "POST", PATH, body, headers)


def asked(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> tuple[http.client.HTTPResponse, bytes]:
    """A request and its answer. Raises OSError for one that is not 200."""
    try:
        connection.request(method, path, body, {**_CLIENT, **(headers or {})})
        response = connection.getresponse()
        data = response.read()
    except BaseException:
        connection.close()  # the next one has a new connection
        raise
    if response.status != 200:
        raise OSError(f"{response.status} for {path}: {data[:200].decode(errors='replace')}")
    return response, data


def _document(tensor: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"inputs": [{"name": "images", "datatype": "FP32", "shape": SHAPE, **tensor}], **more}).encode()


class Grpc:
    """Raw contents, over one channel that stays."""

    def __init__(self, channel: Any, pictures: Sequence[Array]) -> None:
        self._call = channel.unary_unary(f"/{INFERENCE}/ModelInfer")
        self._requests = [_message(picture) for picture in pictures]

    def infer(self, number: int) -> Array:
        """One call."""
        data = self._call(self._requests[number], timeout=_TIMEOUT_S, metadata=tuple(_CLIENT.items()))
        answer = message("ModelInferResponse").FromString(data)
        return np.frombuffer(answer.raw_output_contents[0], np.float32).reshape(list(answer.outputs[0].shape))

    def cancel(self) -> None:
        """A call of which the client thinks better."""
        self._call.future(self._requests[0], timeout=_TIMEOUT_S).cancel()


def _message(picture: Array) -> bytes:
    made = message("ModelInferRequest")(model_name="m")
    made.inputs.add(name="images", datatype="FP32", shape=SHAPE)
    made.raw_input_contents.append(picture.tobytes())
    data: bytes = made.SerializeToString()
    return data


class Shared:
    """Registered system shared memory, the picture and behind it the answer."""

    def __init__(self, connection: http.client.HTTPConnection, area: mmap.mmap, pictures: Sequence[Array]) -> None:
        self._connection = connection
        self._area = area
        self._pictures = [picture.tobytes() for picture in pictures]
        size = len(self._pictures[0])
        picture = {"shared_memory_region": "checks", "shared_memory_byte_size": size}
        answer = {"shared_memory_region": "checks", "shared_memory_byte_size": ANSWER_BYTES}
        outputs = [{"name": "y0", "parameters": {**answer, "shared_memory_offset": size}}]
        self._body = _document({"parameters": picture}, outputs=outputs)
        self._size = size

    def infer(self, number: int) -> Array:
        """No tensor goes through the connection."""
        self._area[:] = self._pictures[number] + b"\xff" * ANSWER_BYTES  # NaN, until it is answered
        (output,) = json.loads(asked(self._connection, "POST", PATH, self._body)[1])["outputs"]
        return np.frombuffer(self._area[self._size :], np.float32).reshape(output["shape"])


@contextmanager
def ways(port: int, grpc_port: int, pictures: Sequence[Array]) -> Iterator[dict[str, Way]]:
    """Each way to ask, over connections that are open inside."""
    with ExitStack() as stack:
        http_client = Http(port, pictures)
        stack.callback(http_client.connection.close)
        area = stack.enter_context(region(port, "checks", pictures[0].nbytes + ANSWER_BYTES))
        shared = Shared(http_client.connection, area, pictures)
        by: dict[str, Way] = {"JSON": http_client.json, "binary": http_client.binary, "shared memory": shared.infer}
        grpc = grpc_module()
        if grpc is not None:
            channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{grpc_port}"))
            by["gRPC"] = Grpc(channel, pictures).infer
        yield by


@contextmanager
def region(port: int, name: str, size: int) -> Iterator[mmap.mmap]:
    """Inside, the server knows memory of this name."""
    key = f"framepace-soak-{os.getpid()}-{name}"
    path = Path("/dev/shm") / key
    path.write_bytes(bytes(size))
    address = f"http://127.0.0.1:{port}/v2/systemsharedmemory/region/{name}"
    try:
        urllib.request.urlopen(f"{address}/register", json.dumps({"key": key, "byte_size": size}).encode()).close()
        with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as area:
            yield area
        urllib.request.urlopen(f"{address}/unregister", b"").close()
    finally:
        path.unlink()


class Leavers:
    """Clients that go away in mid-request, each in another way, in turn."""

    def __init__(self, port: int, grpc_port: int, picture: Array) -> None:
        self._address = ("127.0.0.1", port)
        self._grpc_address = f"127.0.0.1:{grpc_port}"
        self._picture = picture
        self._head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{_LENGTH}: 0\r\nContent-Length: {picture.nbytes}\r\n\r\n".encode()
        )
        called = [] if grpc_module() is None else [self._cancelled]
        self._kinds = cycle([self._in_head, self._in_body, self._reset_in_body, self._unanswered, self._reset, *called])

    def leave(self) -> int:
        """One of them; 1 where the whole request may have arrived, and so be counted."""
        return next(self._kinds)()

    def _in_head(self) -> int:
        return self._sent(self._head[:30], whole=False)

    def _in_body(self) -> int:
        return self._sent(self._head + self._picture.tobytes()[:100_000], whole=False)

    def _reset_in_body(self) -> int:
        return self._sent(self._head + self._picture.tobytes()[:200_000], whole=False, reset=True)

    def _unanswered(self) -> int:
        return self._sent(self._head + self._picture.tobytes(), whole=True)

    def _reset(self) -> int:
        return self._sent(self._head + self._picture.tobytes(), whole=True, reset=True)

    def _sent(self, data: bytes, *, whole: bool, reset: bool = False) -> int:
        with socket.create_connection(self._address, timeout=_TIMEOUT_S) as connection:
            connection.sendall(data)
            if reset:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return int(whole)

    def _cancelled(self) -> int:
        with grpc_module().insecure_channel(self._grpc_address) as channel:
            Grpc(channel, [self._picture]).cancel()
        return 1
