"""One cluster for all tests of a session: Ray on this machine, with GPUs that are only numbers to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from framepace.cluster import Cluster, connect


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two places."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra 'ray')")
    with connect("local", logical_gpus=2) as joined:
        yield joined
