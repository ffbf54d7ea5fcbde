"""A validator of Chrome's trace events: the keys that each kind of event must have, and what belongs together.

From the document 'Trace Event Format': complete events need a duration, asynchronous ones and flows an id and a
category, counters numbers, metadata a name that is known.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

Event = Mapping[str, Any]
_TIMED = {"name": str, "ts": (int, float), "pid": int, "tid": int}
_LINKED = {**_TIMED, "cat": str, "id": (int, str)}
REQUIRED: Mapping[str, Mapping[str, Any]] = {
    "X": {**_TIMED, "cat": str, "dur": (int, float)},
    "b": _LINKED,
    "e": _LINKED,
    "s": _LINKED,
    "t": _LINKED,
    "f": _LINKED,
    "C": {**_TIMED, "args": dict},
    "M": {"name": str, "pid": int, "tid": int, "args": dict},
}
_METADATA = {
    "process_name": ("name", str),
    "thread_name": ("name", str),
    "process_sort_index": ("sort_index", int),
    "thread_sort_index": ("sort_index", int),
}


def problems(document: Any) -> list[str]:
    """What is wrong with a file in the format's object form; empty for a valid one."""
    if not isinstance(document, dict) or not isinstance(document.get("traceEvents"), list):
        return ["no object with a list 'traceEvents'"]
    if document.get("displayTimeUnit", "ms") not in ("ms", "ns"):
        return ["displayTimeUnit is neither ms nor ns"]
    events = document["traceEvents"]
    alone = [f"event {number}: {problem}" for number, event in enumerate(events) for problem in _of_event(event)]
    return alone or [*_of_asynchronous(events), *_of_flows(events)]


def _of_event(event: Event) -> Iterator[str]:
    """Of one event by itself."""
    required = REQUIRED.get(event.get("ph", ""))
    if required is None:
        yield f"unknown phase {event.get('ph')!r}"
        return
    for key, kind in required.items():
        if not isinstance(event.get(key), kind) or isinstance(event[key], bool):
            yield f"{event['ph']} needs {key}"
    for key in ("ts", "dur"):
        if key in event and not (math.isfinite(event[key]) and event[key] >= 0):
            yield f"{key} is {event[key]}"
    if event["ph"] == "C" and not all(isinstance(value, (int, float)) for value in event.get("args", {}).values()):
        yield "a counter counts numbers"
    if event["ph"] == "M":
        yield from _of_metadata(event)
    if "bp" in event and (event["ph"], event["bp"]) != ("f", "e"):
        yield "bp is of flow ends only, and 'e'"


def _of_metadata(event: Event) -> Iterator[str]:
    name = event.get("name", "")
    key, kind = _METADATA.get(name, ("", object))
    if not key or not isinstance(event.get("args", {}).get(key), kind):
        yield f"metadata {name} needs {key or 'a known name'}"


def _of_asynchronous(events: list[Event]) -> Iterator[str]:
    """Each begins once and ends once, not before, under one name."""
    opened: dict[Any, Event] = {}
    for event in events:
        key = (event.get("cat"), event.get("id"))
        if event["ph"] == "b":
            if key in opened:
                yield f"{key} begins twice"
            opened[key] = event
        if event["ph"] == "e":
            begun = opened.pop(key, None)
            if begun is None or event["ts"] < begun["ts"] or event["name"] != begun["name"]:
                yield f"{key} ends without its beginning"
    yield from (f"{key} does not end" for key in opened)


def _of_flows(events: list[Event]) -> Iterator[str]:
    """One start, steps, one end, in time order."""
    flows: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in ("s", "t", "f"):
            flows[event["cat"], event["name"], event["id"]].append(event)
    for key, steps in flows.items():
        phases = "".join(step["ph"] for step in steps)
        if phases != "s" + "t" * (len(steps) - 2) + "f":
            yield f"flow {key} is {phases}"
        times = [step["ts"] for step in steps]
        if times != sorted(times):
            yield f"flow {key} goes back in time"
