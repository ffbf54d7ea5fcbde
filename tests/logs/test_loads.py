"""Tables of loads as people have them: from perf_analyzer's documentation, from reports of its users, and made here."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from framepace import explain_log
from framepace.errors import StoreError, UsageError
from framepace.explaining.expect import parse_tool_number
from framepace.facts.loads import LoadPoint
from framepace.loadtables import compare_loads, explain_loads
from framepace.logs.loads import is_loads, read_loads
from framepace.reporting.views.loads import loads_comparison_view, loads_view
from tests.cli.test_cli import document, framepace

FILES = Path(__file__).parent / "loads"
"""Where they are from (some are shortened):

guide.csv, percentile.txt     triton-inference-server/perf_analyzer, docs/measurements_metrics.md
old.csv                       the documentation of perf_client, as it was called before 2020
rates.csv                     perf_analyzer 2.60 with --request-rate-range and --verbose-csv, seen here
bare.csv                      made here: as a wrapper keeps it, without the load
cached.csv                    made here: with a response cache and GPUs (columns of its report_writer.cc)
analyzer.csv                  Model Analyzer's guide for Kubernetes: three tables in one file
copies.txt, overflown.log     triton-inference-server/server, issues 3657 and 2137
decoupled.txt                 triton-inference-server/python_backend, pull request 163
ends.txt, tails.txt           made here: the lines at the end alone, as people paste them
ensemble.txt                  made here, in the form of triton-inference-server/perf_analyzer, issue 296
"""
HEAD = "Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,"
Numbers = tuple[float | None, float, float | None, float | None]
FOREIGN: dict[str, list[Numbers]] = {
    "guide.csv": [
        (1, 69.2, 14.443, 21.018),
        (2, 87.2, 22.912, 34.766),
        (3, 84.2, 35.646, 51.701),
        (4, 84.2, 47.535, 64.886),
    ],
    "old.csv": [
        (1, 160.8, 6.205, 7.407),
        (2, 209.2, 9.545, 9.627),
        (3, 207.8, 14.421, 15.853),
        (4, 208.4, 19.183, 19.583),
    ],
    "rates.csv": [(10, 9.91315, 10.429, 40.214), (30, 29.8683, 19.348, 162.659)],
    "bare.csv": [(None, 47.2, 5.5, 8.0)],
    "cached.csv": [(1, 2029.6, 0.443, 0.7)],
    "analyzer.csv": [(1, 164, None, 8.1), (2, 195, None, 11.0)],
    "copies.txt": [(1, 219.6, 4.553, 11.129)],
    "overflown.log": [(1, 8.8, 114.044, 155.897)],
    "percentile.txt": [(1, 69.6, 14.017, 21.859)],
    "decoupled.txt": [(1, 324.867, 3.013, 4.071)],
    "ends.txt": [(1, 69.2, 14.443, None), (2, 87.2, 22.912, None)],
    "tails.txt": [(30, 29.87, None, None)],
    "ensemble.txt": [(2, 50, 40.0, None)],
}


def saved(folder: Path, name: str, text: str = "") -> Path:
    """A file of that name."""
    path = folder / name
    path.write_text(text or (FILES / name).read_text())
    return path


def guide() -> str:
    """The table of the guide."""
    return (FILES / "guide.csv").read_text()


def ms(ns: float | None) -> float | None:
    """Nanoseconds as ms."""
    return None if ns is None else round(ns / 1e6, 6)


def numbers(point: LoadPoint) -> tuple[float | None, float, float | None, float | None]:
    """Load, throughput, mean and p99."""
    return point.load, point.throughput, ms(point.mean), ms(point.percentiles.get("p99"))


@pytest.mark.parametrize("name", FOREIGN)
def test_the_numbers_are_those_of_the_file(name: str, tmp_path: Path) -> None:
    """Load, throughput, mean and p99 of each row, by load; in ns, whatever the unit was."""
    path = saved(tmp_path, name)
    assert is_loads(path)
    assert [numbers(point) for point in read_loads(path).points] == FOREIGN[name]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (
            "guide.csv",
            {
                "send": 0.225,
                "network": 2.148,
                "queue": 0.064,
                "input": 0.206,
                "compute": 11.781,
                "output": 0.019,
                "receive": 0,
            },
        ),
        ("old.csv", {"send": 0.068, "network": 1.291, "queue": 0.038, "compute": 4.801, "receive": 0.007}),
        ("copies.txt", {"network": 0.375, "queue": 0.03, "input": 3.012, "compute": 1.1, "output": 0.036}),
        ("overflown.log", {"network": 97.954, "queue": 0.124, "input": 3.725, "compute": 12.169, "output": 0.072}),
        ("ensemble.txt", {"network": 3, "queue": 7, "compute": 30}),
        (
            "cached.csv",
            {
                "send": 0.008,
                "network": 0.3,
                "queue": 0.01,
                "input": 0.005,
                "compute": 0.06,
                "output": 0.005,
                "cache": 0.043,
                "receive": 0.012,
            },
        ),
    ],
)
def test_the_parts_are_those_of_the_file(name: str, parts: dict[str, float], tmp_path: Path) -> None:
    """What is left of the client's mean is the network's; an ensemble's parts are its own, not those of its models."""
    point = read_loads(saved(tmp_path, name)).points[0]
    assert {part: ms(ns) for part, ns in point.parts.items()} == pytest.approx(parts)


def test_more_requests_than_the_throughput_needs_wait_in_the_queue(tmp_path: Path) -> None:
    """Two in flight give the most; beyond, the queue grows by 24.5 ms, and that is suspected first."""
    found = explain_loads(saved(tmp_path, "guide.csv"))
    assert found.knee is not None
    assert found.knee.load == 2
    assert (found.grown, ms(found.growth)) == ("queue", 24.518)
    assert [one.title for one in found.suspected] == ["requests wait for an instance there", "the model computes"]
    assert found.suspected[0].command.endswith("--load closed:2")
    assert "beyond, queue grows by 24.5 ms" in loads_view(found).knee


def test_copies_that_take_longer_than_the_model_are_suspected(tmp_path: Path) -> None:
    """The question of issue 3657: compute input is heavier than all the others."""
    assert [one.title for one in explain_loads(saved(tmp_path, "copies.txt")).suspected] == [
        "inputs are gathered and copied there"
    ]


def test_configurations_are_kept_apart(tmp_path: Path) -> None:
    """The best one is judged; its name stands before the load."""
    rows = ["m,1,a,100,9.0", "m,4,a,150,30.0", "m,1,b,90,9.0", "m,4,b,300,15.0"]
    head = "Model,Concurrency,Model Config Path,Throughput (infer/sec),p99 Latency (ms)"
    found = explain_loads(saved(tmp_path, "configurations.csv", "\n".join([head, *rows, ""])))
    view = loads_view(found)
    assert "at most 300 per second, at b, 4 in flight" in view.sentence
    assert found.knee is not None
    assert (found.knee.name, found.knee.load) == ("b", 4)


def test_two_tables_are_compared_and_called_undecided(tmp_path: Path) -> None:
    """At loads that both have; what only one has is counted, and a mean that one does not say is left open."""
    fewer = saved(tmp_path, "fewer.csv", "\n".join(guide().splitlines()[:2]).replace("69.2", "138.4") + "\n")
    compared = compare_loads(saved(tmp_path, "guide.csv"), fewer)
    [change] = compared.changes
    assert (change.throughput, change.mean, change.p99) == (2.0, 1.0, 1.0)
    assert (compared.only_a, compared.only_b, compared.verdict) == (3, 0, "undecided")
    view = loads_comparison_view(compared)
    assert view.rows == (("1 in flight", "2.00x", "1.00x", "1.00x"),)
    assert "undecided" in view.sentence


def export(path: Path, *loads: tuple[str, float, list[float]]) -> Path:
    """What --profile-export-file writes: requests of those latencies (ms), one after the other, per load."""
    experiments = []
    for mode, value, latencies in loads:
        at = 0.0
        requests: list[dict[str, Any]] = [{"timestamp": 0, "response_timestamps": []}]
        for latency in latencies:
            requests.append({"timestamp": round(at * 1e6), "response_timestamps": [round((at + latency) * 1e6)]})
            at += latency
        experiments.append({"experiment": {"mode": mode, "value": value}, "requests": requests})
    path.write_text(json.dumps({"version": "2.60.0", "experiments": experiments}))
    return path


def test_exported_requests_are_summed_up_by_load(tmp_path: Path) -> None:
    """The mean of those that were answered, and the rate at which they were."""
    path = export(tmp_path / "requests.json", ("concurrency", 1.0, [10.0] * 9), ("concurrency", 2.0, [20.0] * 5))
    assert not is_loads(path)  # it has a row per request, which is more
    points = read_loads(path).points
    assert [(point.load, ms(point.mean)) for point in points] == [(1, 10), (2, 20)]
    assert points[0].throughput == pytest.approx(100)


@pytest.mark.parametrize(
    ("name", "tool", "expected"),
    [
        ("guide.csv", None, (14_443_000, 1)),
        ("guide.csv", "perf_analyzer:4", (47_535_000, 4)),
        ("rates.csv", "perf_analyzer", (10_429_000, None)),
        ("copies.txt", None, (4_553_000, 1)),
    ],
)
def test_a_file_is_a_number_to_expect(
    name: str, tool: str | None, expected: tuple[int, int | None], tmp_path: Path
) -> None:
    """The mean of the smallest load, or of the one that is named, with its requests in flight."""
    number = parse_tool_number(str(saved(tmp_path, name)), tool)
    assert number is not None
    assert (number.tool, number.ns, number.requests) == ("perf_analyzer", *expected)


def test_exported_requests_are_a_number_to_expect(tmp_path: Path) -> None:
    """Without --from, too."""
    number = parse_tool_number(str(export(tmp_path / "requests.json", ("concurrency", 1.0, [10.0] * 9))), None)
    assert number is not None
    assert number.ns == 10_000_000


@pytest.mark.parametrize(
    ("name", "tool", "says"),
    [
        ("guide.csv", "perf_analyzer:9", "no such load"),
        ("guide.csv", "trtexec-10", "perf_analyzer and Model Analyzer alone"),
        ("analyzer.csv", None, "no such load"),
    ],
)
def test_a_load_that_is_not_there_is_a_sentence(name: str, tool: str | None, says: str, tmp_path: Path) -> None:
    """Model Analyzer's usual table has no mean: it says how to have one."""
    with pytest.raises(UsageError, match=says) as raised:
        parse_tool_number(str(saved(tmp_path, name)), tool)
    assert raised.value.fix


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Inferences/Second\n",
        f"Concurrency,{HEAD}\n1,nan,2,3\n2,-5,1,1\n",
        "Request concurrency: 1\n",
        '{"experiments": []}',
        "\0\0",
    ],
)
def test_what_has_no_loads_is_a_sentence(text: str, tmp_path: Path) -> None:
    """A table without rows, with numbers that are none, cut short."""
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(StoreError, match="cannot be understood"):
        read_loads(path)


@pytest.mark.parametrize("text", ["timestamp,latency_ms\n0,5\n1,6\n", "infer: 8.1 ms, pre: 1 ms\n" * 9, "a,b\n1,2\n"])
def test_logs_of_requests_are_no_loads(text: str, tmp_path: Path) -> None:
    """They are read row by row, as before."""
    assert not is_loads(saved(tmp_path, "log.csv", text))


def test_packed_and_damaged_tables(tmp_path: Path) -> None:
    """Packed by gzip; with rows that are too short, too long or torn, of which the others are kept."""
    packed = tmp_path / "guide.csv.gz"
    packed.write_bytes(gzip.compress(guide().replace("\n", "\r\n").encode()))
    assert len(read_loads(packed).points) == 4
    torn = guide().replace("3,84.2,237", "3,").replace("1\n", "1,9,9\n", 1)
    assert {point.load for point in read_loads(saved(tmp_path, "torn.csv", torn)).points} >= {2.0, 4.0}


def test_the_commands_tell_and_compare_tables(tmp_path: Path) -> None:
    """As text within 80 columns' worth of words, and as one JSON object; nothing runs, and nothing is asked for."""
    path = saved(tmp_path, "guide.csv")
    told = framepace("explain", path)
    assert told.returncode == 0, told.stderr
    assert "2 in flight give 87.2 per second already" in told.stdout
    said = document(framepace("explain", path, "--json"))
    assert said["schema"] == "framepace.explain-loads/1"
    assert said["loads"][0]["parts_ns"]["queue"] == 64_000
    compared = document(framepace("compare", path, saved(tmp_path, "old.csv"), "--json"))
    assert compared["verdict"] == "undecided"
    assert framepace("explain", path, "--video", "x.mp4").returncode == 2


def test_requests_of_several_loads_say_which_they_belong_to(tmp_path: Path) -> None:
    """As a number beside the latency: 'offered' goes with it where more load makes requests slower."""
    slow = export(tmp_path / "requests.json", ("concurrency", 1.0, [10.0] * 300), ("concurrency", 8.0, [80.0] * 300))
    explanation = explain_log(slow)
    assert {column.name: column.role for column in explanation.reading.columns}["offered"] == "beside"
    alone = export(tmp_path / "alone.json", ("concurrency", 1.0, [10.0] * 300))
    assert "offered" not in {column.name for column in explain_log(alone).reading.columns}
