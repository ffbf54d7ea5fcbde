"""Model files that are none: pipes, devices, bombs and absurd declarations are sentences, soon and without memory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from framepace.errors import FramepaceError, ModelError
from framepace.facts.plan import ModelPlan
from framepace.models.operations import model_work
from framepace.models.spec import inspect, resolve

HUGE = 2**62
SECONDS = 30.0  # of computing; what waits for ever is ended by the limit of a test


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    """Whatever a file declares, it is refused within seconds."""
    began = time.process_time()
    yield
    assert time.process_time() - began < SECONDS


def _onnx(
    path: Path, dims: tuple[int, ...] = (1, 4), name: str = "x", weight: TensorProto | None = None, nested: int = 0
) -> str:
    """A file with one input and one node, or a node with `weight`."""
    nodes = [helper.make_node("Relu", [name], ["y"])]
    if weight is not None:
        nodes = [helper.make_node("MatMul", [name, weight.name], ["y"])]
    given = helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims))
    taken = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [given], [taken], [weight] if weight is not None else [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    path.write_bytes(model.SerializeToString())
    return str(path)


def _weight(dims: tuple[int, ...], *, kind: int = TensorProto.FLOAT, beside: str = "") -> TensorProto:
    weight = TensorProto(name="w", data_type=kind, dims=dims, raw_data=b"" if beside else b"1234")
    if beside:
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value=beside)
    return weight


def _pipe(path: Path) -> str:
    os.mkfifo(path)
    return str(path)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ""])
def test_a_pipe_without_a_writer_is_refused(tmp_path: Path, suffix: str) -> None:
    """Whatever it is called, it is not waited for."""
    with pytest.raises(ModelError, match="must be a file, not a pipe"):
        inspect(_pipe(tmp_path / f"model{suffix}"))


@pytest.mark.parametrize("location", ["/dev/zero", "/dev/null", "/dev/stdin"])
def test_a_device_is_refused(location: str) -> None:
    """/dev/zero has no end, and is not read."""
    with pytest.raises(ModelError, match=r"must be a file, not a (device|pipe|socket)|no complete graph"):
        inspect(location)


@pytest.mark.parametrize("location", ["x" * 5000, "x" * 300 + ".pt2", "a\0b", "/proc/self/mem", "nowhere/x.onnx"])
def test_a_path_that_cannot_be_is_a_sentence(location: str) -> None:
    """Too long for the file system, with a NUL, or of a file that cannot be read; shortened to what a person reads."""
    with pytest.raises(ModelError) as error:
        inspect(location)
    assert error.value.fix
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("sides", ["99999x99999", "99999999999999999999x2"])
def test_a_built_in_model_of_absurd_size_is_a_sentence(sides: str) -> None:
    """Refused before a graph is made, with the size that was asked for."""
    with pytest.raises(FramepaceError) as error:
        inspect(f"builtin:classifier@{sides}")
    assert sides in str(error.value)


def test_inputs_that_do_not_fit_into_memory_are_refused_before_they_are_made(tmp_path: Path) -> None:
    """The sentence names the size."""
    location = _onnx(tmp_path / "m.onnx", (1, HUGE))
    with pytest.raises(ModelError, match="does not fit into memory") as error:
        resolve(inspect(location), ModelPlan(model=location, name="m"))
    assert "iB" in str(error.value.got)


@pytest.mark.parametrize("dims", [(HUGE, HUGE), (-5, 4)])
def test_weights_of_impossible_size_are_refused(tmp_path: Path, dims: tuple[int, ...]) -> None:
    """Before any library multiplies them."""
    with pytest.raises(ModelError, match="impossible size"):
        inspect(_onnx(tmp_path / "m.onnx", weight=_weight(dims)))


def test_tensors_of_absurd_size_can_be_counted_with(tmp_path: Path) -> None:
    """Operations of a product of dimensions of 2^62 are a number."""
    location = _onnx(tmp_path / "m.onnx", (HUGE, HUGE, 4), weight=_weight((4, 4)))
    work = model_work(location, {"x": (HUGE, HUGE, 4)}, "fp32")
    assert all(node.flops < float("inf") for node in work.nodes)


def test_a_name_of_5000_letters_is_a_sentence(tmp_path: Path) -> None:
    """Shortened, with its length."""
    with pytest.raises(ModelError, match="name in the model is too long") as error:
        inspect(_onnx(tmp_path / "m.onnx", name="n" * 5000))
    assert "5000 letters" in str(error.value)
    assert len(str(error.value)) < 1000


def test_a_name_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    """What is no UTF-8 in the file comes as bytes."""
    path = _onnx(tmp_path / "m.onnx", name="nnnn")
    Path(path).write_bytes(Path(path).read_bytes().replace(b"nnnn", b"n\xff\xfen"))
    with pytest.raises(ModelError, match="no text"):
        inspect(path)


@pytest.mark.parametrize("beside", ["/etc/passwd", "../secret", "/dev/zero", "a/../../b", "C:\\secret", ""])
def test_weights_outside_of_the_models_folder_are_refused(tmp_path: Path, beside: str) -> None:
    """A model reads its own folder only."""
    weight = _weight((4, 4), beside=beside or "x")
    if not beside:
        weight.external_data[0].value = ""
    with pytest.raises(ModelError, match="outside of its folder"):
        inspect(_onnx(tmp_path / "m.onnx", weight=weight))


def test_weights_in_a_pipe_are_refused(tmp_path: Path) -> None:
    """A file of the right name must be a file."""
    _pipe(tmp_path / "weights.bin")
    with pytest.raises(ModelError, match="not in a regular file"):
        inspect(_onnx(tmp_path / "m.onnx", weight=_weight((4, 4), beside="weights.bin")))


def test_an_element_type_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    """Of an input it is refused; of a weight the work is counted without it."""
    location = _onnx(tmp_path / "m.onnx")
    model = onnx.load(location)
    model.graph.input[0].type.tensor_type.elem_type = 999
    Path(location).write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="dtype that ONNX does not know"):
        inspect(location)
    other = _onnx(tmp_path / "w.onnx", weight=_weight((4, 4), kind=99))
    assert model_work(other, {"x": (1, 4)}, "fp32").nodes


def test_a_graph_nested_3000_deep_is_damaged(tmp_path: Path) -> None:
    """Protobuf stops at its own depth; nothing here recurses further."""
    content = _field(4, b"Relu")
    for _ in range(3000):
        content = _field(5, _field(6, _field(1, content)))  # node.attribute, its graph, its node
    path = tmp_path / "deep.onnx"
    path.write_bytes(_field(7, _field(1, content)))
    with pytest.raises(ModelError, match=r"damaged|no complete graph"):
        inspect(str(path))


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message."""
    size = len(content)
    digits = bytearray([number << 3 | 2])
    while size > 127:
        digits.append(size & 127 | 128)
        size >>= 7
    return bytes([*digits, size]) + content


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_truncated_files_are_sentences(tmp_path: Path, share: float) -> None:
    """An ONNX file and an archive, cut anywhere."""
    whole = Path(_onnx(tmp_path / "m.onnx", weight=_weight((1,)))).read_bytes()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("m/models/model.json", json.dumps({"schema_version": {"major": 8}}))
    for name, content in (("cut.onnx", whole), ("cut.pt2", packed.getvalue())):
        (tmp_path / name).write_bytes(content[: int(len(content) * share)])
        with pytest.raises(ModelError):
            inspect(str(tmp_path / name))


def _bomb(path: Path, gigabytes: float, kind: int = zipfile.ZIP_DEFLATED) -> str:
    """An archive whose weights are zeros, packed to a thousandth."""
    block = bytes(1 << 20)
    with zipfile.ZipFile(path, "w", kind) as file:
        file.writestr("m/models/model.json", "{}")
        with file.open("m/data/weights/weight_0", "w", force_zip64=True) as member:
            for _ in range(int(gigabytes * 1024)):
                member.write(block)
    return str(path)


def test_an_archive_that_unpacks_to_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    """A hundred kilobytes that declare a hundred megabytes: both sizes are in the sentence."""
    location = _bomb(tmp_path / "bomb.pt2", 0.1)
    with pytest.raises(ModelError, match="unpacks to more") as error:
        inspect(location)
    assert "MiB" in str(error.value.got)


def test_a_bomb_that_lies_about_its_size_is_not_unpacked(tmp_path: Path) -> None:
    """At most the declared size is unpacked: a process with little memory lives to say that the file is damaged."""
    location = _bomb(tmp_path / "bomb.pt2", 0.25)
    path = Path(location)
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 24 : central + 28] = (1000).to_bytes(4, "little")  # the unpacked size
    path.write_bytes(data)
    code = f"""
import resource, zipfile
from framepace.errors import ModelError
from framepace.models.torch.file import open_archive
archive = open_archive({location!r})
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    print(len(archive.read("data/weights/weight_0")))
except ModelError as error:
    print(error.what)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() in ("1000", "the model file is damaged")


def test_members_packed_in_ways_that_take_memory_are_refused(tmp_path: Path) -> None:
    """LZMA asks for as much as its header says; PyTorch never packs so."""
    with pytest.raises(ModelError, match="packed in a way"):
        inspect(_bomb(tmp_path / "bomb.pt2", 0.01, zipfile.ZIP_LZMA))


@pytest.mark.parametrize(
    "content", ["[" * 100_000, "{" + '"a":{' * 5000, "null", "[]", '{"schema_version": 8}', "1" * 9999]
)
def test_a_program_that_is_no_program_is_a_sentence(tmp_path: Path, content: str) -> None:
    """Nested deep, of another type, a number of ten thousand digits."""
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/models/model.json", content)
    with pytest.raises(ModelError):
        inspect(str(path))


def test_code_of_many_calls_is_searched_in_linear_time(tmp_path: Path) -> None:
    """A megabyte of 'getattr(' takes no longer than any other."""
    pytest.importorskip("torch")
    path = tmp_path / "m.ts"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/data.pkl", b"x")
        file.writestr("m/code/__torch__.py", "getattr(" * 200_000 + "'\\x65")
    with pytest.raises(ModelError, match="outside of the computation"):
        inspect(str(path))
