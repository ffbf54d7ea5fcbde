"""Requests whose tensors are right or wrong: names, shapes, datatypes, data, sizes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.triton.sent import Document, Sent, binary, post, raw, simple, tensor_of, with_first

_NUMPY = {
    "FP32": "float32",
    "FP64": "float64",
    "FP16": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "UINT64": "uint64",
    "BOOL": "bool",
}


def _array(datatype: str, batch: int, rng: random.Random) -> Any:
    if datatype == "BYTES":
        return [[rng.choice(["", "a", "zwei", "drei drei", "ü"]) for _ in range(4)] for _ in range(batch)]
    if datatype == "BOOL":
        return [[rng.random() < 0.5 for _ in range(4)] for _ in range(batch)]
    if datatype.startswith("FP"):
        return [[rng.randrange(-64, 64) / 8 for _ in range(4)] for _ in range(batch)]
    low = 0 if datatype.startswith("U") else -100
    return [[rng.randrange(low, 100) for _ in range(4)] for _ in range(batch)]


def _packed(datatype: str, values: Any) -> bytes:
    if datatype == "BYTES":
        texts = [text.encode() for row in values for text in row]
        return b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    return np.array(values, _NUMPY[datatype]).tobytes()


def _valid(rng: random.Random) -> Iterator[Sent]:
    for datatype in (*_NUMPY, "BYTES"):
        if datatype == "INT32":
            continue
        path = f"/v2/models/identity_{datatype}/infer"
        for batch in (1, 2, 8):
            values = _array(datatype, batch, rng)
            flat = [value for row in values for value in row]
            tensor = {"name": "INPUT0", "datatype": datatype, "shape": [batch, 4]}
            yield post(f"JSON, nested, {datatype}", {"inputs": [{**tensor, "data": values}]}, path)
            yield post(f"JSON, flat, {datatype}", {"inputs": [{**tensor, "data": flat}], "id": "7"}, path)
            data = _packed(datatype, values)
            sized = {**tensor, "parameters": {"binary_data_size": len(data)}}
            for wanted in (
                {},
                {"parameters": {"binary_data_output": True}},
                {"outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]},
            ):
                yield binary({"inputs": [sized], **wanted}, data, path=path, words=f"binary, {datatype}")


def _sizes(rng: random.Random) -> Iterator[Sent]:
    for datatype in (*_NUMPY, "BYTES"):
        if datatype == "INT32":
            continue
        path = f"/v2/models/identity_{datatype}/infer"
        data = _packed(datatype, _array(datatype, 2, rng))
        tensor = {"name": "INPUT0", "datatype": datatype, "shape": [2, 4]}
        for change in (-len(data), -4, -1, 1, 4, 1 << 20):
            said = len(data) + change
            words = f"binary_data_size {change:+}, {datatype}"
            sized = {**tensor, "parameters": {"binary_data_size": said}}
            yield binary({"inputs": [sized]}, data, path=path, words=words)
            sent = data[:said] if change < 0 else data + b"\0" * min(change, 64)
            yield binary({"inputs": [sized]}, sent, path=path, words=f"{words}, sent as said")
            whole = {**tensor, "parameters": {"binary_data_size": len(data)}}
            yield binary({"inputs": [whole]}, sent, path=path, words=f"body {change:+}, {datatype}")


def _names() -> Iterator[Sent]:
    both = [tensor_of(0), tensor_of(1)]
    cases: dict[str, Document] = {
        "one input missing": {"inputs": both[:1]},
        "no inputs": {"inputs": []},
        "inputs missing": {},
        "unknown input": {"inputs": [{**both[0], "name": "NIX"}, both[1]]},
        "empty name": {"inputs": [{**both[0], "name": ""}, both[1]]},
        "input twice": {"inputs": [both[0], both[0]]},
        "one input more": {"inputs": [*both, {**both[0], "name": "INPUT2"}]},
        "inputs in another order": {"inputs": both[::-1]},
        "one output": simple(outputs=[{"name": "OUTPUT1"}]),
        "outputs in another order": simple(outputs=[{"name": "OUTPUT1"}, {"name": "OUTPUT0"}]),
        "no outputs wanted": simple(outputs=[]),
        "unknown output": simple(outputs=[{"name": "NIX"}]),
        "output twice": simple(outputs=[{"name": "OUTPUT0"}, {"name": "OUTPUT0"}]),
        "output without a name": simple(outputs=[{}]),
        "outputs no list": simple(outputs={"name": "OUTPUT0"}),
        "inputs no list": {"inputs": {"INPUT0": both[0]}},
        "input no object": {"inputs": ["INPUT0", both[1]]},
        "name a number": with_first(name=5),
        "name null": {"inputs": [{**both[0], "name": None}, both[1]]},
        "name missing": with_first(name=None),
        "an id": simple(id="abc"),
        "an id that is a number": simple(id=5),
        "a long id": simple(id="x" * 5000),
        "fields that nobody knows": simple(something={"a": [1, 2]}, more=None),
    }
    return (post(words, document) for words, document in cases.items())


def _shapes() -> Iterator[Sent]:
    shapes: list[Any] = [
        [16],
        [1, 1, 16],
        [16, 1],
        [1, 15],
        [1, 17],
        [2, 8],
        [0, 16],
        [1, 0],
        [9, 16],
        [-1, 16],
        [1, -16],
        [-1, -16],
        [1 << 31, 16],
        [1 << 32, 1 << 32],
        [1 << 62, 4],
        [1 << 63, 1],
        [1 << 64, 1],
        [-(1 << 63), 1],
        [1.0, 16],
        [1.5, 16],
        ["1", "16"],
        "1x16",
        16,
        {},
        [[1, 16]],
        [None, 16],
        [True, 16],
        [],
    ]
    for shape in shapes:
        yield post(f"shape {json.dumps(shape)}", with_first(shape=shape))
        batch = 2 if shape == [2, 16] else 1
        yield binary(
            {
                "inputs": [
                    {
                        "name": "INPUT0",
                        "datatype": "INT32",
                        "shape": shape,
                        "parameters": {"binary_data_size": 64 * batch},
                    },
                    tensor_of(1),
                ]
            },
            b"\0" * 64 * batch,
            words=f"shape {json.dumps(shape)}, binary",
        )
    yield post("shape missing", with_first(shape=None))
    yield post("shapes that differ in their batch", {"inputs": [tensor_of(0, (2, 16), [0] * 32), tensor_of(1)]})
    for batch in (2, 8, 9):
        data = [1] * 16 * batch
        yield post(f"batch {batch}", {"inputs": [tensor_of(n, (batch, 16), data) for n in (0, 1)]})


def _datatypes() -> Iterator[Sent]:
    for datatype in ("FP32", "INT64", "UINT8", "BYTES", "BOOL", "BF16", "FP16", "int32", "INT33", "", 5, ["INT32"]):
        yield post(f"datatype {json.dumps(datatype)}", with_first(datatype=datatype))
    yield post("datatype missing", with_first(datatype=None))


def _nested(depth: int, value: Any = 1) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def _data() -> Iterator[Sent]:
    values: dict[str, Any] = {
        "too few": list(range(15)),
        "too many": list(range(17)),
        "none": [],
        "texts": ["1"] * 16,
        "fractions": [0.5] * 16,
        "whole fractions": [1.0] * 16,
        "booleans": [True] * 16,
        "nulls": [None] * 16,
        "objects": [{}] * 16,
        "one object": {"a": 1},
        "a number": 5,
        "a text": "1" * 16,
        "out of range": [1 << 31] * 16,
        "far out of range": [1 << 70] * 16,
        "negative out of range": [-(1 << 31) - 1] * 16,
        "ragged": [[1] * 8, [1] * 7, [1]],
        "half nested": [1] * 8 + [[1] * 8],
        "nested otherwise": [[1] * 4] * 4,
        "nested once more": [[list(range(16))]],
        "deep 10": _nested(10, [1] * 16),
        "exponent": [1e3] * 16,
    }
    for words, data in values.items():
        yield post(f"data: {words}", with_first(data=data))
    yield post("data missing", with_first(data=None))
    yield post("data null", {"inputs": [{**tensor_of(0), "data": None}, tensor_of(1)]})
    for depth in (50, 99, 101, 200, 1_000, 100_000):
        text = json.dumps(with_first(data="HERE")).replace('"HERE"', "[" * depth + "1" + "]" * depth)
        yield raw(f"data nested {depth} deep", text.encode())
        yield raw(
            f"parameter nested {depth} deep",
            json.dumps(simple(parameters="HERE")).replace('"HERE"', '{"a":' * depth + "1" + "}" * depth).encode(),
        )
    for token in ("NaN", "Infinity", "-Infinity", "1e999", "0x10", "01", "+1", ".5"):
        text = json.dumps({"inputs": [{"name": "INPUT0", "datatype": "FP32", "shape": [1, 4], "data": "HERE"}]})
        yield raw(
            f"a number written as {token}",
            text.replace('"HERE"', f"[{token},1,2,3]").encode(),
            "/v2/models/identity_FP32/infer",
        )
    for datatype, limits in {
        "INT8": (-129, 128),
        "UINT8": (-1, 256),
        "UINT64": (-1, 1 << 64),
        "INT64": (-(1 << 63) - 1, 1 << 63),
    }.items():
        for value in limits:
            tensor = {"name": "INPUT0", "datatype": datatype, "shape": [1, 4], "data": [value, 0, 0, 0]}
            yield post(f"{datatype} with {value}", {"inputs": [tensor]}, f"/v2/models/identity_{datatype}/infer")
    for datatype in ("FP32", "BYTES", "BOOL", "UINT8"):
        for data in ([1, 2, 3, 4], [1.5] * 4, ["a"] * 4, [True, False] * 2, [None] * 4, [[1], [2], [3], [4]]):
            tensor = {"name": "INPUT0", "datatype": datatype, "shape": [1, 4], "data": data}
            yield post(
                f"{datatype} from {json.dumps(data)}", {"inputs": [tensor]}, f"/v2/models/identity_{datatype}/infer"
            )


def tensors(seed: int) -> Iterator[Sent]:
    """All of them, in the same order for one seed."""
    rng = random.Random(seed)
    yield from _valid(rng)
    yield from _sizes(rng)
    for group in (_names, _shapes, _datatypes, _data):
        yield from group()
