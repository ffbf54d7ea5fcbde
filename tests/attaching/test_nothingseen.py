"""Why no inference was seen: the sentence names the reason where it can be known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from framepace import api
from framepace.attaching.calls import ProcessFacts
from framepace.attaching.ending import Ended
from framepace.attaching.nothingseen import NothingSeen, Seen, nothing_seen


def told(tmp_path: Path, text: str) -> NothingSeen:
    """What is said of a program of so many lines."""
    program = tmp_path / "program.py"
    program.write_text(text)
    with pytest.raises(NothingSeen) as error:
        api.attach([sys.executable, str(program)])
    return error.value


def script(tmp_path: Path, first: str) -> str:
    """A program that begins with such a line."""
    path = tmp_path / "script"
    path.write_text(f"#!{first}\n")
    path.chmod(0o755)
    return str(path)


def test_the_error_that_ended_a_program_is_told(tmp_path: Path) -> None:
    """Python's own words for it, beside the exit code, which is kept."""
    error = told(tmp_path, "raise ValueError('no such camera')\n")
    assert "exit code 1, ValueError: no such camera" in str(error)
    assert error.exit_code == 1


def test_a_program_whose_python_has_no_framepace_is_told_to_install_it() -> None:
    """It names its frames, and cannot import what it names them with."""
    facts = ProcessFacts((), (), raised="ModuleNotFoundError: No module named 'framepace'")
    error = nothing_seen(["app.py"], Ended(1), Seen([facts]), 600)
    assert "python -m pip install framepace" in str(error)


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        ("[sys.executable, '-I', '-c', '']", "was started with -I, and is not observed"),
        ("[sys.executable, '-c', ''], env={}", "without this one's PYTHONPATH, and is not observed"),
    ],
)
def test_a_program_that_is_started_without_the_probe_is_told(tmp_path: Path, start: str, reason: str) -> None:
    """By flags of Python, or by an environment of its own; its arguments, which may hold secrets, are not."""
    error = told(tmp_path, f"import subprocess, sys\nsubprocess.run({start})\n")
    assert reason in str(error)
    assert "'-c'" not in str(error)


def test_a_program_that_starts_others_as_usual_is_told_of_none(tmp_path: Path) -> None:
    """One of Python with the environment that it has itself, and one that is none of Python."""
    lines = "subprocess.run([sys.executable, '-c', ''])\nsubprocess.run('true -E', shell=True, env={})\n"
    assert "not observed" not in str(told(tmp_path, f"import subprocess, sys\n{lines}"))


def test_a_script_that_keeps_the_probe_out_by_its_first_line_is_told(tmp_path: Path) -> None:
    """With the command that lets it in."""
    path = script(tmp_path, f"{sys.executable} -I")
    with pytest.raises(NothingSeen, match="first line") as error:
        api.attach([path])
    assert f"framepace attach -- {sys.executable} {path}" in str(error.value)


def test_a_python_that_is_too_old_for_the_probe_is_told(tmp_path: Path) -> None:
    """A program in the place of Python says that it is 3.6."""
    python = tmp_path / "python3"
    python.write_text("#!/bin/sh\necho 3.6\n")
    python.chmod(0o755)
    with pytest.raises(NothingSeen, match=r"is Python 3\.6") as error:
        api.attach([str(python), "app.py"])
    assert "Python 3.9 or later" in str(error.value)


def test_a_probe_that_does_not_start_says_why() -> None:
    """In the words of the error that kept it from it."""
    error = nothing_seen(["app.py"], Ended(0), Seen(failures=["TypeError: not subscriptable"]), 600)
    assert "the probe did not start in a process of it (TypeError: not subscriptable)" in str(error)
