"""What happened in a run between two looks at it: states, losses, sinks, measures against overload. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec.structs import replace

from framepace.facts.address import without_secrets
from framepace.facts.running import RunStatus, SinkStatus, SourceStatus
from framepace.reporting.views.running import dropped_text, ended_line
from framepace.reporting.views.text import plural

Level = Literal["info", "warning", "error"]
LOSSES_S = 10.0  # losses are added up over so long
_LEVELS: Mapping[str, Level] = {"lost": "error", "stale": "warning"}


@dataclass(frozen=True)
class Event:
    """Something that happened: its name ('source.state'), a sentence for people, and fields for programs."""

    name: str
    text: str
    level: Level = "info"
    fields: Mapping[str, Any] = field(default_factory=dict)


class Changes:
    """Tells what happened since the last look.

    Args:
        losses_s: what was lost is told once in so many seconds of the run.
    """

    def __init__(self, losses_s: float = LOSSES_S) -> None:
        self._losses_s = losses_s
        self._before: RunStatus | None = None
        self._counted: RunStatus | None = None
        self._failing: set[str] = set()

    def since(self, status: RunStatus) -> list[Event]:
        """The events until `status`, in the order of their kinds; at the first look those of a run that begins."""
        status = without_secrets(status)
        before = self._before
        self._before = status
        if before is None:
            self._counted = status
            return [_started(status), *_broken(status), *_degraded((), status.degraded)]
        events = [*_sources(before, status), *self._sinks(before, status)]
        events += _degraded(before.degraded, status.degraded)
        events += [Event("run.note", note) for note in status.notes if note not in before.notes]
        return events + self._losses(status)

    def end(self) -> list[Event]:
        """The last losses, and the totals of the run."""
        if self._before is None:
            return []
        return [*self._losses(self._before, over=True), _ended(self._before)]

    def _losses(self, status: RunStatus, over: bool = False) -> list[Event]:
        counted = self._counted
        if counted is None or not (over or status.seconds - counted.seconds >= self._losses_s):
            return []
        self._counted = status
        sources = _by_name(counted)
        seconds = status.seconds - counted.seconds
        losses = (_loss(sources.get(source.name), source, seconds) for source in status.sources)
        return [loss for loss in losses if loss is not None]

    def _sinks(self, before: RunStatus, after: RunStatus) -> Iterator[Event]:
        sinks = {sink.name: sink for sink in before.sinks}
        for sink in after.sinks:
            old = sinks.get(sink.name)
            if old is None:
                continue
            if sink.failed + sink.dropped > old.failed + old.dropped:
                if sink.name not in self._failing:
                    self._failing.add(sink.name)
                    yield _failing(sink)
            elif sink.name in self._failing and sink.written > old.written:
                self._failing.discard(sink.name)
                yield Event("sink.recovered", f"sink {sink.name} writes again", fields=_sink_fields(sink))


def _started(status: RunStatus) -> Event:
    names = [source.name for source in status.sources]
    text = f"running {', '.join(status.plan)} on {plural(len(names), 'source')}"
    return Event("run.started", text, fields={"plan": status.plan, "sources": names, "target_ms": status.target_ms})


def _ended(status: RunStatus) -> Event:
    sources = [_counts(source) | {"source": source.name} for source in status.sources]
    fields = {"seconds": status.seconds, "sources": sources, "sinks": [_sink_fields(sink) for sink in status.sinks]}
    return Event("run.ended", ended_line(status), fields=fields)


def _broken(status: RunStatus) -> Iterator[Event]:
    """The sources that were lost before the first look: a log says why a camera is not there."""
    for source in status.sources:
        if source.state in _LEVELS:
            yield _state(replace(source, state="connecting"), source)


def _sources(before: RunStatus, after: RunStatus) -> Iterator[Event]:
    old = _by_name(before)
    new = _by_name(after)
    for name in old.keys() - new.keys():
        yield Event("source.removed", f"source {name} was removed", fields={"source": name})
    for name, source in new.items():
        if name not in old:
            fields = {"source": name, "address": source.address, "state": source.state}
            yield Event("source.added", f"source {name} was added ({source.state})", fields=fields)
        else:
            yield from _source(old[name], source)


def _source(before: SourceStatus, after: SourceStatus) -> Iterator[Event]:
    if after.state != before.state:
        yield _state(before, after)
    elif after.reconnections > before.reconnections:
        text = f"source {after.name} was connected again and is {after.state}"
        fields = {"source": after.name, "reconnections": after.reconnections}
        yield Event("source.reconnected", text, "warning", fields)
    if before.size and after.size and before.size != after.size:
        yield _size(after.name, before.size, after.size)


def _state(before: SourceStatus, after: SourceStatus) -> Event:
    fields = {"source": after.name, "state": after.state, "before": before.state, "note": after.note}
    text = f"source {after.name} is {after.state}{_because(after.note)}"
    return Event("source.state", text, _LEVELS.get(after.state, "info"), fields)


def _size(name: str, before: tuple[int, int], after: tuple[int, int]) -> Event:
    old, new = (f"{width}x{height}" for height, width in (before, after))
    text = f"source {name}: pictures of {new} instead of {old}"
    return Event("source.size", text, fields={"source": name, "size": new, "before": old})


def _because(note: str) -> str:
    return f": {note}" if note else ""


def _degraded(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[Event]:
    for measure in after:
        if measure not in before:
            yield Event("run.degraded", f"degraded: {measure}", "warning", {"measure": measure})
    for measure in before:
        if measure not in after:
            yield Event("run.recovered", f"no longer degraded: {measure}", fields={"measure": measure})


def _loss(before: SourceStatus | None, after: SourceStatus, seconds: float) -> Event | None:
    """What a source lost in an interval; None where it lost nothing."""
    if before is None or before.taken > after.taken:  # it is new, or was removed and added
        before = None
    counts = _difference(before, after)
    lost = dropped_text({**counts["dropped"], "failed": counts["failed"]})
    if not lost:
        return None
    fields: dict[str, Any] = {"source": after.name, "seconds": round(seconds, 3), **counts}
    text = f"source {after.name}: {lost} of {counts['taken']:,} pictures in {seconds:.0f} s"
    return Event("source.dropped", text, "warning", fields)


def _difference(before: SourceStatus | None, after: SourceStatus) -> dict[str, Any]:
    counts = _counts(after)
    if before is None:
        return counts
    earlier = _counts(before)
    dropped = Counter(counts.pop("dropped"))
    dropped.subtract(earlier.pop("dropped"))
    numbers = {name: count - earlier[name] for name, count in counts.items()}
    return {**numbers, "dropped": {cause: count for cause, count in dropped.items() if count}}


def _counts(source: SourceStatus) -> dict[str, Any]:
    return {
        "taken": source.taken,
        "delivered": source.delivered,
        "skipped": source.skipped,
        "failed": source.failed,
        "late": source.late,
        "dropped": dict(source.dropped),
    }


def _failing(sink: SinkStatus) -> Event:
    text = f"sink {sink.name} loses results{_because(sink.note)}"
    return Event("sink.failing", text, "error", _sink_fields(sink))


def _sink_fields(sink: SinkStatus) -> dict[str, Any]:
    return {
        "sink": sink.name,
        "written": sink.written,
        "dropped": sink.dropped,
        "failed": sink.failed,
        "waiting": sink.waiting,
        "note": sink.note,
    }


def _by_name(status: RunStatus) -> dict[str, SourceStatus]:
    return {source.name: source for source in status.sources}
