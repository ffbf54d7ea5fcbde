"""The commands and programs that the documents name: each is run, or says why not."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from _pytest.mark import ParameterSet
from typer.main import get_command

from framepace.attaching.settings import PROGRAM_SETTINGS
from framepace.cli.app import app
from framepace.facts.settings import SETTINGS
from framepace.models.builtin import model_bytes
from tests.docs.pages import MARKS, PAGES, Block, blocks, name
from tests.doubles.commands import Command
from tests.gpus import has_gpu

BLOCKS = [block for page in PAGES for block in blocks(page)]
# Added to a command after its own options, so that the last value counts: enough to see that it works.
SHORT = {
    "attach": ("--seconds", "6", "--time-limit", "25"),
    "explain": ("--time-limit", "10"),
    "tune": ("--time-limit", "10"),
    "capacity": ("--time-limit", "10", "--max", "2"),
    "bench": ("--seconds", "1"),
    "sweep": ("--seconds", "1"),
}
STARTS_OTHERS = ("framepace attach", "framepace launch")  # which begin with the start of Python, as their programs do
PATIENCE_S = 200.0

# Run by `make test`; the others by `make test-long`.
FIRST_PAGES = ("docs/install.md",)


def pages_with(*marks: str) -> list[Path]:
    """The pages that have blocks with one of the marks."""
    return sorted({block.page for block in BLOCKS if block.mark in marks})


def first_pages_quick(*marks: str) -> list[ParameterSet]:
    """The pages with one of the marks, marked as long unless they are first pages."""
    parameters = []
    for page in pages_with(*marks):
        slow = () if name(page) in FIRST_PAGES else (pytest.mark.long,)
        parameters.append(pytest.param(page, marks=slow))
    return parameters


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables beside those of the test: words in a width of their own, and a cache that nobody else uses."""
    return {"COLUMNS": "100", "FRAMEPACE_CACHE": str(tmp_path_factory.mktemp("cache"))}


class Ended(NamedTuple):
    """A command or program that has ended."""

    code: int
    out: str
    err: str


def run_command(command: str, folder: Path, environment: dict[str, str]) -> Ended:
    """A `framepace ...` line, kept short, in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment.items():
            patch.setenv(variable, value)
        with Command(folder, *short(command), fresh=command.startswith(STARTS_OTHERS)) as running:
            code = running.wait(PATIENCE_S)
            return Ended(code, running.out, running.err)


def run_program(text: str, folder: Path, environment: dict[str, str]) -> Ended:
    """A program in Python, in a process of its own."""
    program = [sys.executable, "-c", text]
    variables = {**os.environ, **environment}
    done = subprocess.run(
        program, capture_output=True, text=True, cwd=folder, env=variables, timeout=PATIENCE_S, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def run_block(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Every command of the block ends with code 0 or 1, and a program with 0."""
    if block.language == "python":
        file = re.match(r"# (\w+\.py)\n", block.text)
        if file:
            (folder / file[1]).write_text(block.text)
            return
        result = run_program(block.text, folder, environment)
        assert result.code == 0, f"{name(block.page)}:{block.line}\n{result.out}\n{result.err}"
        return
    for command in block.commands:
        result = run_command(command, folder, environment)
        assert result.code in (0, 1), f"{command}\n{result.out}\n{result.err}"
        assert "Traceback" not in result.err, f"{command}\n{result.err}"


def short(command: str) -> list[str]:
    """The words of a `framepace ...` line, with the options that keep it short."""
    words = shlex.split(command)[1:]
    end = words.index("--") if "--" in words else len(words)
    shortened = () if "--fleet" in words else SHORT.get(words[0], ())  # a fleet is computed, and takes no such options
    return [*words[:end], *shortened, *words[end:]]


@pytest.mark.timeout(900)  # README has nine commands: a busy machine takes minutes
@pytest.mark.parametrize("page", first_pages_quick(""), ids=name)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """Those without a mark, in their order, in one folder, with short limits."""
    for block in blocks(page):
        if block.mark == "":
            run_block(block, tmp_path, environment)


@pytest.mark.long
@pytest.mark.real
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", pages_with("long"), ids=name)
def test_all_commands_of_a_page_run(
    page: Path, tmp_path: Path, environment: dict[str, str], stand_ins: dict[str, Path]
) -> None:
    """Those that take long too; real files stand for the reader's own."""
    for file, path in stand_ins.items():
        (tmp_path / file).symlink_to(path)
    for block in blocks(page):
        if block.mark in ("", "long"):
            run_block(block, tmp_path, environment)


@pytest.fixture
def stand_ins(detector_model: Path, classifier_model: Path, recogniser_model: Path, bikes: Path) -> dict[str, Path]:
    """The files that the documents name."""
    models = {"detector.onnx": detector_model, "classifier.onnx": classifier_model, "recogniser.onnx": recogniser_model}
    return {**models, "video.mp4": bikes}


@pytest.mark.parametrize("page", first_pages_quick("gpu"), ids=name)
def test_commands_for_a_gpu_run_or_say_what_is_missing(page: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    """With a GPU they run. Without one each ends with code 2 and says what to install, or that there is no device."""
    (tmp_path / "resnet50.onnx").write_bytes(model_bytes("classifier"))
    for block in blocks(page):
        if block.mark != "gpu":
            continue
        if has_gpu():
            run_block(block, tmp_path, environment)
            continue
        for command in block.commands:
            result = run_command(command, tmp_path, environment)
            output = result.out + result.err
            assert "Traceback" not in output, f"{command}\n{output}"
            assert re.search(r"CUDA|cuda|framepace\[", output), f"{command}\n{output}"
            assert result.code == 2 or " sweep " in command, f"{command}\n{output}"


def test_every_block_is_run_or_says_why_not() -> None:
    """Marks are the known ones, what is not run has a reason, and what is run is a command of framepace."""
    for block in BLOCKS:
        place = f"{name(block.page)}:{block.line}"
        assert block.mark in MARKS, place
        assert (block.mark == "not run") == bool(block.reason), place
        if block.language == "sh" and block.mark != "not run":
            assert all(command.startswith("framepace ") for command in block.commands), place


def framepace_commands() -> Iterator[tuple[str, list[str]]]:
    """Place and words of every framepace command in a shell block, run or not; without a command after '--'."""
    for block in BLOCKS:
        for command in block.commands if block.language == "sh" else ():
            if command.startswith("framepace "):
                own = command.partition(" -- ")[0]
                yield f"{name(block.page)}:{block.line} {command}", shlex.split(own)[1:]


def test_every_option_and_setting_that_is_named_exists() -> None:
    """Also in blocks that are not run."""
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for place, words in framepace_commands():
        command = commands[words[0]]
        command = command.commands[words[1]] if words[0] in ("plan", "control") else command
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, place
        changes = [words[i + 1] for i, word in enumerate(words) if word in ("--set", "--vary")]
        for setting in (change.partition("=")[0] for change in changes):
            head, _, tail = setting.partition(".")
            own = words[0] in ("attach", "launch") and setting in PROGRAM_SETTINGS
            assert setting in SETTINGS or own or head == "option" or tail in SETTINGS, place
