"""Models in files that several modules here use."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network as PyTorch's exported program; for tests that skip without PyTorch."""
    from tests.exec.torch_nets import save_export

    return save_export(tmp_path_factory.mktemp("torch") / "net.pt2")


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same as TorchScript."""
    from tests.exec.torch_nets import save_script

    return save_script(tmp_path_factory.mktemp("torch") / "net.pt")
