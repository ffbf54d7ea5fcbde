"""Files of engines on other hosts: brought here, whole, and once."""

from __future__ import annotations

from pathlib import Path

import pytest

from framepace.errors import StoreError
from framepace.fleet.fetching import fetch, files_of, read_piece


class Host:
    """A host whose files lie in another folder than they say, and which counts what is read of it."""

    def __init__(self, root: Path, most: int = 1 << 20) -> None:
        self._root = root
        self._most = most
        self.read_paths: list[str] = []

    def files(self, folder: str) -> dict[str, int]:
        """See Files."""
        return files_of(self._at(folder))

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Files; in pieces as small as the host likes."""
        self.read_paths.append(path)
        return read_piece(str(self._at(path)), offset, min(size, self._most))

    def _at(self, path: str) -> Path:
        return self._root / path.lstrip("/")


def test_a_folder_is_brought_in_pieces_with_all_that_is_below_it(tmp_path: Path) -> None:
    """Files of no length as well; nothing unfinished is left."""
    there = tmp_path / "host" / "out" / "trace"
    (there / "segment-000001").mkdir(parents=True)
    (there / "segment-000001" / "requests.parquet").write_bytes(bytes(range(256)) * 40)
    (there / "empty").write_bytes(b"")
    fetch(Host(tmp_path / "host", most=1000), Path("/out"), tmp_path / "here")
    assert (tmp_path / "here/trace/segment-000001/requests.parquet").read_bytes() == bytes(range(256)) * 40
    assert files_of(tmp_path / "here") == files_of(tmp_path / "host" / "out")


def test_what_is_here_already_is_not_read(tmp_path: Path) -> None:
    """As on a file system that all hosts share; a file that has grown since is."""
    there = tmp_path / "out"
    there.mkdir()
    for name in ("old", "grown"):
        (there / name).write_bytes(b"1")
    host = Host(tmp_path)
    fetch(host, Path("/out"), tmp_path / "here")
    (there / "grown").write_bytes(b"12")
    host.read_paths.clear()
    fetch(host, Path("/out"), tmp_path / "here")
    assert set(host.read_paths) == {"/out/grown"}
    assert (tmp_path / "here" / "grown").read_bytes() == b"12"


def test_a_folder_that_is_not_there_brings_nothing_and_a_file_that_went_is_an_error(tmp_path: Path) -> None:
    """The first is an engine that recorded nothing."""
    fetch(Host(tmp_path), Path("/nowhere"), tmp_path / "here")
    assert not (tmp_path / "here").exists()
    with pytest.raises(StoreError, match="cannot be read"):
        read_piece(str(tmp_path / "gone"), 0, 1)
