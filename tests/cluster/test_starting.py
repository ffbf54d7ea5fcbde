"""Ray that cannot be started here: told at once, with what can be done about it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from framepace.cluster import ClusterError, connect


class _Usage(NamedTuple):
    """Of a disk, bytes."""

    total: int
    used: int
    free: int


def _forbidden(*_: Any, **__: Any) -> None:
    raise RuntimeError("The current node timed out during startup.")


def test_a_full_disk_is_told_before_ray_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is free, where, and how another folder is named."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # another test's cluster may be there
    monkeypatch.setattr(shutil, "disk_usage", lambda _: _Usage(1 << 30, (1 << 30) - (3 << 20), 3 << 20))
    with pytest.raises(ClusterError, match="no room for its files") as told:
        connect("local")
    assert "3 MiB free" in str(told.value.got)
    assert "TMPDIR=/DIR" in str(told.value.fix)


def test_where_ray_does_not_start_here_nobody_is_sent_to_ray_here(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """'--ray local' is what failed; and its folder is gone."""
    ray = pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")
    monkeypatch.setattr(ray, "init", _forbidden)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr("framepace.cluster.starting._short_folder", lambda: str(tmp_path / "ray"))
    with pytest.raises(ClusterError, match="cannot be started here") as told:
        connect("local")
    assert "timed out during startup" in str(told.value.got)
    assert "--ray local" not in str(told.value)
    assert "leave --ray out" in str(told.value.fix)
