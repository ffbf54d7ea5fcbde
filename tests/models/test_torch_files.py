"""PyTorch files: what is no model is refused, and nothing in a file is run that does not compute."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from framepace.errors import ModelError
from framepace.models.torch.spec import inspect

pytest.importorskip("torch")
import torch

from tests.doubles.torchnets import Net, changed, fill, infer, load, reference


def _write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def _saved(path: Path, **how: Any) -> str:
    torch.save(Net().state_dict(), path, **how)
    return str(path)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: _saved(p / "m.pt"), "pickled checkpoint"),
        (lambda p: _saved(p / "m.pt", _use_new_zipfile_serialization=False), "pickled checkpoint"),
        (lambda p: _write(p / "m.pt2", b""), "is empty"),
        (lambda p: _write(p / "m.pt2", b"no model at all"), "not a PyTorch model"),
        (lambda p: str(p / "nowhere.pt"), "cannot be read"),
        (lambda p: str(p), "not a folder"),
        (lambda p: str(p / "m.onnx"), "does not run ONNX"),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path: Path, make: Callable[[Path], str], says: str) -> None:
    """Whatever is no exported program and no TorchScript: ModelError, which says what to do."""
    with pytest.raises(ModelError, match=says):
        load(make(tmp_path))


class _Payload:
    """A pickle that makes a file when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


def _pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save((_Payload(marker),), buffer)
    return buffer.getvalue()


def _in_json(change: Callable[[Any], None]) -> Callable[[str, bytes], bytes]:
    def apply(name: str, content: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return content
        document = json.loads(content)
        change(document)
        return json.dumps(document).encode()

    return apply


def _expression(marker: Path) -> Callable[[str, bytes], bytes]:
    def change(document: Any) -> None:
        size = document["graph_module"]["graph"]["tensor_values"]["picture"]["sizes"][0]
        size["as_expr"]["expr_str"] = f"__import__('pathlib').Path({str(marker)!r}).touch()"

    return _in_json(change)


def _guard(marker: Path) -> Callable[[str, bytes], bytes]:
    return _in_json(lambda d: d.update(guards_code=[f"__import__('pathlib').Path({str(marker)!r}).touch()"]))


def _target(target: str) -> Callable[[Path], Callable[[str, bytes], bytes]]:
    def change(document: Any, marker: Path) -> None:
        node = document["graph_module"]["graph"]["nodes"][0]
        given = [{"name": "a", "kind": 1, "arg": {"as_string": f"touch {marker}"}}]
        node.update(target=target, inputs=given)

    return lambda marker: _in_json(lambda document: change(document, marker))


def _weights(marker: Path) -> Callable[[str, bytes], bytes]:
    def apply(name: str, content: bytes) -> bytes:
        if name.endswith("weights/weight_0"):
            return _pickled(marker)
        return content.replace(b'"use_pickle": false', b'"use_pickle": true', 1)

    return apply


def _samples(marker: Path) -> Callable[[str, bytes], bytes]:
    return lambda name, content: _pickled(marker) if "sample_inputs" in name else content


@pytest.mark.parametrize(
    "change",
    [
        _samples,
        _weights,
        _expression,
        _guard,
        _target("torch.os.system"),
        _target("os.system"),
        _target("torch.ops.load_library"),
        _target("torch.ops.aten.from_file.default"),
        _target("_operator.methodcaller"),
    ],
)
def test_an_exported_program_runs_nothing_but_operators(
    tmp_path: Path, exported: str, change: Callable[[Path], Callable[[str, bytes], bytes]]
) -> None:
    """Pickles, expressions, guards and names of functions in the file are refused or left alone, never run."""
    marker = tmp_path / "ran"
    location = changed(exported, tmp_path / "changed.pt2", change(marker))
    try:
        infer(load(location).worker(), 1)
        refused = False
    except ModelError:
        refused = True
    assert refused == (change not in (_samples, _guard, _expression))
    assert not marker.exists()


def test_the_payload_of_these_tests_does_run(tmp_path: Path) -> None:
    """Unpickling it in the ordinary way makes the file: that the tests above see none means something."""
    pickle.loads(pickle.dumps(_Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "call", ["torch.save(x, {!r})", "torch.from_file({!r}, True, 4)", "getattr(torch, '\\x73ave')"]
)
def test_torchscript_that_reaches_for_files_is_refused(tmp_path: Path, scripted: str, call: str) -> None:
    """Code with operators for files is not loaded; the sentence names what was found."""
    code = call.format(str(tmp_path / "ran")).encode()

    def change(name: str, content: bytes) -> bytes:
        return content.replace(b"  return", b"  _9 = " + code + b"\n  return", 1) if name.endswith(".py") else content

    location = changed(scripted, tmp_path / "changed.pt", change)
    with pytest.raises(ModelError, match="outside of the computation"):
        load(location, shapes={"picture": (1, 3, 8, 8)})
    assert not (tmp_path / "ran").exists()


def test_weights_of_an_older_archive_are_read_as_tensors_alone(tmp_path: Path, exported: str) -> None:
    """A state dict in one pickled member gives the same outputs; one with an object in it is refused, unread."""
    marker = tmp_path / "ran"

    def older(state: Any) -> str:
        buffer = io.BytesIO()
        torch.save(state, buffer)

        def change(name: str, content: bytes) -> bytes | None:
            if "data/weights/" not in name:
                return content
            return buffer.getvalue() if name.endswith("_config.json") else None

        location = changed(exported, tmp_path / "old", change)
        with zipfile.ZipFile(location) as source, zipfile.ZipFile(tmp_path / "older.pt2", "w") as target:
            for name in source.namelist():
                target.writestr(
                    name.replace("weights/model_weights_config.json", "weights/model.pt"), source.read(name)
                )
        return str(tmp_path / "older.pt2")

    worker = load(older(Net().eval().state_dict())).worker()
    x = fill(worker)
    np.testing.assert_allclose(next(iter(infer(worker, 1).values())), reference(x)[0], rtol=1e-5, atol=1e-6)
    with pytest.raises(ModelError, match="pickled objects"):
        load(older({"conv.weight": _Payload(marker)}))
    assert not marker.exists()


def _cut(victim: str) -> Callable[[str, bytes], bytes]:
    return lambda name, content: content[: len(content) // 2] if name == victim else content


def test_a_damaged_program_is_an_error_of_ours(tmp_path: Path, exported: str) -> None:
    """Whatever member is cut short or empty: ModelError, no traceback of another kind."""
    with zipfile.ZipFile(exported) as file:
        names = [name for name in file.namelist() if "weights" in name or "models" in name or "constants" in name]
    for victim in names:
        location = changed(exported, tmp_path / "cut.pt2", _cut(victim))
        with pytest.raises(ModelError):
            load(location)


def test_inspection_needs_no_shapes(exported: str, scripted: str) -> None:
    """Names, dtypes and the dynamic batch of a file, before any plan."""
    program, script = inspect(exported), inspect(scripted)
    assert [t.name for t in program.inputs] == [t.name for t in script.inputs] == ["picture"]
    assert isinstance(program.inputs[0].shape[0], str)
    assert program.inputs[0].shape[1:] == (3, 8, 8)
    assert script.format == "torchscript"
    assert program.sha256 != script.sha256
