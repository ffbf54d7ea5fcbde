"""JSON lines to files and to standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from framepace.clock.system import SystemClock
from framepace.errors import SinkError, SinkUnavailable
from framepace.sinks.base import ResultSink
from framepace.sinks.files import JsonLines, StandardOutput
from framepace.sinks.named import queued_sink
from framepace.sinks.sinktext import parse
from tests.doubles.sinks import result


def json_lines(text: str) -> JsonLines:
    """An open sink."""
    sink = JsonLines(parse(text, {}))
    sink.open()
    return sink


def numbers(path: Path) -> list[int]:
    """The numbers of the results in a file."""
    return [json.loads(line)["number"] for line in path.read_text().splitlines()]


def test_results_are_lines_behind_what_is_there(tmp_path: Path) -> None:
    """A second run appends; a line that a killed process left half is ended, and stands alone."""
    path = tmp_path / "out.jsonl"
    for number in (0, 1):
        sink = json_lines(f"jsonl:{path}")
        sink.write([result(number)])
        sink.close()
    assert numbers(path) == [0, 1]
    path.write_bytes(path.read_bytes() + b'{"half')
    sink = json_lines(f"jsonl:{path}")
    sink.write([result(2)])
    assert path.read_text().splitlines()[2] == '{"half'
    assert json.loads(path.read_text().splitlines()[3])["number"] == 2


def test_a_file_is_rotated_before_it_is_larger_than_asked(tmp_path: Path) -> None:
    """Lines are never parted; the newest two older files stay, and no line of them is lost."""
    path = tmp_path / "out.jsonl"
    sink = json_lines(f"jsonl:{path}#rotate=300,keep=2")
    for number in range(20):
        sink.write([result(number)])
    names = sorted(item.name for item in tmp_path.iterdir())
    assert names == ["out.jsonl", "out.jsonl.1", "out.jsonl.2"]
    assert all(item.stat().st_size <= 300 for item in tmp_path.iterdir())
    kept = [number for name in reversed(names) for number in numbers(tmp_path / name)]
    assert kept == list(range(kept[0], 20))
    assert len(kept) >= 6


@pytest.mark.parametrize("place", ["no/such/folder/out.jsonl", ".", "file/out.jsonl", "/proc/out.jsonl"])
def test_a_file_that_cannot_be_made_is_refused_at_the_start(tmp_path: Path, place: str) -> None:
    """The folder is missing, is one, is a file, or takes no files."""
    (tmp_path / "file").touch()
    queued = queued_sink(f"jsonl:{tmp_path / place}", SystemClock(), {})
    with pytest.raises(SinkError, match="cannot be opened") as error:
        queued.start()
    assert "what to do" in str(error.value)


def test_a_full_disk_is_waited_for() -> None:
    """Results of a device that is always full are offered again, not lost."""
    sink = json_lines("jsonl:/dev/full")
    with pytest.raises(SinkUnavailable, match="No space left"):
        sink.write([result(0)])


LIMITED = """
import resource, signal, sys
from framepace.errors import SinkError
from framepace.sinks.files import JsonLines
from framepace.sinks.sinktext import parse
from tests.doubles.sinks import result

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sink = JsonLines(parse("jsonl:" + sys.argv[1], {}))
sink.open()
written = 0
try:
    while True:
        sink.write([result(written)])
        written += 1
except SinkError as error:
    print(written, error.got)
"""


def test_a_line_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    """The file ends with the last whole line when the system takes only a part of the next."""
    path = tmp_path / "out.jsonl"
    run = subprocess.run([sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True)
    written, _, reason = run.stdout.partition(" ")
    assert "File too large" in reason
    assert int(written) > 5
    assert numbers(path) == list(range(int(written)))


def test_standard_output_is_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """What goes to descriptor 1 is JSON alone."""
    sink: ResultSink = StandardOutput(parse("stdout", {}))
    sink.open()
    sink.write([result(0), result(1)])
    sink.close()
    assert [json.loads(line)["number"] for line in capfd.readouterr().out.splitlines()] == [0, 1]


ENDLESS = """
import sys
from framepace.errors import SinkError, SinkUnavailable
from framepace.sinks.files import StandardOutput
from framepace.sinks.sinktext import parse
from tests.doubles.sinks import result

sink = StandardOutput(parse("stdout", {}))
sink.open()
try:
    while True:
        sink.write([result(0)])
except SinkError as error:
    sys.stderr.write(f"{type(error).__name__}: {error.got}")
"""


def test_a_reader_of_standard_output_that_left_is_told() -> None:
    """The batch is refused for good: nobody comes to read it later."""
    command = [sys.executable, "-c", ENDLESS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        json.loads(program.stdout.readline())
        program.stdout.close()
        assert program.stderr.read() == "SinkError: stdout: Broken pipe"
