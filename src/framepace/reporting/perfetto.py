"""A trace for ui.perfetto.dev, and every viewer of Chrome's trace events: JSON, a line per event.

The format is that of the Trace Event Format document: complete events ('X') on threads that lanes stand for, with
names of processes and threads as metadata ('M'), flows ('s', 't', 'f') that lead from span to span of a frame, frames
as asynchronous events ('b', 'e'), counters ('C'). Times are us. Events of one thread never overlap there, as viewers
want it.
"""

from __future__ import annotations

import gzip
import io
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from framepace.facts.trace import Column, Outcome, Trace
from framepace.reporting.timeline import DOING, Place, Timeline, timeline, waiting
from framepace.units import NS_PER_US

_PROCESSES: Mapping[Place, tuple[int, str]] = {
    "source": (1, "sources"),
    "worker": (2, "workers"),
    "in flight": (2, "workers"),
    "device": (3, "device"),
}
_FRAMES = 4
_COUNTERS = 5
_NAMES = {**dict(_PROCESSES.values()), _FRAMES: "frames", _COUNTERS: "machine"}
_GPU_COUNTERS = {
    "sm_clock_mhz": "SM clock (MHz)",
    "memory_clock_mhz": "memory clock (MHz)",
    "power_mw": "power (mW)",
    "temperature_c": "temperature (C)",
    "utilisation": "busy (%)",
    "decoder_utilisation": "video decoders (%)",
    "sm_activity": "SMs active (per mille)",
}
_HOST_COUNTERS = {"cpu_mhz": "CPU clock (MHz)", "memory_bytes": "memory (bytes)"}
_ALONG = tuple(DOING.index(kind) for kind in ("decode", "launch", "infer", "kernels", "finish"))  # a frame's flow

Event = dict[str, Any]
_NAME = "framepace.json"
_MARKS = {".gz": _NAME.encode()}  # by which a file of ours is recognised; a packed one has its name inside


def perfetto_json(trace: Trace) -> Iterator[str]:
    """The file in pieces: one JSON object with the events of the whole trace, warm-up too."""
    meta = trace.meta
    about = {"framepace": meta.framepace, "trace": meta.id, "created": meta.created, "simulated": meta.simulated}
    yield f'{{"otherData":{json.dumps(about, separators=(",", ":"))},"displayTimeUnit":"ms","traceEvents":[\n'
    separator = ""
    encoder = msgspec.json.Encoder()
    for event in _events(trace):
        yield separator + encoder.encode(event).decode()
        separator = ",\n"
    yield "\n]}\n"


def perfetto_file(trace: Trace, path: Path) -> bytes:
    """The bytes of the file, packed with gzip where its name ends so."""
    text = "".join(perfetto_json(trace)).encode()
    if path.suffix != ".gz":
        return text
    packed = io.BytesIO()
    with gzip.GzipFile(filename=_NAME, mode="wb", fileobj=packed) as file:
        file.write(text)
    return packed.getvalue()


def perfetto_mark(path: Path) -> bytes:
    """What a file of that name begins with where it is one of ours."""
    return _MARKS.get(path.suffix, b'{"otherData":{"framepace":')


def _events(trace: Trace) -> Iterator[Event]:
    line = timeline(trace)
    origin = _origin(trace, line)
    yield from _named(line)
    yield from _spans(trace, line, origin)
    yield from _flows(trace, line, origin)
    yield from _frames(trace, origin)
    yield from _counters(trace, origin)


def _origin(trace: Trace, line: Timeline) -> int:
    """The time from which all others count, ns: no event comes before it."""
    columns = (line.column("start"), trace.requests["due"], waiting(trace)[0], trace.telemetry.get("time", ()))
    return int(min((np.min(column) for column in columns if len(column)), default=0))


def _us(ns: int, origin: int) -> float:
    return (ns - origin) / NS_PER_US


def _named(line: Timeline) -> Iterator[Event]:
    """Names of processes and threads, in the order in which they are to be shown."""
    for pid, name in _NAMES.items():
        yield from _name("process", pid, 0, name, pid)
    for tid, lane in enumerate(line.lanes, start=1):
        yield from _name("thread", _PROCESSES[lane.place][0], tid, lane.name, tid)


def _name(kind: str, pid: int, tid: int, name: str, place: int) -> Iterator[Event]:
    common = {"ph": "M", "pid": pid, "tid": tid}
    yield {**common, "name": f"{kind}_name", "args": {"name": name}}
    yield {**common, "name": f"{kind}_sort_index", "args": {"sort_index": place}}


def _places(line: Timeline) -> list[Event]:
    """Process and thread of each lane."""
    return [{"pid": _PROCESSES[lane.place][0], "tid": tid} for tid, lane in enumerate(line.lanes, start=1)]


def _spans(trace: Trace, line: Timeline, origin: int) -> Iterator[Event]:
    places = _places(line)
    for lane, doing, start, end, row, frames in line.spans.tolist():
        yield {
            "ph": "X",
            "cat": "framepace",
            "name": DOING[doing],
            **places[lane],
            "ts": _us(start, origin),
            "dur": (end - start) / NS_PER_US,
            "args": _about(trace, row, frames),
        }


def _about(trace: Trace, row: int, frames: int) -> Event:
    """Frame and model of a span."""
    about: Event = {"frame": int(trace.requests["frame"][row]), "frames": frames}
    model = int(trace.requests["model"][row])
    if 0 <= model < len(trace.meta.names):
        about["model"] = trace.meta.names[model]
    return about


def _flows(trace: Trace, line: Timeline, origin: int) -> Iterator[Event]:
    """Arrows from span to span of the frame that a span is named after; they end at the span that encloses the end."""
    for number, (*steps, end) in _steps(trace, line, origin).items():
        common = {"cat": "frame", "name": "frame", "id": number}
        for place, step in enumerate(steps):
            yield {"ph": "st"[place > 0], **common, **step}
        if steps:  # a single span is no flow
            yield {"ph": "f", **common, **end, "bp": "e"}


def _steps(trace: Trace, line: Timeline, origin: int) -> dict[int, list[Event]]:
    """Where the spans of each frame begin, in their order: thread and time."""
    along = line.part(np.isin(line.column("doing"), _ALONG))
    frames = trace.requests["frame"][along.column("row")].tolist()
    places = _places(line)
    steps: dict[int, list[Event]] = defaultdict(list)
    for frame, (lane, _, start, _, _, _) in zip(frames, along.spans.tolist(), strict=True):
        steps[frame].append({**places[lane], "ts": _us(start, origin)})
    return steps


def _frames(trace: Trace, origin: int) -> Iterator[Event]:
    """Each frame from when it was due until it was delivered, or dropped."""
    r = trace.requests
    columns = (r[name].tolist() for name in ("frame", "source", "outcome", "due", "delivered"))
    for number, (frame, source, outcome, due, delivered) in enumerate(zip(*columns, strict=True)):
        word = Outcome.NAMES.get(outcome, "unknown")
        common = {"cat": "frame", "name": f"frame, {word}", "pid": _FRAMES, "tid": source + 1, "id": number}
        yield {"ph": "b", **common, "ts": _us(due, origin), "args": {"frame": frame}}
        yield {"ph": "e", **common, "ts": _us(max(due, delivered), origin)}


def _counters(trace: Trace, origin: int) -> Iterator[Event]:
    """Frames that wait in buffers, and what telemetry measured."""
    yield from _counter("frames in buffers", *waiting(trace), origin)
    samples = trace.telemetry
    if not samples:
        return
    for device in np.unique(samples["device"]):
        titles = _HOST_COUNTERS
        if device >= 0:
            titles = {column: f"GPU {device} {title}" for column, title in _GPU_COUNTERS.items()}
        for column, title in titles.items():
            measured = (samples["device"] == device) & (samples[column] >= 0)
            yield from _counter(title, samples["time"][measured], samples[column][measured], origin)


def _counter(name: str, times: Column, values: Column, origin: int) -> Iterator[Event]:
    for time, value in zip(times.tolist(), values.tolist(), strict=True):
        yield {"ph": "C", "pid": _COUNTERS, "tid": 0, "name": name, "ts": _us(time, origin), "args": {"value": value}}
