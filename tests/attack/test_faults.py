"""What a system refuses, the short form of `make attack`."""

from __future__ import annotations

from pathlib import Path

import pytest

from attack import corpus, faults
from attack.counts import Counts

SEED = 1
SHORT = {
    "disk, limit of files": "bench",
    "descriptors": "report",
    "output full": "settings",
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands read."""
    return corpus.make(tmp_path_factory.mktemp("corpus"), SEED, commands=(), values=1)


@pytest.mark.parametrize("name", list(SHORT))
def test_what_the_system_refuses_is_a_sentence(name: str, inputs: Path, tmp_path: Path) -> None:
    """No traceback, no end by signal, nothing left, and what was written can be read."""
    counts = Counts()
    fault = next(fault for fault in faults.FAULTS if fault.name == name)
    faults.try_fault(fault, SHORT[name], SEED, tmp_path / "run", inputs, counts)
    assert not counts.findings
    assert counts.tried.total() == 1


def test_time_that_leaps_is_a_run_like_any_other() -> None:
    """In virtual time: by seconds, minutes and hours."""
    counts = Counts()
    faults.try_clocks(SEED, counts, range(3))
    assert not counts.findings
    assert counts.tried["faults, clock"] == 3
