"""PyTorch's model files, read without running anything in them.

What PyTorch's own loaders would do with a file from outside (seen in 2.13, each tried with a prepared file):

- `torch.export.load` unpickles the sample inputs with `weights_only=True` and, when that refuses, *again without*;
  tensors and constants marked `use_pickle` are unpickled with `weights_only=False`, opaque constants with `pickle`;
  the symbolic sizes in models/model.json are parsed by `sympy.sympify`, which is `eval`; `guards_code` is executed by
  `ExportedProgram.module()`; a package may hold shared libraries (AOTInductor), which are loaded.
- `torch.jit.load` unpickles in C++, without Python: a global of Python is an unknown type there. The model's code is
  TorchScript, run by its own interpreter, whose operators can however write and map files (aten::save,
  aten::from_file), call other hosts (prim::rpc_*) and make objects of C++ classes (torch.classes), even while loading.
- `torch.load(weights_only=False)`, the way of plain checkpoints, runs whatever the file says.

So framepace never calls `torch.export.load`: the graph is read as JSON, its nodes become calls of PyTorch's operators
by name (models/torch/graph.py), weights are raw bytes, and sample inputs, guards and libraries are not looked at. Older
archives keep their weights pickled: these are read with `weights_only=True` alone. TorchScript goes to `torch.jit.load`
as a new archive that holds only data, constants and code, after the code was searched for those operators. Pickled
checkpoints are refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from framepace.errors import ModelError
from framepace.facts.model import TensorSpec
from framepace.inputfile import InputKind, file_size, memory_bytes, opened, out_of_descriptors
from framepace.redaction import redacted
from framepace.units import format_bytes

Kind = Literal["torch-export", "torchscript"]

# Operators of aten and its like compute; those of other namespaces talk to devices, hosts and profilers.
NAMESPACES = ("aten", "prim", "prims", "quantized", "torchvision")
FORBIDDEN = ("save", "from_file", "rpc_async", "rpc_sync", "rpc_remote")

_MAJOR = 8  # of the schema of exported programs, as PyTorch 2.13 writes them (8.20)
_OLD = "serialized_exported_program.json"
_PICKLE = b"\x80"  # how a pickle of protocol 2 or later begins
_EXPORT = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"
_AGAIN = f"export it again: {_EXPORT}"
_EXPECTED = "an exported program (.pt2) or a TorchScript file"
_FILE = InputKind("the model", ModelError, expected=_EXPECTED, fix="check the path")
_UNREADABLE = (
    KeyError,
    EOFError,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# PyTorch stores members as they are, so that a model is as large as its file; JSON packs to a twentieth.
_UNPACKED_BYTES = 64 << 20  # allowed to any file
_UNPACKED_RATIO = 20
_JSON_BYTES = 64 << 20
_LONGEST_MESSAGE = 400
# Codes of torch._export.serde.schema.ScalarType. NumPy has no bfloat16: such inputs are given as float32.
DTYPES: Mapping[int, str] = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
    13: "bfloat16",
}  # fmt: skip
_SCRIPT = re.compile(r"(data\.pkl|constants\.pkl|version|byteorder|(data|constants)/\d+|code/[\w/]+\.py)")
_WORD = re.compile(rf"\b({'|'.join(FORBIDDEN)})\b|torch\W+(classes)\b|\bops\W+(?!(?:{'|'.join(NAMESPACES)})\b)(\w+)")
_SYMBOL = re.compile(r"Symbol\('(\w+)'[^)]*\)|Integer\((\d+)\)")


@dataclass(frozen=True)
class Archive:
    """A model file of PyTorch: a zip whose members' names are given without the common folder."""

    location: str
    kind: Kind
    file: zipfile.ZipFile
    members: Mapping[str, zipfile.ZipInfo]

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def read(self, name: str) -> bytes:
        """A member's bytes. Raises ModelError when it is not there, damaged, or does not fit into memory."""
        try:
            member = self.members[name]
            with self.file.open(member) as content:
                # As many as declared: `ZipFile.read` unpacks up to 2 GiB of a member before it looks at its size.
                return content.read(member.file_size)
        except MemoryError as error:
            raise _FILE.no_memory(self.location) from error
        except _UNREADABLE as error:
            got = f"{self.location}: {name}: {error}"
            raise ModelError("the model file is damaged", got=got, expected=_EXPECTED, fix=_AGAIN) from error

    def json(self, name: str) -> Any:
        """A member that is JSON."""
        if name in self and self.members[name].file_size > _JSON_BYTES:
            raise _FILE.too_large(f"{self.location}: {name}", self.members[name].file_size, _JSON_BYTES)
        try:
            return json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise ModelError("the model file is damaged", got=f"{self.location}: {name}", fix=_AGAIN) from error


def open_archive(location: str) -> Archive:
    """The model file at `location`. Raises ModelError for what is neither an exported program nor TorchScript."""
    size = file_size(location, _FILE)
    with opened(location, _FILE) as file:
        first_byte = file.read(1)
    if not first_byte:
        raise ModelError("the file is empty", got=location, expected=_EXPECTED, fix=_AGAIN)
    try:
        archive = zipfile.ZipFile(location)
    except (*_UNREADABLE, MemoryError) as error:
        if first_byte == _PICKLE:
            raise _checkpoint(location) from error
        if out_of_descriptors(error):
            raise _FILE.unreadable(location, error) from error
        message = "the file is not a PyTorch model, or is damaged"
        got = f"{location} ({size} bytes)"
        raise ModelError(message, got=got, expected=_EXPECTED, fix=_AGAIN) from error
    _check_sizes(location, size, archive)
    members = _members(location, archive)
    return Archive(location, _kind(location, members), archive, members)


def _check_sizes(location: str, size: int, archive: zipfile.ZipFile) -> None:
    """Raises ModelError for an archive that says it is far larger unpacked than any model would be, before it is."""
    unpacked = sum(info.file_size for info in archive.infolist())
    limit = min(max(_UNPACKED_BYTES, _UNPACKED_RATIO * size), memory_bytes())
    if unpacked > limit:
        got = f"{location}: {format_bytes(size)}, unpacked {format_bytes(unpacked)}"
        message = "the model file unpacks to more than a model may have"
        fix = f"save it as PyTorch does, without compression: {_EXPORT}"
        raise ModelError(message, got=got, expected=f"at most {format_bytes(limit)}", fix=fix)
    if any(info.compress_type not in _COMPRESSIONS for info in archive.infolist()):
        message = "the model file is packed in a way that PyTorch does not use"
        raise ModelError(message, got=location, expected="stored or deflated members", fix=_AGAIN)


def _members(location: str, file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members by their names without the folder that all are in."""
    names = file.namelist()
    root = ""
    if names and _OLD not in names:
        root = names[0].partition("/")[0] + "/"
    if len(set(names)) != len(names):
        raise ModelError("the model file holds two members of one name", got=location, fix=_AGAIN)
    return {info.filename.removeprefix(root): info for info in file.infolist()}


def _kind(location: str, members: Mapping[str, Any]) -> Kind:
    if _OLD in members or any(re.fullmatch(r"models/\w+\.json", name) for name in members):
        return "torch-export"
    if "data.pkl" in members and any(name.startswith("code/") for name in members):
        return "torchscript"
    if "data.pkl" in members:
        raise _checkpoint(location)
    if any(name.startswith("data/aotinductor/") for name in members):
        message = "the file holds compiled libraries (AOTInductor), which framepace does not run"
        raise ModelError(message, got=location, expected=_EXPECTED, fix=_AGAIN)
    raise ModelError("the file is a zip, but not a PyTorch model", got=location, expected=_EXPECTED, fix=_AGAIN)


def _checkpoint(location: str) -> ModelError:
    message = "the file is a pickled checkpoint: reading it would run code, and weights alone are no network"
    fix = f"export the network where its class is known: {_EXPORT}"
    return ModelError(message, got=location, expected=_EXPECTED, fix=fix)


@contextmanager
def damaged(location: str) -> Iterator[None]:
    """Turns what goes wrong with a file that is not as it says into ModelError."""
    try:
        yield
    except MemoryError as error:
        raise _FILE.no_memory(location) from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        got = redacted(f"{location}: {type(error).__name__}: {error}")[:_LONGEST_MESSAGE]
        raise ModelError("the exported program is damaged, or of a kind not known here", got=got, fix=_AGAIN) from error


def document(archive: Archive) -> dict[str, Any]:
    """The exported program's JSON. Raises ModelError when there are several, or of a schema that is not known."""
    names = [name for name in archive.members if re.fullmatch(r"models/.+\.json", name)]
    if _OLD in archive:
        names = [_OLD]
    if len(names) > 1:
        message = "the file holds several models"
        raise ModelError(message, got=", ".join(names), expected="one", fix="save each in its own file")
    program: dict[str, Any] = archive.json(names[0])
    with damaged(archive.location):
        major = program["schema_version"]["major"]
    if major != _MAJOR:
        got = f"schema {major}, of PyTorch {program.get('torch_version', '?')}"
        message = "the exported program is of a format that framepace does not know"
        raise ModelError(message, got=got, expected=f"schema {_MAJOR}", fix=_AGAIN)
    return program


def signature(archive: Archive, program: Mapping[str, Any]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an exported program, which must be tensors; None and constants are left out."""
    module = program["graph_module"]
    specs = module["signature"]
    arguments = [_user(spec["user_input"]["arg"], "input") for spec in specs["input_specs"] if "user_input" in spec]
    results = [_output(archive.location, spec) for spec in specs["output_specs"]]
    inputs = [name for name in arguments if name is not None]
    outputs = [name for name in results if name is not None]
    values = module["graph"]["tensor_values"]
    return _tensors(inputs, inputs, values), _tensors(_output_names(outputs), outputs, values)


def _output_names(values: list[str]) -> list[str]:
    """The names of the tensors; by place where one tensor is returned twice."""
    if len(set(values)) == len(values):
        return values
    return [f"y{place}" for place in range(len(values))]


def _tensors(names: list[str], values: list[str], metas: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(_tensor(name, metas[value]) for name, value in zip(names, values, strict=True))


def _output(location: str, spec: Mapping[str, Any]) -> str | None:
    """The name of an output's tensor; None for an output that is None."""
    ((kind, value),) = spec.items()
    if kind != "user_output":
        message = (
            "the exported program changes its own state when it runs, so that two workers would disturb each other"
        )
        raise ModelError(message, got=f"{location}: {kind}", fix="export the model in eval mode")
    return _user(value["arg"], "output")


def _user(argument: Mapping[str, Any], role: str) -> str | None:
    if "as_tensor" in argument:
        return str(argument["as_tensor"]["name"])
    if "as_none" in argument:
        return None
    got = ", ".join(argument)
    raise ModelError(f"an {role} of the exported program is not a tensor", got=got, expected="tensors", fix=_AGAIN)


def _tensor(name: str, meta: Mapping[str, Any]) -> TensorSpec:
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None:
        message = f"tensor {name!r} of the exported program has a dtype that NumPy does not have"
        raise ModelError(message, got=f"ScalarType {meta['dtype']}", expected=", ".join(DTYPES.values()))
    if dtype == "bfloat16":
        dtype = "float32"
    return TensorSpec(name=name, dtype=dtype, shape=tuple(_dimension(size) for size in meta["sizes"]))


def _dimension(size: Mapping[str, Any]) -> int | str:
    """A fixed size, or the expression over the symbols of the export ('s77', '2*s77')."""
    if "as_int" in size:
        return int(size["as_int"])
    return _SYMBOL.sub(r"\1\2", str(size["as_expr"]["expr_str"]))


def script_archive(archive: Archive) -> io.BytesIO:
    """A TorchScript file with its data, constants and code alone, for `torch.jit.load`.

    Built anew so that what was searched is what is loaded. Raises ModelError when the code asks for an operator that
    reaches outside of the computation.
    """
    kept = {name: archive.read(name) for name in archive.members if _SCRIPT.fullmatch(name)}
    for name, content in kept.items():
        if name.startswith("code/"):
            _check_code(archive.location, name, content.decode("utf-8", "replace"))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in kept.items():
            file.writestr(f"model/{name}", content)
    buffer.seek(0)
    return buffer


def _check_code(location: str, name: str, code: str) -> None:
    match = _WORD.search(code)
    escaped_names = (call.partition(")")[0] for call in code.split("getattr(")[1:])
    word = next((escaped for escaped in escaped_names if "\\" in escaped), None)
    if match is not None:
        word = match[0]
    if word is None:
        return
    got = f"{location}: {name}: {word[:80]!r}"
    message = "the TorchScript code uses files, hosts or classes outside of the computation, or a name that does"
    fix = f"rename what has that name, or use an exported program: {_EXPORT}"
    raise ModelError(message, got=got, expected="operators that compute", fix=fix)
