"""Files from outside: kinds are told before anything is read, and at most the declared size is."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from framepace.errors import ModelError
from framepace.inputfile import InputKind, file_size, memory_bytes, read_file, shown
from tests.doubles.descriptors import exhausted_descriptors

KIND = InputKind("the model", ModelError, expected="a model", fix="check the path")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """Up to the limit; above it, both sizes are said."""
    path = tmp_path / "m"
    path.write_bytes(b"12345")
    assert read_file(path, KIND, 5) == b"12345"
    assert file_size(path, KIND) == 5
    with pytest.raises(ModelError, match="too large") as error:
        read_file(path, KIND, 4)
    assert "5" in str(error.value.got)
    assert "4" in str(error.value.expected)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    """Without opening it: opening a device can do things, and a pipe waits for its writer."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        others: dict[str, str | Path] = {
            "pipe": tmp_path / "pipe",
            "socket": tmp_path / "socket",
            "device": "/dev/zero",
            "folder": tmp_path,
        }
        for name, path in others.items():
            with pytest.raises(ModelError, match=f"must be a file, not a {name}"):
                read_file(path, KIND, 100)
            with pytest.raises(ModelError, match=f"must be a file, not a {name}"):
                file_size(path, KIND)


def test_a_file_that_grows_is_read_to_its_size(tmp_path: Path) -> None:
    """Files of /proc declare no bytes, and some of them wait for more: nothing is read."""
    assert read_file("/proc/self/status", KIND, 100) == b""


def test_too_many_open_files_are_told_as_that(tmp_path: Path) -> None:
    """The file is not blamed."""
    path = tmp_path / "m"
    path.write_bytes(b"1")
    with exhausted_descriptors(), pytest.raises(ModelError) as error:
        read_file(path, KIND, 10)
    assert "too many files are open" in error.value.what
    assert "ulimit -n" in str(error.value.fix)


def test_a_long_path_is_shortened() -> None:
    """Its beginning, its end and its length."""
    assert shown("short") == "short"
    assert len(shown("x" * 5000)) < 300
    assert "5000 letters" in shown("x" * 5000)


def test_memory_is_what_this_process_may_have() -> None:
    """At least what runs now."""
    assert memory_bytes() > 1 << 27
