"""Requests and answers over HTTP: what is written is read again, and what is wrong is refused in a sentence."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepace.openinference import rest
from framepace.openinference.datatypes import BYTES, NO_JSON, NUMPY_NAMES, dtype_of, item_size
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferAnswer, Output, Region, Wanted
from framepace.openinference.tensors import to_bytes, to_json

SHAPES = st.lists(st.integers(0, 4), min_size=0, max_size=4).map(tuple)


@st.composite
def tensors(draw: st.DrawFn, datatypes: tuple[str, ...] = tuple(NUMPY_NAMES)) -> tuple[str, NDArray[Any]]:
    """A datatype and an array of it; numbers are any bits of it."""
    datatype = draw(st.sampled_from(datatypes))
    shape = draw(SHAPES)
    count = int(np.prod(shape))
    if datatype == BYTES:
        array = np.empty(count, object)
        array[:] = draw(st.lists(st.binary(max_size=8), min_size=count, max_size=count))
        return datatype, array.reshape(shape)
    data = draw(st.binary(min_size=count * item_size(datatype), max_size=count * item_size(datatype)))
    if datatype == "BOOL":
        data = bytes(byte % 2 for byte in data)
    return datatype, np.frombuffer(data, dtype_of(datatype)).reshape(shape)


def same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    """Equal bit by bit, NaN too."""
    if one.dtype == object:
        return bool((one == other).all()) if one.size else one.shape == other.shape
    return one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes()


def binary_request(*tensors: tuple[str, NDArray[Any]]) -> tuple[bytes, int]:
    """A request whose inputs x0, x1, ... travel as bytes, and how much of it is JSON."""
    data = [to_bytes(array, datatype) for datatype, array in tensors]
    inputs = [
        {"name": f"x{i}", "datatype": t[0], "shape": t[1].shape, "parameters": {"binary_data_size": len(data[i])}}
        for i, t in enumerate(tensors)
    ]
    header = json.dumps({"inputs": inputs}).encode()
    return header + b"".join(data), len(header)


def refusal(body: bytes, length: int | None = None, **limits: int) -> str:
    """The sentence with which a request is refused."""
    with pytest.raises(RequestError) as caught:
        rest.decode(body, length, "m", **limits)
    assert caught.value.status in (400, 413)
    return caught.value.message


@given(st.lists(tensors(), min_size=1, max_size=3))
def test_tensors_as_bytes_come_out_bit_by_bit(sent: list[tuple[str, NDArray[Any]]]) -> None:
    """Every datatype, BF16 and BYTES too, in every shape, empty ones too."""
    body, length = binary_request(*sent)
    request = rest.decode(body, length, "m")
    for (datatype, array), tensor in zip(sent, request.inputs, strict=True):
        assert tensor.datatype == datatype
        assert tensor.data is not None
        assert same(tensor.data, array)


@given(tensors(tuple(set(NUMPY_NAMES) - set(NO_JSON) - {BYTES})), st.booleans())
def test_numbers_in_json_come_out_as_they_went_in(sent: tuple[str, NDArray[Any]], nested: bool) -> None:
    """Flat or nested; what JSON cannot say (NaN, infinity) aside."""
    datatype, array = sent
    if array.dtype.kind == "f":
        array = np.nan_to_num(array, nan=0.5, posinf=1.0, neginf=-1.0)
    data = array.tolist() if nested and array.ndim else array.ravel().tolist()
    document = {"inputs": [{"name": "x", "datatype": datatype, "shape": array.shape, "data": data}]}
    tensor = rest.decode(json.dumps(document).encode(), None, "m").inputs[0]
    assert tensor.data is not None
    assert same(tensor.data, array)


@given(tensors(), st.booleans(), st.text(max_size=4))
def test_an_answer_can_be_read(sent: tuple[str, NDArray[Any]], binary: bool, name: str) -> None:
    """Its JSON says where the bytes are, and they are those of the array."""
    datatype, array = sent
    binary = binary or datatype in NO_JSON
    output = Output(name, datatype, array.shape, array, Wanted(name, binary))
    body, length = rest.encode(InferAnswer("m", "1", [output], id="7"))
    document = json.loads(body[:length])
    assert document["id"] == "7"
    described = document["outputs"][0]
    assert tuple(described["shape"]) == array.shape
    if binary:
        assert length is not None
        assert body[length:] == to_bytes(array, datatype)
        assert described["parameters"]["binary_data_size"] == len(body) - length
    elif array.dtype.kind != "f":
        assert described["data"] == to_json(array, name, datatype)


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_any_bytes_are_read_or_refused(body: bytes, length: int | None) -> None:
    """Nothing but RequestError comes out, whatever goes in."""
    with suppress(RequestError):
        rest.decode(body, length, "m")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "data", "x"]), inner),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: _JSON | st.sampled_from(["FP32", "BYTES", "INT8", [1], [2, 2], [-1], [1 << 40, 1 << 40]])
            for name in ("name", "datatype", "shape", "data", "parameters")
        },
    ),
    st.dictionaries(st.sampled_from(["id", "outputs", "parameters"]), _JSON),
)
def test_any_document_is_read_or_refused(tensor: dict[str, Any], others: dict[str, Any]) -> None:
    """Fields of the right names with any values."""
    with suppress(RequestError):
        rest.decode(json.dumps({"inputs": [tensor], **others}).encode(), None, "m")


def _input(**changed: Any) -> bytes:
    tensor = {"name": "x", "datatype": "INT8", "shape": [2], "data": [1, 2], **changed}
    return json.dumps({"inputs": [{key: value for key, value in tensor.items() if value is not None}]}).encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "failed to parse the request JSON buffer"),
        (b"[1]", "failed to parse the request JSON buffer"),
        (b"{}", "Unable to parse 'inputs'"),
        (b'{"inputs": 3}', "Unable to parse 'inputs'"),
        (_input(name=3), "Unable to parse 'name'"),
        (_input(datatype="FP8"), "invalid datatype for input x"),
        (_input(shape="2"), "Unable to parse 'shape'"),
        (_input(shape=[2.5]), "Unable to parse 'shape'"),
        (_input(shape=[-2]), "contains one or more invalid dimensions"),
        (_input(shape=[1 << 40, 1 << 40]), "exceed maximum size"),
        (_input(data=[1, 300]), "out of the range of INT8"),
        (_input(data=[1]), "shape does not match true shape"),
        (_input(data=[[1], [2, 3]]), "shape does not match true shape"),
        (_input(data=["1", "2"]), "expected numbers of type INT8"),
        (_input(data=[True, False]), "expected numbers of type INT8"),
        (_input(data=7), "expected an array"),
        (_input(datatype="FP16"), "receiving FP16 data via JSON is not supported"),
        (_input(data=None), "But no field is set"),
        (_input(parameters={"binary_data_size": 2}), "But set 'data' 'binary_data_size'"),
        (_input(data=None, parameters={"binary_data_size": 2}), "Inference-Header-Content-Length"),
        (_input(data=None, parameters={"binary_data_size": -2}), "Unable to parse 'binary_data_size'"),
        (_input(data=None, parameters={"shared_memory_region": "r"}), "Unable to parse 'shared_memory_byte_size'"),
        (b'{"inputs": [], "parameters": {"triton_x": 1}}', "reserved"),
        (b'{"inputs": [], "outputs": [{"name": "y"}, {"name": "y"}]}', "output 'y' already exists"),
    ],
)
def test_what_is_wrong_is_named(body: bytes, says: str) -> None:
    """The field or the input, in the words that servers of the protocol use."""
    assert says in refusal(body)


def test_bytes_that_are_missing_or_left_over_are_counted() -> None:
    """A body that was cut, and one with more than its inputs say."""
    body, length = binary_request(("INT8", np.zeros(4, np.int8)))
    assert "expecting 1 additional bytes" in refusal(body[:-1], length)
    assert "unexpected additional input data" in refusal(body + b"1", length)


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"\1\0", "got 2 bytes"), (b"\5\0\0\0ab", "length 5 but only 2"), (b"\0" * 9, "unexpected number")],
)
def test_texts_whose_lengths_lie_are_refused(data: bytes, says: str) -> None:
    """Nothing is allocated for a length that is not there."""
    header = json.dumps(
        {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}]}
    ).encode()
    assert says in refusal(header + data, len(header))


def test_a_deep_or_long_document_is_refused() -> None:
    """Ten thousand brackets, and more JSON than is allowed."""
    deep = b'{"inputs":[{"name":"x","datatype":"INT8","shape":[1],"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}]}"
    assert refusal(deep)
    assert "exceeds the maximum allowed input size of 10 bytes" in refusal(_input(), max_json=10)


@pytest.mark.parametrize(("text", "value"), [(None, None), (b"0", 0), (b"12", 12), (b" 7 ", 7)])
def test_the_length_of_the_json_is_read(text: bytes | None, value: int | None) -> None:
    """As a whole number within the body."""
    assert rest.header_length(text, 20) == value


@pytest.mark.parametrize("text", [b"x", b"", b"1.5", b"-1", b"21", b"9" * 30, b"0x1"])
def test_a_length_that_cannot_be_is_refused(text: bytes) -> None:
    """No number, negative, or beyond the body."""
    with pytest.raises(RequestError):
        rest.header_length(text, 20)


def test_a_request_in_shared_memory_is_read_once() -> None:
    """For the same model and the same bytes alone; one that brings its elements is read each time."""
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    tensor = {"name": "x", "datatype": "FP32", "shape": [4]}
    shared = json.dumps({"inputs": [{**tensor, "parameters": place}]}).encode()
    rest.decode(shared, None, "m")
    assert rest.decode(shared, None, "m") is rest.decode(bytearray(shared), None, "m")
    assert rest.decode(shared, None, "m") is not rest.decode(shared, None, "other")
    sent = json.dumps({"inputs": [{**tensor, "data": [1, 2, 3, 4]}]}).encode()
    assert rest.decode(sent, None, "m").inputs[0].data is not rest.decode(sent, None, "m").inputs[0].data


def test_json_before_bytes_is_read_once_and_the_bytes_each_time() -> None:
    """Of several tensors, one in shared memory between them; bytes that lack or are left over are told as ever."""
    first, second = (np.arange(start, start + 6, dtype=np.float32).reshape(2, 3) for start in (0, 6))
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    inputs = [
        {"name": "x", "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": 24}},
        {"name": "y", "datatype": "FP32", "shape": [4], "parameters": place},
        {"name": "z", "datatype": "INT16", "shape": [2], "parameters": {"binary_data_size": 4}},
    ]
    header = json.dumps({"inputs": inputs, "outputs": [{"name": "o"}]}).encode()
    requests = []
    for array, tail in ((first, b"\1\0\2\0"), (second, b"\3\0\4\0")):
        body = bytearray(header + array.tobytes() + tail)
        requests.append(rest.decode(body, len(header), "m"))
        x, y, z = requests[-1].inputs
        assert x.data is not None
        assert z.data is not None
        assert same(x.data, array)
        assert z.data.tobytes() == tail
        assert (y.data, y.region) == (None, Region("r", 0, 16))
    assert requests[0].outputs is requests[1].outputs
    assert "expecting 1 additional bytes" in refusal(header + bytes(27), len(header))
    assert "unexpected additional input data" in refusal(header + bytes(29), len(header))


@pytest.mark.parametrize(
    ("datatype", "first", "second"), [("BOOL", b"\0", b"\2"), ("BYTES", b"\1\0\0\0a", b"\1\0\0\0b")]
)
def test_what_is_no_plain_array_is_read_each_time(datatype: str, first: bytes, second: bytes) -> None:
    """Truth values are made of bytes that are any number, texts of lengths that may lie."""
    tensor = {"name": "x", "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": len(first)}}
    header = json.dumps({"inputs": [tensor]}).encode()
    read = [rest.decode(header + data, len(header), "m").inputs[0].data for data in (first, second)]
    expected = [False, True] if datatype == "BOOL" else [b"a", b"b"]
    assert [array.item() for array in read if array is not None] == expected


def test_an_array_in_json_beside_bytes_is_read_each_time() -> None:
    """Though as many bytes as the array has follow, for another input."""
    json_tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [5]}
    tensor = {"name": "y", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}
    header = json.dumps({"inputs": [json_tensor, tensor]}).encode()
    for value in (1.0, 2.0):
        request = rest.decode(header + np.float32(value).tobytes(), len(header), "m")
        assert [sent.data.item() for sent in request.inputs if sent.data is not None] == [5.0, value]


def test_requests_in_shared_memory_do_not_pile_up() -> None:
    """Thousands of different ones, and the first is read as ever."""
    place = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    tensor = {"name": "x", "datatype": "FP32", "shape": [4], "parameters": place}
    bodies = [json.dumps({"id": str(number), "inputs": [tensor]}).encode() for number in range(2000)]
    rest.decode(bodies[0], None, "m")
    first = rest.decode(bodies[0], None, "m")
    assert [rest.decode(body, None, "m").id for body in bodies] == [str(number) for number in range(2000)]
    assert rest.decode(bodies[0], None, "m") is not first
