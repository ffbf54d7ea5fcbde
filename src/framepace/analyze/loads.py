"""What a table of loads shows: where more requests bring no more answers, and what they wait for instead. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from framepace.facts.loads import LoadChange, LoadComparison, LoadExplanation, LoadPoint, LoadTable, load_words
from framepace.facts.log import Suspected
from framepace.units import format_ms

_NEARLY = 0.95  # of the best throughput
_NOTABLE = 0.1  # of a request's time, from which a part that grows is named


def explained_loads(table: LoadTable) -> LoadExplanation:
    """The loads in words that can be checked; of several configurations the one with the most throughput."""
    series = _best_series(table.points)
    knee = _knee(series)
    grown, growth = _grown(knee, series[-1])
    return LoadExplanation(
        table=table, knee=knee, grown=grown, growth=growth, suspected=tuple(_suspected(knee, series, grown, growth))
    )


def _best_series(points: Sequence[LoadPoint]) -> list[LoadPoint]:
    """The loads of the configuration that reaches the most, by load."""
    best = max(points, key=lambda point: point.throughput)
    return [point for point in points if (point.name, point.mode) == (best.name, best.mode)]


def _knee(series: Sequence[LoadPoint]) -> LoadPoint | None:
    """The smallest load that gives nearly all of the throughput; None of one load alone."""
    if len(series) < 2:
        return None
    most = max(point.throughput for point in series)
    return next(point for point in series if point.throughput >= _NEARLY * most)


def _grown(knee: LoadPoint | None, last: LoadPoint) -> tuple[str, float]:
    """The part of a request that grows most from the knee to the largest load, and by how much."""
    if knee is None or knee is last:
        return "", 0.0
    more = {name: ns - knee.parts.get(name, 0.0) for name, ns in last.parts.items()}
    name = max(more, key=lambda part: more[part], default="")
    if not name or more[name] <= _NOTABLE * (last.mean or sum(last.parts.values())):
        return "", 0.0
    return name, more[name]


def _suspected(knee: LoadPoint | None, series: Sequence[LoadPoint], grown: str, growth: float) -> list[Suspected]:
    """What to try, by the largest part where the throughput is reached, and by what grows beyond."""
    point = knee or series[-1]
    found = [_grown_cause(grown, growth, point)] if grown else []
    largest = max(point.parts, key=lambda part: point.parts[part], default="")
    if largest in _ADVICE and largest != grown:
        title, decides = _ADVICE[largest]
        because = f"{largest} takes {format_ms(point.parts[largest])} of {_mean(point)} at {load_words(point)}"
        found.append(Suspected(code="", title=title, because=because, command=_command(point), decides=decides))
    return found


def _grown_cause(grown: str, growth: float, knee: LoadPoint) -> Suspected:
    title, decides = _ADVICE.get(grown, ("more requests wait", "which stage grows with the load"))
    because = (
        f"beyond {load_words(knee)} the part {grown!r} grows by {format_ms(growth)}, and there are hardly more answers"
    )
    return Suspected(code="", title=title, because=because, command=_command(knee), decides=decides)


def _mean(point: LoadPoint) -> str:
    return format_ms(point.mean or sum(point.parts.values()))


def _command(point: LoadPoint) -> str:
    """The same load by framepace: with stages here, and the server's own numbers beside them."""
    load = "--fps 30"
    if point.load is not None:
        load = f"--load closed:{point.load:.0f}" if point.mode == "in flight" else f"--load paced:{point.load:g}"
    return f"framepace explain MODEL --server http://HOST:8000 {load}"


_ADVICE: Mapping[str, tuple[str, str]] = {
    "queue": ("requests wait for an instance there", "more instances, or fewer requests in flight: its queue shrinks"),
    "compute": ("the model computes", "a faster model, larger batches or more threads: explain its file there"),
    "network": ("the way there and back, and the protocol", "tensors in shared memory (FP031), or smaller ones"),
    "send": ("the client takes time to send", "tensors in shared memory (FP031), or smaller ones"),
    "receive": ("the client takes time to receive", "fewer or smaller outputs"),
    "input": ("inputs are gathered and copied there", "the same load with smaller inputs"),
    "output": ("outputs are copied there", "fewer or smaller outputs"),
}


def compared_loads(a: LoadTable, b: LoadTable) -> LoadComparison:
    """What changed at the loads that both tables have."""
    before = {_key(point): point for point in a.points}
    after = {_key(point): point for point in b.points}
    both = [key for key in before if key in after]
    return LoadComparison(
        a=a.file,
        b=b.file,
        changes=tuple(_change(before[key], after[key]) for key in both),
        only_a=len(before) - len(both),
        only_b=len(after) - len(both),
    )


def _key(point: LoadPoint) -> tuple[str, str, float | None]:
    return point.name, point.mode, point.load


def _change(a: LoadPoint, b: LoadPoint) -> LoadChange:
    return LoadChange(
        mode=a.mode,
        load=a.load,
        name=a.name,
        throughput=_ratio(a.throughput, b.throughput),
        mean=_ratio(a.mean, b.mean),
        p99=_ratio(a.percentiles.get("p99"), b.percentiles.get("p99")),
    )


def _ratio(a: float | None, b: float | None) -> float | None:
    if not a or b is None:
        return None
    return b / a
