"""Rounding to a lower precision, as nodes of a graph and as arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framepace.numerics.rounding import BF16, FP16, CastRounding

_FLOATS = st.lists(st.floats(width=32, allow_nan=True), min_size=1, max_size=20)


def _session(rounding: CastRounding) -> Any:
    """A session of the nodes that round a vector 'x'."""
    import onnxruntime
    from onnx import TensorProto, helper

    rounded = rounding.nodes("x", "p")
    given_vector = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None])
    vector = helper.make_tensor_value_info(rounded.output, TensorProto.FLOAT, [None])
    graph = helper.make_graph(list(rounded.nodes), "round", [given_vector], [vector])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


_SESSIONS = {rounding.precision: _session(rounding) for rounding in (FP16, BF16)}


@pytest.mark.parametrize("rounding", [FP16, BF16], ids=lambda rounding: rounding.precision)
@given(values=_FLOATS)
def test_nodes_and_arithmetic_round_alike(rounding: CastRounding, values: list[float]) -> None:
    """What the nodes of a graph make of any floats is what `round` makes of them."""
    array = np.array(values, np.float32)
    (by_nodes,) = _SESSIONS[rounding.precision].run(None, {"x": array})
    np.testing.assert_array_equal(by_nodes, rounding.round(array))


@pytest.mark.parametrize("rounding", [FP16, BF16], ids=lambda rounding: rounding.precision)
def test_the_largest_and_smallest_numbers_are_held_and_what_is_beyond_is_not(rounding: CastRounding) -> None:
    """`largest` and `smallest` are numbers of the format; twice the one is infinite and a third of the other zero."""
    values = np.array([rounding.largest, rounding.smallest], np.float32)
    np.testing.assert_array_equal(rounding.round(values), values)
    with np.errstate(over="ignore"):
        beyond: NDArray[np.float32] = values * np.array([2, 1 / 3], np.float32)
    np.testing.assert_array_equal(rounding.round(beyond), np.array([np.inf, 0], np.float32))


def test_a_weight_beyond_the_format_becomes_its_largest_number() -> None:
    """As ONNX Runtime's converter does it; a weight that the format holds needs no constant of its own."""
    from onnx import numpy_helper

    rounded = FP16.weights("w", np.array([1e6, -1e6, 1], np.float32), "p")
    assert rounded.nodes == ()
    np.testing.assert_array_equal(numpy_helper.to_array(rounded.initializers[0]), [65504, -65504, 1])
    assert FP16.weights("w", np.array([0.5, 2], np.float32), "p").output == "w"
