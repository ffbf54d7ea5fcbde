"""The same models in both servers: ONNX files for framepace, the python backend for Triton."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from framepace import api
from framepace.serving.options import Limits, ServeOptions
from tests.triton.models import ADD_SUB, IDENTITY, write_model
from tests.triton.server import Triton, triton

LARGEST = 8
IDENTITIES: Mapping[str, tuple[str, int]] = {
    "FP32": ("TYPE_FP32", TensorProto.FLOAT),
    "FP64": ("TYPE_FP64", TensorProto.DOUBLE),
    "FP16": ("TYPE_FP16", TensorProto.FLOAT16),
    "INT8": ("TYPE_INT8", TensorProto.INT8),
    "INT64": ("TYPE_INT64", TensorProto.INT64),
    "UINT8": ("TYPE_UINT8", TensorProto.UINT8),
    "UINT64": ("TYPE_UINT64", TensorProto.UINT64),
    "BOOL": ("TYPE_BOOL", TensorProto.BOOL),
    "BYTES": ("TYPE_STRING", TensorProto.STRING),
}
"""Datatypes with their names in Triton's configuration and in ONNX: a model that returns its input for each."""


@dataclass(frozen=True)
class Pair:
    """A real Triton and framepace's server with the same models: addresses for HTTP, and for gRPC without a scheme."""

    triton: Triton
    http: str
    grpc: str


def _configuration(names: Mapping[str, str], size: int) -> str:
    """A model that takes batches of up to 8 of `size` elements, from INPUT<n> to OUTPUT<n>."""
    parts = [f"max_batch_size: {LARGEST}", "instance_group [{ kind: KIND_CPU }]"]
    for kind in ("input", "output"):
        tensors = [
            f'{{ name: "{kind.upper()}{number}" data_type: {datatype} dims: [{size}] }}'
            for number, datatype in names.items()
        ]
        parts.append(f"{kind} [{', '.join(tensors)}]")
    return "\n".join(parts)


def _tensor(name: str, kind: int, size: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["batch", size])


def _save(folder: Path, name: str, nodes: list[onnx.NodeProto], inputs: list[str], kind: int, size: int) -> str:
    ins = [_tensor(text, kind, size) for text in inputs]
    outs = [_tensor(text.replace("INPUT", "OUTPUT"), kind, size) for text in inputs]
    graph = helper.make_graph(nodes, name, ins, outs)
    path = folder / f"{name}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), path)
    return str(path)


def _write(folder: Path, repository: Path) -> list[str]:
    """The repository of Triton, and the files of framepace."""
    operations = [("Add", "OUTPUT0"), ("Sub", "OUTPUT1")]
    nodes = [helper.make_node(kind, ["INPUT0", "INPUT1"], [output]) for kind, output in operations]
    files = [_save(folder, "simple", nodes, ["INPUT0", "INPUT1"], TensorProto.INT32, 16)]
    write_model(repository, "simple", _configuration({"0": "TYPE_INT32", "1": "TYPE_INT32"}, 16), ADD_SUB)
    for datatype, (name, kind) in IDENTITIES.items():
        node = helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])
        files.append(_save(folder, f"identity_{datatype}", [node], ["INPUT0"], kind, 4))
        write_model(repository, f"identity_{datatype}", _configuration({"0": name}, 4), IDENTITY)
    return files


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Both servers with the same models, on the loopback interface."""
    files = _write(folder, folder / "repository")
    options = ServeOptions(port=0, grpc_port=0, limits=Limits(request_s=5.0))
    settings = {"batch": LARGEST, "threads": 1}
    with triton(folder / "repository") as real, api.serve(files, options=options, settings=settings) as ours:
        places = ours.addresses()
        yield Pair(real, places["HTTP"], places["gRPC"])
