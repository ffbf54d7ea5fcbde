"""Hundreds of requests, valid and invalid, that are the same each time: what both servers are asked."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.triton.askedtensors import tensors
from tests.triton.sent import LENGTH, SIMPLE, Document, Sent, binary, post, raw, simple, tensor_of


def _documents() -> Iterator[Sent]:
    whole = json.dumps(simple()).encode()
    texts: dict[str, bytes] = {
        "empty body": b"",
        "blanks": b"  \n ",
        "half": whole[: len(whole) // 2],
        "without its last brace": whole[:-1],
        "with more behind": whole + b"x",
        "with blanks behind": whole + b" \n",
        "twice": whole + whole,
        "null": b"null",
        "a number": b"5",
        "a list": b"[" + whole + b"]",
        "no JSON": b"hello",
        "no UTF-8": b'{"inputs": "\xff\xfe"}',
        "single quotes": whole.replace(b'"', b"'"),
        "a comment": b"/* x */" + whole,
        "a comma too many": whole[:-1] + b",}",
        "NUL": whole + b"\0",
        "BOM": b"\xef\xbb\xbf" + whole,
        "a field twice": whole[:-1] + b',"inputs":[]}',
        "a lone surrogate": whole.replace(b'"INPUT0"', b'"\\ud800"'),
        "zeros": b"\0" * 100,
        "an empty object": b"{}",
    }
    return (raw(f"body: {words}", body) for words, body in texts.items())


def _lengths() -> Iterator[Sent]:
    data = np.arange(16, dtype=np.int32).tobytes()
    parts: Document = {"name": "INPUT0", "datatype": "INT32", "shape": [1, 16], "parameters": {"binary_data_size": 64}}
    document = {"inputs": [parts, tensor_of(1)]}
    size = len(json.dumps(document))
    for length in (
        "",
        "abc",
        "-1",
        "0",
        "1",
        str(size - 1),
        str(size + 1),
        str(size + 64),
        str(size + 65),
        "1e3",
        f" {size} ",
        f"+{size}",
        f"{size}.0",
        "99999999999999999999",
        f"0{size}",
        f"{size}x",
    ):
        yield binary(document, data, words=f"header length {length!r} of {size}", length=length)
    body = json.dumps(document).encode() + data
    yield raw("no header length", body)
    yield raw("header length of JSON alone", json.dumps(simple()).encode(), **{LENGTH: str(len(json.dumps(simple())))})
    for value in (-1, "64", 64.0, 64.5, None, True, [64], 1 << 40):
        wrong = {**parts, "parameters": {"binary_data_size": value}}
        yield binary({"inputs": [wrong, tensor_of(1)]}, data, words=f"binary_data_size {json.dumps(value)}")
    yield binary({"inputs": [{**parts, "data": [1] * 16}, tensor_of(1)]}, data, words="data and bytes")
    yield binary({"inputs": [{**parts, "parameters": {}}, tensor_of(1)]}, data, words="neither data nor bytes")
    yield binary(
        {"inputs": [{**parts, "parameters": "x"}, tensor_of(1)]}, data, words="parameters of an input no object"
    )
    second = {**parts, "name": "INPUT1"}
    yield binary({"inputs": [parts, second]}, data, data, words="both inputs as bytes")
    yield binary({"inputs": [parts, second]}, data, words="the bytes of one input missing")
    yield binary({"inputs": [parts, second]}, data, data, b"x", words="a byte too many")
    yield raw(
        "bytes alone, of a model of one input",
        np.arange(4, dtype=np.float32).tobytes(),
        "/v2/models/identity_FP32/infer",
        **{LENGTH: "0"},
    )
    yield raw("bytes alone, of a model of two inputs", data, **{LENGTH: "0"})
    yield raw("bytes alone, a part of an item", b"12345", "/v2/models/identity_FP32/infer", **{LENGTH: "0"})
    for lie in (0, 1, 3, 5, 0xFFFFFFFF, 0x7FFFFFFF):
        text = lie.to_bytes(4, "little") + b"abc" + b"\0\0\0\0" * 3
        tensor = {"name": "INPUT0", "datatype": "BYTES", "shape": [1, 4], "parameters": {"binary_data_size": len(text)}}
        yield binary(
            {"inputs": [tensor]},
            text,
            path="/v2/models/identity_BYTES/infer",
            words=f"a text that says it is {lie} long",
        )


def _parameters() -> Iterator[Sent]:
    cases: dict[str, Any] = {
        "priority": {"priority": 1},
        "priority negative": {"priority": -1},
        "priority a text": {"priority": "1"},
        "timeout": {"timeout": 10_000_000},
        "timeout a text": {"timeout": "x"},
        "timeout negative": {"timeout": -5},
        "numbers and texts": {"a": 1, "b": "x", "c": True, "d": 1.5},
        "a list": {"a": [1]},
        "an object": {"a": {}},
        "null": {"a": None},
        "reserved": {"triton_x": 1},
        "binary_data_output a text": {"binary_data_output": "x"},
        "binary_data_output a number": {"binary_data_output": 1},
        "no object": [1],
        "a text": "x",
        "sequence_id": {"sequence_id": 5},
        "sequence_id a text": {"sequence_id": "five"},
        "sequence_start a number": {"sequence_start": 1},
        "binary_data_output false": {"binary_data_output": False},
    }
    for words, parameters in cases.items():
        yield post(f"parameters: {words}", simple(parameters=parameters))
    wanted: dict[str, Any] = {
        "classification 2": {"classification": 2},
        "classification 100": {"classification": 100},
        "classification 0": {"classification": 0},
        "classification -1": {"classification": -1},
        "classification a text": {"classification": "2"},
        "classification a fraction": {"classification": 1.5},
        "binary_data a text": {"binary_data": "x"},
        "binary_data a number": {"binary_data": 1},
        "binary_data false": {"binary_data": False},
        "unknown": {"nix": 1},
        "both region and binary": {"binary_data": True, "shared_memory_region": "r", "shared_memory_byte_size": 64},
        "an unknown region": {"shared_memory_region": "nix", "shared_memory_byte_size": 64},
        "a region without a size": {"shared_memory_region": "nix"},
        "a region with a negative size": {"shared_memory_region": "nix", "shared_memory_byte_size": -64},
        "binary classes": {"classification": 3, "binary_data": True},
        "a region that is a number": {"shared_memory_region": 5, "shared_memory_byte_size": 64},
    }
    for words, parameters in wanted.items():
        yield post(f"parameters of an output: {words}", simple(outputs=[{"name": "OUTPUT0", "parameters": parameters}]))
    for words, parameters in {
        "an unknown region": {"shared_memory_region": "nix", "shared_memory_byte_size": 64},
        "a region without a size": {"shared_memory_region": "nix"},
        "unknown": {"nix": 1},
    }.items():
        yield post(
            f"parameters of an input: {words}", {"inputs": [{**tensor_of(0), "parameters": parameters}, tensor_of(1)]}
        )
        bare = {name: value for name, value in tensor_of(0).items() if name != "data"}
        yield post(
            f"parameters of an input without data: {words}",
            {"inputs": [{**bare, "parameters": parameters}, tensor_of(1)]},
        )


def _places() -> Iterator[Sent]:
    document = json.dumps(simple()).encode()
    paths = (
        "nix/infer",
        "simple/versions/1/infer",
        "simple/versions/2/infer",
        "simple/versions/x/infer",
        "simple/versions//infer",
        "simple/versions/-1/infer",
        "simple/versions/01/infer",
        "SIMPLE/infer",
        "sim%70le/infer",
        "simple%2Finfer",
        "/infer",
        "simple/infer/",
        "simple//infer",
        "simple/infer?x=1",
        "simple/versions/1",
        "simple/versions/99999999999999999999/infer",
        "simple/infer/x",
        "..%2Fsimple/infer",
        "simple/versions/1/versions/1/infer",
        "sim ple/infer".replace(" ", "%20"),
        "%00/infer",
        "simple/generate",
        "simple/trace/setting/x",
    )
    for path in paths:
        yield Sent(f"POST {path}", "POST", f"/v2/models/{path}", document)
    gets = (
        "/v2",
        "/v2/",
        "/",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/health/nix",
        "/v2/models",
        "/v2/models/simple",
        "/v2/models/simple/versions/1",
        "/v2/models/simple/versions/7",
        "/v2/models/nix",
        "/v2/models/simple/ready",
        "/v2/models/nix/ready",
        "/v2/models/simple/versions/1/ready",
        "/v2/models/simple/versions/3/ready",
        "/v2/models/nix/config",
        "/v2/models/simple/versions/3/config",
        "/v2/models/nix/stats",
        "/v2/models/simple/versions/3/stats",
        "/v2/models/identity_BYTES",
        "/v2/models/identity_FP16/versions/1",
        "/v2/systemsharedmemory/status",
        "/v2/systemsharedmemory/region/nix/status",
        "/v2/trace/setting",
        "/v2/models/simple/trace/setting",
        "/v2/models/nix/trace/setting",
        "/v2/logging",
        "/v1",
        "/v2/nix",
        "/v2/models/simple/nix",
        "/v2/repository/nix",
        "/v2/models/simple/versions/x",
        "/v2/models/simple/versions/x/ready",
        "/v2/health/ready/",
        "/v3",
        "/V2",
        "/v2?x=1",
        "/v2/health/live?x=1",
    )
    for path in gets:
        yield Sent(f"GET {path}", "GET", path)
        yield Sent(f"POST to {path}", "POST", path, b"{}")
    for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
        yield Sent(f"{method} an inference", method, SIMPLE, document if method not in ("GET", "HEAD") else b"")
    for path, body in {
        "/v2/repository/index": b"{}",
        "/v2/repository/index ": b'{"ready":true}',
        "/v2/repository/index  ": b'{"ready":"x"}',
        "/v2/repository/index   ": b"x",
        "/v2/repository/index    ": b"",
        "/v2/repository/models/nix/load": b"{}",
        "/v2/repository/models/nix/unload": b"{}",
        "/v2/repository/models/simple/load": b"{",
        "/v2/repository/models/simple/nix": b"{}",
        "/v2/systemsharedmemory/region/nix/unregister": b"",
        "/v2/systemsharedmemory/unregister": b"",
        "/v2/systemsharedmemory/region/r/register": b'{"key":"/nix_nix","offset":0,"byte_size":64}',
        "/v2/systemsharedmemory/region/r/register ": b'{"offset":0,"byte_size":64}',
        "/v2/systemsharedmemory/region/r/register  ": b"{",
        "/v2/systemsharedmemory/region/r/register   ": b'{"key":5,"offset":0,"byte_size":64}',
        "/v2/systemsharedmemory/region/r/register    ": b'{"key":"/nix_nix","offset":-1,"byte_size":64}',
        "/v2/systemsharedmemory/region/r/register     ": b'{"key":"/nix_nix","offset":0,"byte_size":-1}',
    }.items():
        yield Sent(f"POST {path.strip()} {body.decode()}", "POST", path.strip(), body)


def _transfers() -> Iterator[Sent]:
    body = json.dumps(simple()).encode()
    yield Sent("gzip", "POST", SIMPLE, gzip.compress(body), {"Content-Encoding": "gzip"})
    yield Sent("deflate", "POST", SIMPLE, zlib.compress(body), {"Content-Encoding": "deflate"})
    yield Sent("no gzip inside", "POST", SIMPLE, body, {"Content-Encoding": "gzip"})
    yield Sent("half of a gzip", "POST", SIMPLE, gzip.compress(body)[:40], {"Content-Encoding": "gzip"})
    yield Sent("no deflate inside", "POST", SIMPLE, body, {"Content-Encoding": "deflate"})
    yield Sent("an unknown encoding", "POST", SIMPLE, body, {"Content-Encoding": "br"})
    yield Sent("identity as encoding", "POST", SIMPLE, body, {"Content-Encoding": "identity"})
    yield Sent("asks for gzip", "POST", SIMPLE, body, {"Accept-Encoding": "gzip"})
    yield Sent("asks for deflate", "POST", SIMPLE, body, {"Accept-Encoding": "deflate"})
    yield Sent("asks for what nobody has", "POST", SIMPLE, body, {"Accept-Encoding": "br"})
    yield Sent("chunked", "POST", SIMPLE, body, chunked=True)
    yield Sent("another content type", "POST", SIMPLE, body, {"Content-Type": "text/plain"})


def requests(seed: int = 1) -> list[Sent]:
    """All of them, in the same order for one seed."""
    groups = (_documents, _lengths, _parameters, _places, _transfers)
    return [*tensors(seed), *(sent for group in groups for sent in group())]
