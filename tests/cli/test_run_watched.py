"""`framepace run` as it is watched: JSON lines on standard error, a dashboard, and sentences for what cannot be."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.doubles.commands import Command
from tests.doubles.processes import waited_for

RUN = ("run", "builtin:detector", "--source", "a=synthetic", "--backend", "null")


def events(text: str) -> list[dict[str, Any]]:
    """The JSON lines that are complete."""
    lines = text.rpartition("\n")[0].splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def test_a_program_reads_what_happens_and_asks_how_it_stands(tmp_path: Path) -> None:
    """--log json is an object per line, from the beginning to the end; the dashboard answers at the port it tells."""
    with Command(tmp_path, *RUN, "--loop", "--fps", "30", "--log", "json", "--dashboard", "0") as command:
        told = waited_for(lambda: events(command.err))[0]
        assert told["event"] == "dashboard"
        with urlopen(f"{told['text']}status", timeout=30) as answer:
            assert json.load(answer)["sources"][0]["name"] == "a"
        command.signal(signal.SIGTERM)
        assert command.wait() == 0
        names = [event["event"] for event in events(command.err)]
    assert (names[1], names[-1]) == ("run.started", "run.ended")


def test_a_taken_port_is_told_before_anything_begins(tmp_path: Path) -> None:
    """Exit code 2, a sentence, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Command(tmp_path, *RUN, "--dashboard", port) as command:
            assert command.wait() == 2
            assert f"the dashboard cannot listen at port {port}" in command.err
            assert "Traceback" not in command.err


def test_results_and_their_end_are_all_that_standard_output_has(tmp_path: Path) -> None:
    """A line per result in order, then one object; what happens meanwhile is on standard error."""
    with Command(tmp_path, *RUN, "--sink", "stdout", "--json", "--log", "json") as command:
        command.wait()
        lines = command.out.splitlines()
        assert '{"source"' not in command.err
    results = [json.loads(line) for line in lines if line.startswith('{"source"')]
    status = json.loads("\n".join(lines[len(results) :]))
    numbers = [result["number"] for result in results]
    assert numbers == sorted(set(numbers))
    assert len(numbers) == status["sources"][0]["delivered"] > 0
