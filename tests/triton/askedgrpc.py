"""Requests by gRPC, valid and invalid, as messages of the protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from framepace.openinference.protos import INFERENCE, message
from tests.triton.compared import Answer

_TIMEOUT_S = 20


@dataclass(frozen=True)
class Call:
    """A call: the words by which a difference is told, the method and its message."""

    words: str
    method: str
    request: Any


def _infer(words: str, change: Callable[[Any], object] = lambda request: None, raw: bool = True) -> Call:
    """A valid inference of the model that adds and subtracts, then changed."""
    request = message("ModelInferRequest")(model_name="simple")
    for number in (0, 1):
        values = np.arange(number, number + 16, dtype=np.int32)
        part = request.inputs.add(name=f"INPUT{number}", datatype="INT32", shape=[1, 16])
        if raw:
            request.raw_input_contents.append(values.tobytes())
        else:
            part.contents.int_contents.extend(values.tolist())
    change(request)
    return Call(words, "ModelInfer", request)


def _shape(*sizes: int) -> Callable[[Any], object]:
    def change(request: Any) -> None:
        del request.inputs[0].shape[:]
        request.inputs[0].shape.extend(sizes)

    return change


def _field(name: str, value: Any) -> Callable[[Any], object]:
    return lambda request: setattr(request.inputs[0], name, value)


def _parameter(kind: str, name: str, value: Any, of: str = "request") -> Callable[[Any], object]:
    def change(request: Any) -> None:
        holder = request
        if of == "input":
            holder = request.inputs[0]
        if of == "output":
            holder = request.outputs.add(name="OUTPUT0")
        setattr(holder.parameters[name], kind, value)

    return change


def _raw(*contents: bytes) -> Callable[[Any], object]:
    def change(request: Any) -> None:
        del request.raw_input_contents[:]
        request.raw_input_contents.extend(contents)

    return change


def _outputs(*names: str) -> Callable[[Any], object]:
    def change(request: Any) -> None:
        for name in names:
            request.outputs.add(name=name)

    return change


def _dropped(request: Any) -> None:
    del request.inputs[1]
    del request.raw_input_contents[1:]


def _both(request: Any) -> None:
    request.inputs[0].contents.int_contents.extend(range(16))


def _int64(request: Any) -> None:
    del request.inputs[0].contents.int_contents[:]
    request.inputs[0].contents.int64_contents.extend(range(16))


def _inferences() -> Iterator[Call]:
    yield _infer("raw")
    yield _infer("contents", raw=False)
    for sizes in (
        (16,),
        (1, 15),
        (2, 16),
        (1, 1, 16),
        (0, 16),
        (-1, 16),
        (1, -16),
        (9, 16),
        (1 << 40, 16),
        (1 << 62, 4),
        (),
    ):
        yield _infer(f"shape {sizes}", _shape(*sizes))
        yield _infer(f"shape {sizes}, contents", _shape(*sizes), raw=False)
    for datatype in ("FP32", "INT64", "BYTES", "BF16", "int32", "", "NIX", "BOOL", "UINT8"):
        yield _infer(f"datatype {datatype!r}", _field("datatype", datatype))
        yield _infer(f"datatype {datatype!r}, contents", _field("datatype", datatype), raw=False)
    for name in ("", "NIX", "INPUT1", "x" * 3000):
        yield _infer(f"input called {name[:10]!r}", _field("name", name))
    whole = np.arange(16, dtype=np.int32).tobytes()
    contents = {
        "none": (),
        "one": (whole,),
        "three": (whole,) * 3,
        "empty": (b"", b""),
        "short": (whole[:-1], whole),
        "long": (whole + b"x", whole),
        "twice as long": (whole * 2, whole),
    }
    for words, parts in contents.items():
        yield _infer(f"raw contents: {words}", _raw(*parts))
    yield _infer("an input missing", _dropped)
    yield _infer("raw and contents", _both)
    yield _infer("contents of another datatype", _int64, raw=False)
    yield _infer("no contents", lambda request: request.inputs[0].ClearField("contents"), raw=False)
    for names in (("OUTPUT1",), ("OUTPUT1", "OUTPUT0"), ("NIX",), ("OUTPUT0", "OUTPUT0"), ("",)):
        yield _infer(f"outputs {names}", _outputs(*names))
    for model, version in (("nix", ""), ("", ""), ("simple", "1"), ("simple", "2"), ("simple", "x"), ("simple", "-1")):
        yield _infer(f"model {model!r} version {version!r}", _model(model, version))
    yield _infer("an id", lambda request: setattr(request, "id", "abc"))


def _model(name: str, version: str) -> Callable[[Any], object]:
    def change(request: Any) -> None:
        request.model_name = name
        request.model_version = version

    return change


def _parameters() -> Iterator[Call]:
    cases: dict[str, tuple[str, Any]] = {
        "priority": ("uint64_param", 1),
        "timeout": ("int64_param", 10_000_000),
        "a": ("string_param", "x"),
        "b": ("bool_param", True),
        "c": ("double_param", 1.5),
        "triton_x": ("int64_param", 1),
    }
    for name, (kind, value) in cases.items():
        yield _infer(f"parameter {name}", _parameter(kind, name, value))
    yield _infer("parameter priority as a text", _parameter("string_param", "priority", "1"))
    yield _infer("parameter timeout as a text", _parameter("string_param", "timeout", "1"))
    yield _infer("classification 2", _parameter("int64_param", "classification", 2, "output"))
    yield _infer("classification -1", _parameter("int64_param", "classification", -1, "output"))
    yield _infer("classification as a text", _parameter("string_param", "classification", "2", "output"))
    yield _infer("an output in an unknown region", _parameter("string_param", "shared_memory_region", "nix", "output"))
    yield _infer("an input in an unknown region", _parameter("string_param", "shared_memory_region", "nix", "input"))


def _questions() -> Iterator[Call]:
    for method in ("ServerLive", "ServerReady", "ServerMetadata", "SystemSharedMemoryStatus"):
        yield Call(method, method, message(f"{method}Request")())
    for method in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"):
        for name, version in (("simple", ""), ("simple", "1"), ("simple", "7"), ("simple", "x"), ("nix", ""), ("", "")):
            request = message(f"{method}Request")(name=name, version=version)
            yield Call(f"{method} {name!r} {version!r}", method, request)
    yield Call("index", "RepositoryIndex", message("RepositoryIndexRequest")())
    yield Call("index of what is ready", "RepositoryIndex", message("RepositoryIndexRequest")(ready=True))
    yield Call("load an unknown model", "RepositoryModelLoad", message("RepositoryModelLoadRequest")(model_name="nix"))
    regions = {"a key that is not there": "/nix_nix", "no key": "", "a key with slashes": "/../etc"}
    for words, key in regions.items():
        request = message("SystemSharedMemoryRegisterRequest")(name="r", key=key, byte_size=64)
        yield Call(f"register {words}", "SystemSharedMemoryRegister", request)
    unknown = message("SystemSharedMemoryUnregisterRequest")(name="nix")
    yield Call("unregister an unknown region", "SystemSharedMemoryUnregister", unknown)
    status = message("SystemSharedMemoryStatusRequest")(name="nix")
    yield Call("status of an unknown region", "SystemSharedMemoryStatus", status)


def calls() -> list[Call]:
    """All of them."""
    return [*_inferences(), *_parameters(), *_questions()]


class AskingGrpc:
    """One server, asked by gRPC."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)

    def ask(self, call: Call) -> Answer:
        """The answer: status 0 for OK, else the number of gRPC's code."""
        answer = message(f"{call.method}Response")
        path = f"/{INFERENCE}/{call.method}"
        make = self._channel.unary_unary(path, type(call.request).SerializeToString, answer.FromString)
        try:
            response = make(call.request, timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            return Answer(error.code().value[0], message=f"{error.code().name}: {error.details()}"[:200])
        return Answer(0, _content(response))


def _content(response: Any) -> Any:
    """What both servers have to say alike."""
    if hasattr(response, "raw_output_contents"):
        outputs = [(out.name, out.datatype, list(out.shape)) for out in response.outputs]
        return response.model_name, response.model_version, response.id, outputs, list(response.raw_output_contents)
    if hasattr(response, "inputs"):
        tensors = [(t.name, t.datatype, list(t.shape)) for t in (*response.inputs, *response.outputs)]
        return response.name, list(response.versions), tensors
    if hasattr(response, "models"):
        return sorted((model.name, model.version, model.state) for model in response.models)
    return {name: getattr(response, name) for name in ("live", "ready") if hasattr(response, name)}
