"""Commands that are killed, the short form of `make attack`; what happens at random moments is in test_signals.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from attack import commands, corpus, kills
from attack.counts import Counts

SEED = 1


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands read."""
    return corpus.make(tmp_path_factory.mktemp("corpus"), SEED, commands=(), values=1)


def test_killed_commands_leave_nothing_and_lose_nothing(inputs: Path, tmp_path: Path) -> None:
    """A moment: no process, no memory, no result that cannot be read, and the same command goes on."""
    counts = Counts()
    kills.try_moment(SEED, 0, "sweep", tmp_path, inputs, counts)
    assert not counts.findings
    assert counts.tried.total() == 1


def test_a_process_that_stays_is_found_and_ended() -> None:
    """By its mark, whoever its parent is."""
    environment = {**os.environ, commands.MARK: "a test"}
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], env=environment)
    assert commands.leftovers("a test", patience_s=0.0)
    assert process.wait() == -signal.SIGKILL
    assert not commands.leftovers("a test", patience_s=0.0)


def test_a_trace_that_cannot_be_read_is_lost(inputs: Path, tmp_path: Path) -> None:
    """One whose files were open has its rows; one that had only begun has none to lose."""
    folder = commands.prepared(tmp_path / "x", inputs)
    assert not commands.lost(folder)
    (folder / "out").mkdir()
    (folder / "out" / "meta.json").write_text("{")
    assert not commands.lost(folder)
    for name in ("requests.journal", "telemetry.journal"):
        (folder / "out" / name).touch()
    assert len(commands.lost(folder)) == 1


def test_a_bug_and_an_end_by_signal_are_findings() -> None:
    """What a command says, and how it ends."""
    counts = Counts()
    commands.check_text(
        counts, "x", "error: framepace failed\n  got: KeyError: 1\n  this is a bug in framepace", 2, "x"
    )
    commands.check_text(counts, "x", "", -signal.SIGSEGV, "x")
    commands.check_text(counts, "x", "error: no", 2, "x")
    assert [(finding.fault, finding.where) for finding in counts.findings] == [
        ("traceback", "got: KeyError: 1"),
        ("signal", "ended by signal 11"),
    ]
