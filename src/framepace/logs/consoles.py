"""What perf_analyzer prints, as people save and paste it: a section per load, or the lines at its end alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec.structs import replace

from framepace.facts.loads import LoadMode, LoadPoint
from framepace.units import NS_PER_US

_SECTION = re.compile(r"(?m)^\W*Request (concurrency|rate): ([0-9.]+)", re.I)
_THROUGHPUT = re.compile(r"Throughput: ([0-9.]+) infer/sec")
_MEAN = re.compile(r"(?<!request )latency: ([0-9]+) usec \(standard|Avg (?:HTTP|gRPC) time: ([0-9]+) usec")
_PERCENTILE = re.compile(r"(p[0-9.]+) latency: ([0-9]+) usec")
_SERVER = re.compile(r"Avg request latency: [0-9]+ usec \(([^)]*)\)")
_SERVER_PART = re.compile(r"(queue|compute input|compute infer|compute output|compute) ([0-9]+) usec")
_PARTS = {
    "queue": "queue",
    "compute input": "input",
    "compute infer": "compute",
    "compute output": "output",
    "compute": "compute",
}
_LINE = re.compile(
    r"(?mi)^\W*(Concurrency|Request Rate): ([0-9.]+), (?:throughput: )?([0-9.]+) infer/sec, latency ([0-9]+) usec"
)
_KIND = re.compile(r"Inferences/Second vs\. Client (p[0-9.]+|Average)")
_MODES: dict[str, LoadMode] = {"concurrency": "in flight", "request rate": "per second", "rate": "per second"}
_LONGEST_NS = 1e18


def console_points(text: str) -> list[LoadPoint]:
    """The loads in what perf_analyzer printed; empty for anything else."""
    return [*_sections(text)] or [*_lines(text)]


def _sections(text: str) -> Iterator[LoadPoint]:
    """The sections, one per load; of the models that an ensemble consists of only the whole."""
    starts = [*_SECTION.finditer(text)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    for match, end in zip(starts, ends, strict=False):
        section = text[match.end() : end]
        throughput = _last(_THROUGHPUT, section)
        if throughput is not None:
            yield _point(_MODES[match[1].lower()], float(match[2]), throughput, section)


def _point(mode: LoadMode, load: float, throughput: float, section: str) -> LoadPoint:
    said = _MEAN.search(section)
    mean = None if said is None else float(said[1] or said[2]) * NS_PER_US
    percentiles = {name: float(us) * NS_PER_US for name, us in _PERCENTILE.findall(section)}
    parts = _parts(section)
    if parts and mean is not None and mean >= sum(parts.values()):
        parts = {"network": mean - sum(parts.values()), **parts}
    return LoadPoint(mode=mode, load=load, throughput=throughput, mean=mean, percentiles=percentiles, parts=parts)


def _parts(section: str) -> dict[str, float]:
    """What the server says of its time; nothing that no request can have taken."""
    server = _SERVER.search(section)
    if server is None:
        return {}
    times = {_PARTS[name]: float(us) * NS_PER_US for name, us in _SERVER_PART.findall(server[1])}
    return {name: ns for name, ns in times.items() if ns < _LONGEST_NS}


def _lines(text: str) -> Iterator[LoadPoint]:
    """The lines at the end, which have a latency of the kind that their head says."""
    kind = _KIND.search(text)
    percentile = "" if kind is None or kind[1] == "Average" else kind[1]
    for name, load, rate, us in _LINE.findall(text):
        ns = float(us) * NS_PER_US
        point = LoadPoint(mode=_MODES[name.lower()], load=float(load), throughput=float(rate))
        yield _with_latency(point, ns, percentile)


def _with_latency(point: LoadPoint, ns: float, percentile: str) -> LoadPoint:
    if percentile:
        return replace(point, percentiles={percentile: ns})
    return replace(point, mean=ns)


def _last(pattern: re.Pattern[str], text: str) -> float | None:
    """The last number that a pattern finds: passes come before the result."""
    found = pattern.findall(text)
    return float(found[-1]) if found else None
