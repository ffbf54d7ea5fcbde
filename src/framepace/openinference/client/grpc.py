"""A model of a server by gRPC."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc
import msgspec
from google.protobuf.json_format import MessageToDict
from numpy.typing import NDArray

from framepace.errors import BackendError, FramepaceError
from framepace.facts.served import ServerCounts
from framepace.openinference.client.address import ServedModel
from framepace.openinference.client.documents import (
    Configuration,
    Metadata,
    ModelState,
    ServerMetadata,
    Statistics,
    ready,
)
from framepace.openinference.client.refusals import no_answer, no_model, no_shared_memory, refusal
from framepace.openinference.client.remote import TOKEN, Arrays, RemoteModel
from framepace.openinference.client.tensors import checked_names, contradiction, shared_part, tensor_bytes
from framepace.openinference.datatypes import DATATYPES
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import Region
from framepace.openinference.protos import INFERENCE, message
from framepace.openinference.rest import region_parameters
from framepace.openinference.tensors import from_bytes

_T = TypeVar("_T")
_ANY_SIZE = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_CODE = grpc.StatusCode
_HTTP = {
    _CODE.INVALID_ARGUMENT: 400,
    _CODE.UNAUTHENTICATED: 401,
    _CODE.PERMISSION_DENIED: 403,
    _CODE.NOT_FOUND: 404,
    _CODE.RESOURCE_EXHAUSTED: 503,
    _CODE.UNAVAILABLE: 503,
}
"""The status of HTTP that means the same."""
_TOO_LARGE = "larger than max"  # which has the code of a queue that is full
_LOST: Mapping[str, type[OSError]] = {
    "handshake failed": ssl.SSLError,  # these two first: they are told as connections that failed
    "Socket closed": ConnectionResetError,
    "failed to connect": ConnectionRefusedError,
    "DNS resolution": ConnectionRefusedError,
    "Connection reset": ConnectionResetError,
    "GOAWAY": ConnectionResetError,
    "End of TCP": ConnectionResetError,
}
"""What gRPC says where no server answers, which has the same code as a server that says no."""


class GrpcModel(RemoteModel):
    """A model that is asked by gRPC; an inference is answered within `send`.

    Args:
        timeout_s: the longest wait for an answer.
    """

    def __init__(self, model: ServedModel, timeout_s: float) -> None:
        super().__init__()
        self._model = model
        self._timeout_s = timeout_s
        self._token = os.environ.get(TOKEN)
        self._channel = _channel(model)
        self._calls: dict[str, Any] = {}
        self._answer: Any = None

    def open(self) -> None:
        """See RemoteModel."""
        self._call("ServerLive", "ServerLive")

    def close(self) -> None:
        """See RemoteModel."""
        self._channel.close()

    def metadata(self) -> Metadata:
        """See RemoteModel."""
        try:
            answer = self._call("ModelMetadata", "ModelMetadata", **self._named())
        except _Refused as refused:
            if refused.status in (400, 404, 503):
                raise no_model(self._model, refused.message, self.ready_models()) from refused
            raise refusal(self._model, refused.status, refused.message) from refused
        return _read(answer, Metadata)

    def configuration(self) -> Configuration | None:
        """See RemoteModel."""
        answer = self._asked("ModelConfig", **self._named())
        return None if answer is None else _read(answer.config, Configuration)

    def counts(self) -> ServerCounts | None:
        """See RemoteModel."""
        answer = self._asked("ModelStatistics", **self._named())
        return None if answer is None else _read(answer, Statistics).counts

    def server(self) -> ServerMetadata:
        """See RemoteModel."""
        answer = self._asked("ServerMetadata")
        return ServerMetadata() if answer is None else _read(answer, ServerMetadata)

    def ready_models(self) -> tuple[str, ...]:
        """See RemoteModel."""
        answer = self._asked("RepositoryIndex", ready=True)
        return () if answer is None else ready(_read(state, ModelState) for state in answer.models)

    def register(self, region: str, key: str, size: int) -> None:
        """See RemoteModel."""
        try:
            call = "SystemSharedMemoryRegister"
            self._call(call, call, name=region, key=key, offset=0, byte_size=size)
        except _Refused as refused:
            raise no_shared_memory(refused.status, refused.message) from refused

    def unregister(self, region: str) -> None:
        """See RemoteModel."""
        self._asked("SystemSharedMemoryUnregister", name=region)

    def send(self, inputs: Arrays) -> None:
        """See RemoteModel: the answer is there when it returns."""
        try:
            self._answer = self._sent("ModelInfer", self._request(inputs))
        except _Refused as refused:
            raise refusal(self._model, refused.status, refused.message) from refused

    def _request(self, inputs: Arrays) -> Any:
        request = message("ModelInferRequest")(model_name=self._model.name, model_version=self._model.version)
        for name, array in inputs.items():
            datatype = DATATYPES[array.dtype.name]
            part = request.inputs.add(name=name, datatype=datatype, shape=array.shape)
            if name in self._inputs:
                _place(part, replace(self._inputs[name], size=array.nbytes))
            else:
                request.raw_input_contents.append(bytes(tensor_bytes(array)))
        for name, region in self._outputs.items():
            output = request.outputs.add(name=name)
            if region is not None:
                _place(output, region)
        return request

    def receive(self, names: Sequence[str], shared: Arrays) -> dict[str, NDArray[Any]]:
        """See RemoteModel."""
        answer = self._answer
        outputs = {}
        for place, output in enumerate(answer.outputs):
            data = answer.raw_output_contents[place] if place < len(answer.raw_output_contents) else b""
            outputs[output.name] = _array(output, data, shared.get(output.name))
        checked_names(outputs, names)
        return outputs

    def _named(self) -> dict[str, str]:
        return {"name": self._model.name, "version": self._model.version}

    def _asked(self, method: str, **fields: Any) -> Any:
        """The answer to a question that not every server has."""
        try:
            return self._call(method, method, **fields)
        except _Refused:
            return None

    def _call(self, method: str, kind: str, **fields: Any) -> Any:
        return self._sent(method, message(f"{kind}Request")(**fields))

    def _sent(self, method: str, request: Any) -> Any:
        """The answer to a request. Raises _Refused for a server that says no, BackendError where none answers."""
        if method not in self._calls:
            answer = message(f"{method}Response")
            path = f"/{INFERENCE}/{method}"
            self._calls[method] = self._channel.unary_unary(path, type(request).SerializeToString, answer.FromString)
        metadata = (("authorization", f"Bearer {self._token}"),) if self._token else None
        try:
            return self._calls[method](request, timeout=self._timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            self._raise(error)

    def _raise(self, error: Any) -> NoReturn:
        code = error.code()
        text = error.details() or code.name
        if code is _CODE.DEADLINE_EXCEEDED:
            raise no_answer(self._model.server, TimeoutError(), self._timeout_s) from error
        lost = next((kind for words, kind in _LOST.items() if words in text), None)
        if code is _CODE.UNAVAILABLE and lost is not None:
            raise no_answer(self._model.server, lost(0, text), self._timeout_s) from error
        status = 413 if _TOO_LARGE in text else _HTTP.get(code, 500)
        raise _Refused(status, text) from error


class _Refused(FramepaceError):
    """A server that said no: its status, as HTTP has it, and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def _channel(model: ServedModel) -> Any:
    server = model.server
    if server.is_encrypted:
        return grpc.secure_channel(server.authority, grpc.ssl_channel_credentials(_trusted()), _ANY_SIZE)
    return grpc.insecure_channel(server.authority, _ANY_SIZE)


def _trusted() -> bytes | None:
    """The certificates that HTTPS trusts (SSL_CERT_FILE, or the system's); None for those that gRPC brings."""
    file = ssl.get_default_verify_paths().cafile
    return Path(file).read_bytes() if file else None


def _read(answer: Any, kind: type[_T]) -> _T:
    """A message as the document that HTTP would answer with."""
    document = MessageToDict(answer, preserving_proto_field_name=True)
    try:
        return msgspec.convert(document, kind, strict=False)  # whole numbers of 64 bits are texts
    except msgspec.ValidationError as error:
        raise BackendError("the server's answer cannot be understood", got=error, fix="look at the server") from error


def _place(part: Any, region: Region) -> None:
    """Say that a tensor lies in shared memory."""
    for name, value in region_parameters(region).items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        setattr(part.parameters[name], kind, value)


def _array(output: Any, data: bytes, shared: NDArray[Any] | None) -> NDArray[Any]:
    shape = tuple(output.shape)
    try:
        taken: bytes | memoryview = data
        if shared is not None:
            taken = shared_part(output.name, output.datatype, shape, shared)
        return from_bytes(taken, output.name, output.datatype, shape, "the answer")
    except (RequestError, ValueError) as error:
        raise contradiction(output.name, f"{output.datatype} {list(shape)}", error) from error
