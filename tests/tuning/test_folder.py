"""The folder of a tuning: what is damaged, full or taken away costs no answer."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from framepace import api
from framepace.errors import StoreError
from framepace.facts.settings import Case
from framepace.facts.tuning import Goal
from framepace.store import OutputFolder
from framepace.tuning.journal import TUNING
from framepace.tuning.tune import tune
from tests.store.killed import case

GRID = {"batch": (1, 2)}
GOAL = Goal(fps=100, p99_ms=33, objective="p99", cameras=1)


def tuned(folder: Path | None, of: Case | None = None) -> list[int]:
    """Trials of each candidate, and no more notes than expected."""
    result = tune(of or case(), GOAL, grid=GRID, folder=folder, time_limit=30)
    assert result.plan is not None
    return [len(candidate.measured) for candidate in result.candidates]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tuning that came to its end."""
    folder = tmp_path_factory.mktemp("finished") / "t"
    tuned(folder)
    return folder


@pytest.fixture(scope="module")
def trials() -> list[int]:
    """Trials of each candidate of the tuning when nothing is in its way."""
    return tuned(None)


@pytest.mark.long
@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"\xff" * 50, b"[" * 100_000, b'{"goal": 3}'],
    ids=["empty", "torn", "garbage", "deep", "other"],
)
def test_a_damaged_journal_is_measured_again_and_said(
    tmp_path: Path, finished: Path, trials: list[int], damage: bytes
) -> None:
    """The tuning answers as if nothing had been there, with a note."""
    shutil.copytree(finished, tmp_path / "t")
    (tmp_path / "t" / TUNING).write_bytes(damage)
    again = tune(case(), GOAL, grid=GRID, folder=tmp_path / "t", time_limit=30)
    assert [len(candidate.measured) for candidate in again.candidates] == trials
    assert any("could not be read" in note for note in again.notes)


@pytest.mark.long
def test_a_full_disk_does_not_end_a_tuning(tmp_path: Path, trials: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """From the first file on that finds no room all is in memory; the notes say why, and the plan is the same."""
    real = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if (tmp_path / "t" / TUNING).exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    result = tune(case(), GOAL, grid=GRID, folder=tmp_path / "t", time_limit=30)
    assert [len(candidate.measured) for candidate in result.candidates] == trials
    assert any("disk is full" in note for note in result.notes)


@pytest.mark.long
def test_a_plan_that_cannot_be_saved_is_still_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`framepace.tune` returns it, and a note says that its files are missing."""

    real = OutputFolder.release

    def taken_away(folder: OutputFolder) -> None:
        real(folder)
        if folder.path == tmp_path / "t":
            shutil.rmtree(folder.path, ignore_errors=True)
            folder.path.write_text("mine")

    monkeypatch.setattr(OutputFolder, "release", taken_away)
    result = api.tune(case(), fps=100, p99_ms=33, cameras=1, vary={"batch": (1,)}, out=tmp_path / "t", time_limit=30)
    assert result.plan is not None
    assert any("plan and report were not saved" in note for note in result.notes)
    assert (tmp_path / "t").read_text() == "mine"


def test_two_tunings_at_one_time_in_one_folder(tmp_path: Path) -> None:
    """The second is refused, and the first goes on."""
    with OutputFolder(tmp_path / "t", "tuning"), pytest.raises(StoreError, match="another run is writing"):
        tuned(tmp_path / "t")
