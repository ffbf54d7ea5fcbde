"""The tables of docs/cases/seeds.md: every command is run, and its answer stands in the first lines of its output."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.docs.pages import DOCS, blocks
from tests.docs.test_commands import PATIENCE_S, run_block
from tests.doubles.commands import Command
from tests.gpus import has_gpu

PAGE = DOCS / "cases" / "seeds.md"
LINES = 10  # in which the answer is
COLUMNS = "80"
# Commands that take about a second; the others are run by `make test-long`.
QUICK = ("layers builtin:resnet50", "sweep null", "sms=none,50%", "backend tensorrt")
_COMMAND = re.compile(r"`(framepace [^`]+)`")
_PRINTED = re.compile(r"\*\*(.+?)\*\*")


class Row(NamedTuple):
    """One row of a table: what its author said, the command, its answer (words of the output in bold), the figure."""

    said: str
    command: str
    answer: str
    seen: str


def tables() -> Iterator[Row]:
    """The rows of the tables that have a command in their head."""
    inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif "command" in cells:
            inside = True
        elif inside and not line.startswith("|---"):
            yield Row(*cells)


ROWS = list(tables())
COMMANDS = list(dict.fromkeys(row.command.strip("`") for row in ROWS))


def as_parameter(command: str) -> object:
    """The command, marked as long unless it is a quick one."""
    marks = () if any(words in command for words in QUICK) else (pytest.mark.long,)
    return pytest.param(command, marks=marks)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the page's blocks write."""
    folder = tmp_path_factory.mktemp("seeds")
    for block in blocks(PAGE):
        run_block(block, folder, {})
    return folder


@pytest.fixture
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where the command is run: with the page's files if it names one."""
    command: str = request.getfixturevalue("command")
    if re.search(r" (runs/|\w+\.(csv|onnx))", command):
        return request.getfixturevalue("prepared")  # type: ignore[no-any-return]
    return tmp_path


def test_every_row_has_a_command_its_answer_and_what_a_gpu_showed() -> None:
    """The answer quotes the output; the last cell has a figure, or says that there is none."""
    assert len(ROWS) > 30
    for row in ROWS:
        assert _COMMAND.fullmatch(row.command), row.said
        assert _PRINTED.search(row.answer), row.said
        assert re.search(r"\d|\bnot\b|\bno\b|the same", row.seen), row.said


@pytest.mark.parametrize("command", [as_parameter(command) for command in COMMANDS])
def test_the_answer_is_in_the_first_lines(command: str, folder: Path) -> None:
    """As the page has it, in a pipe of 80 columns."""
    if "tensorrt" in command and has_gpu():
        pytest.skip("here it may be installed")
    with Command(folder, *shlex.split(command)[1:], COLUMNS=COLUMNS) as running:
        code = running.wait(PATIENCE_S)
        output = running.out + running.err
    assert code in (0, 1) or "tensorrt" in command, output
    first = " ".join(" ".join(output.strip().splitlines()[:LINES]).split())
    for words in printed(command):
        assert words in first, output


def printed(command: str) -> Iterator[str]:
    """The words of its output that the page quotes."""
    for row in ROWS:
        if row.command == f"`{command}`":
            yield from _PRINTED.findall(row.answer)
