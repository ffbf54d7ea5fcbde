"""`framepace run` as it is watched: JSON lines on standard error, a dashboard, and sentences for what cannot be."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from urllib.request import urlopen

RUN = (sys.executable, "-m", "framepace", "run", "builtin:detector", "--source", "a=synthetic", "--backend", "null")


def test_a_program_reads_what_happens_and_asks_how_it_stands() -> None:
    """--log json is an object per line, from the beginning to the end; the dashboard answers at the port it tells."""
    command = [*RUN, "--loop", "--fps", "30", "--log", "json", "--dashboard", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        told = json.loads(process.stderr.readline())
        assert told["event"] == "dashboard"
        with urlopen(f"{told['text']}status", timeout=30) as answer:
            assert json.load(answer)["sources"][0]["name"] == "a"
        process.terminate()
        events = [json.loads(line) for line in process.stderr if line.startswith("{")]
    assert events[0]["event"] == "run.started"
    assert events[-1]["event"] == "run.ended"
    assert process.returncode == 0


def test_a_taken_port_is_told_before_anything_begins() -> None:
    """Exit code 2, a sentence, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run([*RUN, "--dashboard", str(port)], capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert f"the dashboard cannot listen at port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_results_and_their_end_are_all_that_standard_output_has() -> None:
    """A line per result in order, then one object; what happens meanwhile is on standard error."""
    command = [*RUN, "--sink", "stdout", "--json", "--log", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = ended.stdout.splitlines()
    results = [json.loads(line) for line in lines if line.startswith('{"source"')]
    status = json.loads("\n".join(lines[len(results) :]))
    assert [result["number"] for result in results] == [*range(status["sources"][0]["delivered"])]
    assert results
    assert '{"source"' not in ended.stderr
