"""Requests and answers as messages of gRPC."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from framepace.openinference import grpccodec
from framepace.openinference.datatypes import BYTES, NO_JSON, NUMPY_NAMES
from framepace.openinference.errors import RequestError
from framepace.openinference.messages import InferAnswer, Output, Wanted
from framepace.openinference.protos import message
from framepace.openinference.tensors import to_bytes
from tests.openinference.test_rest import same, tensors


def request(datatype: str, array: NDArray[Any], raw: bool) -> Any:
    """A ModelInferRequest with one input, as it comes off the wire."""
    made = message("ModelInferRequest")(model_name="m")
    tensor = made.inputs.add(name="x", datatype=datatype, shape=array.shape)
    if raw:
        made.raw_input_contents.append(to_bytes(array, datatype))
    elif array.size:
        getattr(tensor.contents, grpccodec.CONTENTS[datatype]).extend(array.ravel().tolist())
    return message("ModelInferRequest").FromString(made.SerializeToString())


@given(tensors())
def test_raw_contents_come_out_bit_by_bit(sent: tuple[str, NDArray[Any]]) -> None:
    """Every datatype and shape."""
    datatype, array = sent
    [tensor] = grpccodec.decode(request(datatype, array, raw=True)).inputs
    assert tensor.data is not None
    assert same(tensor.data, array)


@given(tensors(tuple(set(NUMPY_NAMES) - set(NO_JSON))))
def test_typed_contents_come_out_as_they_went_in(sent: tuple[str, NDArray[Any]]) -> None:
    """Every datatype that has a field."""
    datatype, array = sent
    [tensor] = grpccodec.decode(request(datatype, array, raw=False)).inputs
    assert tensor.data is not None
    if array.dtype.kind == "f":
        np.testing.assert_array_equal(tensor.data, array)
    else:
        assert same(tensor.data, array)


@given(tensors())
def test_an_answer_has_the_bytes_of_its_arrays(sent: tuple[str, NDArray[Any]]) -> None:
    """One raw content per output."""
    datatype, array = sent
    answer = InferAnswer("m", "1", [Output("y", datatype, array.shape, array, Wanted("y"))], id="3")
    response = grpccodec.encode(answer)
    assert response.id == "3"
    assert list(response.outputs[0].shape) == list(array.shape)
    assert response.raw_output_contents[0] == to_bytes(array, datatype)


def refused(made: Any) -> str:
    """The sentence with which a request is refused."""
    with pytest.raises(RequestError) as caught:
        grpccodec.decode(made)
    return caught.value.message


def test_contents_that_do_not_fit_are_refused() -> None:
    """Too few, out of range, in two ways at once, of a datatype without a field, or one raw content too many."""
    array = np.array([1, 2], np.int8)
    assert "has 2 elements" in refused(_with_shape(request("INT8", array, raw=False), [3]))
    assert "out of the range" in refused(request("INT8", np.array([400]), raw=False))
    both = request("INT8", array, raw=True)
    both.inputs[0].contents.int_contents.append(1)
    assert "must not be specified" in refused(both)
    assert "must use raw_input_contents" in refused(
        _with_datatype(request("FP32", np.zeros(1, "f"), raw=False), "BF16")
    )
    more = request("INT8", array, raw=True)
    more.raw_input_contents.append(b"x")
    assert "expected 1 raw input content entries but got 2" in refused(more)
    assert "invalid datatype" in refused(_with_datatype(request(BYTES, np.array([b"a"], object), raw=False), "TEXT"))


def _with_shape(made: Any, shape: list[int]) -> Any:
    made.inputs[0].ClearField("shape")
    made.inputs[0].shape.extend(shape)
    return made


def _with_datatype(made: Any, datatype: str) -> Any:
    made.inputs[0].datatype = datatype
    return made
