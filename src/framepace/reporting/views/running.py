"""The view-model of a run: how it stands in a sentence, totals, and a row per source, device and sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from framepace.facts.address import without_secrets
from framepace.facts.running import DeviceStatus, EngineStatus, RunStatus, SinkStatus, SourceState, SourceStatus
from framepace.reporting.views.text import optional, plural, share
from framepace.units import NS_PER_MS, format_ms
from framepace.values import one_line

COLUMNS = ("source", "state", "fps in", "out", "age", "p99", "late", "dropped")
DEVICE_COLUMNS = ("device", "use", "decoder", "memory", "clock", "power")
SINK_COLUMNS = ("sink", "written", "waiting", "dropped", "failed")
ENGINE_COLUMNS = ("engine", "state", "sources", "share", "fps", "p99", "predicted")
Trouble = Literal["bad", "warn", ""]
_STATES: tuple[SourceState, ...] = ("live", "lost", "stale", "connecting", "ended", "removed")
_ALL_IN: Mapping[SourceState, tuple[str, str]] = {
    "live": ("is live", "are live"),
    "ended": ("has ended", "have ended"),
}
_UNKNOWN = "-"
_PAUSED = 10_000  # one of so many pictures is taken of a source that is paused (see running.camera)
_BROKEN = ("lost", "stale")
_OVER = ("ended", "removed")
_KEEPS_UP = 0.9  # of the pictures that are to be inferred; fewer are a queue or a loss, not a rounding
_RANKS: Mapping[Trouble, int] = {"bad": 0, "warn": 1, "": 2}


@dataclass(frozen=True)
class SourceRow:
    """A source as texts in the order of COLUMNS, with what is worth a line of its own.

    Attributes:
        detail: why it is not live, and what was dropped by cause; '' where there is nothing to say.
        size: of its pictures, as '1920x1080'.
        age_ms: the median age as a number, for a curve.
        p99_ms: of the age, to sort by.
        lost: pictures that were dropped or failed, to sort by.
    """

    name: str
    address: str
    state: SourceState
    texts: tuple[str, ...]
    detail: str
    size: str
    trouble: Trouble
    age_ms: float | None
    p99_ms: float | None
    lost: int


@dataclass(frozen=True)
class Row:
    """A device, a sink or an engine as texts, with a sentence on what is wrong with it."""

    texts: tuple[str, ...]
    detail: str = ""
    trouble: Trouble = ""


@dataclass(frozen=True)
class RunView:
    """How a run stands, in words without secrets.

    Attributes:
        sentence: how many sources are live.
        totals: names and numbers over all sources.
        target_ms: the age that is promised, for a curve.
    """

    title: str
    sentence: str
    trouble: Trouble
    duration: str
    totals: tuple[tuple[str, str], ...]
    sources: tuple[SourceRow, ...]
    devices: tuple[Row, ...]
    sinks: tuple[Row, ...]
    engines: tuple[Row, ...]
    degraded: tuple[str, ...]
    notes: tuple[str, ...]
    target_ms: float | None


@dataclass(frozen=True)
class Fitting:
    """The sources that fit into some lines, and a sentence about the others ('' where there are none)."""

    sources: tuple[SourceRow, ...]
    rest: str


def run_view(status: RunStatus) -> RunView:
    """A run in words."""
    status = without_secrets(status)
    return RunView(
        title=one_line(", ".join(status.plan)),
        sentence=states_sentence(status.sources),
        trouble=_worst(status),
        duration=duration_text(status.seconds),
        totals=tuple(_totals(status)),
        sources=_rows(status, status.sources),
        devices=tuple(map(_device_row, status.devices)),
        sinks=tuple(map(_sink_row, status.sinks)),
        engines=tuple(_engine_row(engine, status.target_ms) for engine in status.engines),
        degraded=tuple(map(one_line, status.degraded)),
        notes=tuple(map(one_line, status.notes)),
        target_ms=status.target_ms,
    )


def fitting(status: RunStatus, lines: int) -> Fitting:
    """The sources in so many lines: where they do not all fit, the worst come first and the rest is summed up."""
    status = without_secrets(status)
    shown, left_out = _chosen(status, lines)
    return Fitting(_rows(status, shown), _rest(left_out, status.target_ms))


def run_line(status: RunStatus) -> str:
    """A run in one line, for logs."""
    view = run_view(status)
    measures = "".join(f"; degraded: {sentence}" for sentence in view.degraded)
    return f"{view.duration}  {view.sentence}; {_in_one_line(view)}{measures}"


def ended_line(status: RunStatus) -> str:
    """What a run did, in one line."""
    view = run_view(status)
    return f"ended after {view.duration}: {_in_one_line(view)}"


def _in_one_line(view: RunView) -> str:
    return ", ".join(f"{name} {text}" for name, text in view.totals)


def source_row(source: SourceStatus, target_ms: float | None) -> SourceRow:
    """A source in words."""
    name = one_line(source.name)
    lost = _lost(source)
    numbers = (_age(source.age_ms), _age(source.p99_ms), _late(source.late, target_ms), f"{lost:,}")
    return SourceRow(
        name=name,
        address=one_line(source.address),
        state=source.state,
        texts=(name, source.state, _fps(source.fps_in), _fps(source.fps_out), *numbers),
        detail="; ".join(_details(source)),
        size=_size(source),
        trouble=trouble_of(source, target_ms),
        age_ms=source.age_ms,
        p99_ms=source.p99_ms,
        lost=lost,
    )


def trouble_of(source: SourceStatus, target_ms: float | None) -> Trouble:
    """'bad' without pictures; 'warn' while it connects, is later than the target, or loses pictures now."""
    if source.state in _BROKEN:
        return "bad"
    if source.state in _OVER:
        return ""
    return "warn" if source.state == "connecting" or _is_late(source, target_ms) or _falls_behind(source) else ""


def states_sentence(sources: Sequence[SourceStatus]) -> str:
    """'all 3 sources are live', '2 of 3 sources are live, 1 lost', 'no source'."""
    counts = Counter(source.state for source in sources)
    if not sources:
        return "no source"
    for state, (one, all_of_them) in _ALL_IN.items():
        if counts[state] == len(sources):
            return f"the source {one}" if len(sources) == 1 else f"{_all(len(sources))} {all_of_them}"
    others = _counted(counts, _STATES[1:])
    are = "is" if len(sources) == 1 else "are"
    return f"{counts['live']} of {plural(len(sources), 'source')} {are} live, {others}"


def _all(count: int) -> str:
    return "both sources" if count == 2 else f"all {count} sources"


def dropped_text(dropped: Mapping[str, int]) -> str:
    """'14 buffer full, 3 stale', the most first."""
    counts = sorted(dropped.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {cause}" for cause, count in counts if count)


def duration_text(seconds: float) -> str:
    """'0:12:31', '3 d 0:12:31'."""
    days, rest = divmod(int(seconds), 86_400)
    minutes, second = divmod(rest, 60)
    clock = f"{minutes // 60}:{minutes % 60:02}:{second:02}"
    return f"{days} d {clock}" if days else clock


def _rows(status: RunStatus, sources: Iterable[SourceStatus]) -> tuple[SourceRow, ...]:
    return tuple(source_row(source, status.target_ms) for source in sources)


def _chosen(status: RunStatus, lines: int) -> tuple[Sequence[SourceStatus], Sequence[SourceStatus]]:
    if sum(map(_lines, status.sources)) <= lines:
        return status.sources, ()
    worst = sorted(status.sources, key=lambda source: _badness(source, status.target_ms))
    lines -= 1  # for the sentence about the rest
    shown = 0
    while shown < len(worst) and lines >= _lines(worst[shown]):
        lines -= _lines(worst[shown])
        shown += 1
    return worst[:shown], worst[shown:]


def _lines(source: SourceStatus) -> int:
    return 2 if any(_details(source)) else 1


def _badness(source: SourceStatus, target_ms: float | None) -> tuple[int, int, float, float]:
    """Sorts the worst first: what is wrong, what is over last, who loses most, the oldest results."""
    rank = _RANKS[trouble_of(source, target_ms)]
    return rank, int(source.state in _OVER), -_lost(source) / max(source.taken, 1), -(source.p99_ms or 0.0)


def _lost(source: SourceStatus) -> int:
    return sum(source.dropped.values()) + source.failed


def _worst(status: RunStatus) -> Trouble:
    troubles = {trouble_of(source, status.target_ms) for source in status.sources}
    if status.degraded:
        troubles.add("warn")
    return min(troubles, key=_RANKS.__getitem__, default="")


def _is_late(source: SourceStatus, target_ms: float | None) -> bool:
    return None not in (source.p99_ms, target_ms) and (source.p99_ms or 0.0) > (target_ms or 0.0)


def _falls_behind(source: SourceStatus) -> bool:
    if source.fps_in is None or source.fps_out is None:
        return False
    return source.fps_out < _KEEPS_UP * source.fps_in / source.every


def _details(source: SourceStatus) -> Iterator[str]:
    if source.note:
        yield one_line(source.note)
    lost = dropped_text({**source.dropped, "failed": source.failed})
    if lost:
        yield f"dropped: {lost}"
    if source.every >= _PAUSED and source.state == "live":
        yield "paused"
    elif source.every > 1 and source.state == "live":
        yield f"one of {source.every} pictures is inferred"


def _size(source: SourceStatus) -> str:
    if source.size is None:
        return ""
    height, width = source.size
    return f"{width}x{height}"


def _totals(status: RunStatus) -> Iterator[tuple[str, str]]:
    sources = status.sources
    yield "in", f"{_fps(_sum(source.fps_in for source in sources))} fps"
    yield "out", f"{_fps(_sum(source.fps_out for source in sources))} fps"
    slowest = _slowest(sources)
    if slowest is not None:
        yield "highest p99", f"{_age(slowest.p99_ms)} ({one_line(slowest.name)})"
    if status.target_ms is not None:
        yield "target", _age(status.target_ms)
    delivered = sum(source.delivered for source in sources)
    if delivered and status.target_ms is not None:
        yield "late", share(sum(source.late for source in sources) / delivered)
    yield "dropped", _dropped_of(sources)


def _dropped_of(sources: Sequence[SourceStatus]) -> str:
    """'17 of 44,100 (14 buffer full, 3 stale)'."""
    causes: Counter[str] = Counter()
    for source in sources:
        causes.update(source.dropped)
        causes["failed"] += source.failed
    total = f"{causes.total():,} of {sum(source.taken for source in sources):,}"
    reasons = dropped_text(causes)
    return f"{total} ({reasons})" if reasons else total


def _rest(sources: Sequence[SourceStatus], target_ms: float | None) -> str:
    """'and 52 more: 52 live, in 1,560, out 1,559 fps, p99 up to 92.0 ms, 3 late, 0 dropped'."""
    if not sources:
        return ""
    parts = [_counted(Counter(source.state for source in sources), _STATES)]
    parts.append(f"in {_fps(_sum(source.fps_in for source in sources))}")
    parts.append(f"out {_fps(_sum(source.fps_out for source in sources))} fps")
    slowest = _slowest(sources)
    if slowest is not None:
        parts.append(f"p99 up to {_age(slowest.p99_ms)}")
    if target_ms is not None:
        parts.append(f"{sum(source.late for source in sources):,} late")
    parts.append(f"{sum(map(_lost, sources)):,} dropped")
    return f"and {len(sources)} more: {', '.join(parts)}"


def _device_row(device: DeviceStatus) -> Row:
    shares = (device.use, device.decoder_use, device.memory_use)
    clock = optional(device.clock_mhz, "{:,.0f} MHz".format)
    power = optional(device.power_w, "{:,.0f} W".format)
    texts = (*(optional(value, "{:.0%}".format) for value in shares), clock, power)
    return Row((one_line(device.name), *(text or _UNKNOWN for text in texts)))


def _engine_row(engine: EngineStatus, target_ms: float | None) -> Row:
    """An engine; 'predicted' is the p99 that was predicted for the sources that it has."""
    numbers = (f"{engine.sources:,}", optional(engine.share, "{:.0%}".format), _fps(engine.frames))
    ages = (_age(engine.p99_ms), _age(engine.predicted_ms))
    trouble: Trouble = ""
    if engine.state in ("lost", "refused"):
        trouble = "bad"
    elif engine.state == "starting" or (engine.p99_ms or 0.0) > (target_ms or float("inf")):
        trouble = "warn"
    return Row((one_line(engine.name), engine.state, *numbers, *ages), one_line(engine.note), trouble)


def _sink_row(sink: SinkStatus) -> Row:
    counts = (sink.written, sink.waiting, sink.dropped, sink.failed)
    trouble: Trouble = "warn" if sink.note else ""
    return Row((one_line(sink.name), *(f"{count:,}" for count in counts)), one_line(sink.note), trouble)


def _counted(counts: Mapping[SourceState, int], states: Iterable[SourceState]) -> str:
    return ", ".join(f"{counts[state]} {state}" for state in states if counts.get(state))


def _slowest(sources: Sequence[SourceStatus]) -> SourceStatus | None:
    return max(
        (source for source in sources if source.p99_ms is not None),
        key=lambda source: source.p99_ms or 0.0,
        default=None,
    )


def _sum(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _fps(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def _late(count: int, target_ms: float | None) -> str:
    """How many results were later than the target; without one none can be."""
    return "-" if target_ms is None else f"{count:,}"


def _age(ms: float | None) -> str:
    return "-" if ms is None else format_ms(ms * NS_PER_MS)
