"""Tables of loads: perf_analyzer's CSV, console and JSON, and Model Analyzer's CSV, whichever columns they have.

Columns as in perf_analyzer's report_writer.cc and Model Analyzer's record types; durations are us in the one, ms in the
other.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from framepace.facts.loads import LoadMode, LoadPoint, LoadTable
from framepace.inputfile import shown
from framepace.logs.consoles import console_points
from framepace.logs.errors import not_understood
from framepace.logs.experiments import experiment_points
from framepace.logs.reading import is_text_log, log_text
from framepace.units import NS_PER_MS, NS_PER_US

_PERF_ANALYZER = "perf_analyzer"
_MODEL_ANALYZER = "Model Analyzer"
_SCALES = {_PERF_ANALYZER: NS_PER_US, _MODEL_ANALYZER: NS_PER_MS}
_RATES = {"inferences/second": _PERF_ANALYZER, "throughput (infer/sec)": _MODEL_ANALYZER}
_LOADS: Mapping[str, LoadMode] = {
    "concurrency": "in flight", "request rate": "per second", "client request rate": "per second",
}  # fmt: skip
_PARTS = {
    "client send": "send",
    "network+server send/recv": "network",
    "server queue": "queue",
    "server compute": "compute",
    "server compute input": "input",
    "server compute infer": "compute",
    "server compute output": "output",
    "server cache hit": "cache",
    "server cache miss": "cache",
    "client recv": "receive",
}
_PERCENTILE = re.compile(r"(p[0-9.]+) latency")
_UNIT = re.compile(r"\s*(time )?\((ms|us)\)$")
_NAME = "model config path"
_WHOLE = {"send", "network", "receive"}  # with these the parts are all of a request
_MOST_POINTS = 100_000
_LARGEST = 1e15
_LONGEST = 16 << 20  # bytes: no table of loads has as many
Row = Mapping[str, str]


def is_loads(path: Path) -> bool:
    """Whether a file is a table of loads in text, and no log of requests."""
    if not is_text_log(path) or _is_long(path):
        return False
    text = log_text(path)
    return any(_tool(row) for row in _headers(text)) or bool(console_points(text))


def _is_long(path: Path) -> bool:
    try:
        return path.stat().st_size > _LONGEST
    except OSError:  # whoever reads it says what is wrong
        return True


def read_loads(path: Path) -> LoadTable:
    """The loads of a file; requests that perf_analyzer exported are summed up by load. Raises StoreError."""
    text = log_text(path)
    tool = next(filter(None, map(_tool, _headers(text))), _PERF_ANALYZER)
    points = [*_csv_points(text)] or console_points(text) or experiment_points(text)
    if not points:
        raise not_understood(shown(path), "no load with its throughput is in it")
    if len(points) > _MOST_POINTS:
        raise not_understood(shown(path), f"{len(points):,} loads")
    points = sorted(points, key=lambda point: (point.name, point.mode, point.load or 0.0))
    return LoadTable(file=path.name, tool=tool, points=tuple(points))


def _headers(text: str) -> Iterator[list[str]]:
    """The first lines of the tables in the text, which empty lines separate."""
    for block in _blocks(text):
        yield _cells(block[0])


def _blocks(text: str) -> Iterator[list[str]]:
    """The tables of a file, as lines."""
    for block in re.split(r"\n\s*\n", text.replace("\r", "")):
        lines = [line for line in block.splitlines() if line.strip()]
        if lines:
            yield lines


def _cells(line: str) -> list[str]:
    """The names in a header, in small letters."""
    try:
        return [cell.strip().lower() for cell in next(csv.reader([line]), [])]
    except csv.Error:  # a cell of over 128 KiB
        return []


def _tool(header: Sequence[str]) -> str:
    """Who wrote a table of loads with that header; '' for another table."""
    return next((_RATES[name] for name in header if name in _RATES), "")


def _csv_points(text: str) -> Iterator[LoadPoint]:
    """The loads of all tables in the text that have some."""
    for lines in _blocks(text):
        header = _cells(lines[0])
        tool = _tool(header)
        if tool:
            for row in csv.reader(lines[1:]):
                yield from _point(dict(zip(header, row, strict=False)), tool)


def _point(row: Row, tool: str) -> Iterator[LoadPoint]:
    """The load in a row; none where its throughput is no number."""
    throughput = next((_number(value) for name, value in row.items() if name in _RATES), None)
    if throughput is not None:
        times = _times(row, _SCALES[tool])
        parts = _parts(times)
        mode, load = _load(row)
        yield LoadPoint(
            mode=mode,
            load=load,
            name=row.get(_NAME, ""),
            throughput=throughput,
            mean=times.get("avg latency", _whole(parts)),
            percentiles=_percentiles(times),
            parts=parts,
        )


def _times(row: Row, scale: float) -> dict[str, float]:
    """The numbers of a row in ns, by their names without the unit; those that are no durations among them."""
    numbers = {_UNIT.sub("", name): _number(text) for name, text in row.items()}
    return {name: number * scale for name, number in numbers.items() if number is not None}


def _percentiles(times: Mapping[str, float]) -> dict[str, float]:
    return {match[1]: ns for name, ns in times.items() if (match := _PERCENTILE.fullmatch(name))}


def _whole(parts: Mapping[str, float]) -> float | None:
    """The sum of the parts, where they are all of a request."""
    return sum(parts.values()) if parts.keys() >= _WHOLE else None


def _parts(times: Mapping[str, float]) -> dict[str, float]:
    parts: dict[str, float] = {}
    for name, part in _PARTS.items():
        if name in times:
            parts[part] = parts.get(part, 0.0) + times[name]
    return parts


def _load(row: Row) -> tuple[LoadMode, float | None]:
    """Requests in flight, or per second."""
    for name, mode in _LOADS.items():
        load = _number(row.get(name, ""))
        if load:
            return mode, load
    return "", None


def _number(text: str) -> float | None:
    """A number of 0 or more; None for anything else."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    if 0 <= number < _LARGEST:
        return number
    return None
