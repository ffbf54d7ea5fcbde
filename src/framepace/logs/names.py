"""What the name of a column says: its role and its unit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from framepace.facts.log import Role

DURATIONS: Mapping[str, int] = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "min": 60_000_000_000}
"""ns per unit of time."""
_UNITS: Mapping[str, str] = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("us", "usec", "usecs", "µs", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("ns", "nsec", "nanos", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("min", "minutes"), "min"),
    **dict.fromkeys(("pct", "percent", "%"), "%"),
    **dict.fromkeys(("c", "degc", "celsius", "°c"), "c"),
    **dict.fromkeys(("w", "watt", "watts"), "w"),
    "mw": "mw",
    "hz": "hz",
    "khz": "khz",
    "mhz": "mhz",
    "ghz": "ghz",
    "fps": "fps",
}
_BRACKETS = re.compile(r"^(?P<name>.*?)\s*[\[(]\s*(?P<unit>[^\])]*?)\s*[\])]\s*$")
_PARTS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9µ%°]+")
_MEASURE_WORDS = "time latency duration elapsed cost took dur avg mean value per image frame timing"
_MEASURES = frozenset(_MEASURE_WORDS.split())
"""Words that say 'how long' and not of what."""

# Names in full, the surest first within a role.
_WHOLE: Mapping[Role, tuple[str, ...]] = {
    "time": (
        "timestamp", "time stamp", "datetime", "date time", "date", "ts", "created", "created at", "logged at", "epoch",
        "wall time", "wall clock", "wall", "now", "unix time", "asctime", "monotonic",
    ),
    "start": (
        "start", "start time", "time start", "begin", "begin time", "started", "started at", "arrival", "arrived",
        "arrival time", "due", "recv", "received", "received at", "request timestamp", "capture time", "captured at",
        "start timestamp",
    ),
    "end": (
        "end", "end time", "time end", "finished", "finished at", "finish time", "done", "done at", "completed",
        "completed at", "delivered", "delivered at", "response timestamp", "end timestamp", "stop", "stop time",
    ),
    "latency": (
        "latency", "e2e latency", "end to end latency", "total latency", "e2e", "end to end", "e2e time", "total time",
        "total", "frame latency", "request latency", "response time", "response latency", "frame time", "frametime",
        "time per frame", "time per image", "per frame", "duration", "elapsed", "elapsed time", "dur", "took", "cost",
        "cost time", "time cost", "rtt", "round trip", "round trip time", "processing time", "process time", "overall",
        "time total", "runtime", "run time", "loop time", "cycle time", "iteration time", "time taken", "time used",
    ),
    "fps": ("fps", "frame rate", "framerate"),
    "sm_clock": (
        "sm clock", "gpu clock", "clock", "clocks sm", "clocks current sm", "clocks gr", "clocks current graphics",
        "graphics clock", "sclk", "pclk", "gfxclk", "core clock", "gpu freq", "gpu frequency", "sm freq", "freq",
        "clocks current", "gr3d freq", "gpu",
    ),
    "memory_clock": ("memory clock", "mem clock", "clocks mem", "clocks current memory", "mclk", "clocks memory"),
    "cpu_clock": ("cpu clock", "cpu freq", "cpu frequency", "cpu"),
    "power": ("power", "power draw", "gpu power", "pwr", "power usage", "board power", "watts"),
    "temperature": ("temperature", "temp", "temperature gpu", "gpu temp", "gpu temperature", "gtemp", "tj"),
    "utilisation": (
        "utilization gpu", "gpu utilization", "gpu util", "utilization", "utilisation", "util", "gpu load", "gpu usage",
    ),
    "gc": ("gc", "gc time", "gc pause", "collections", "gc count", "gc collections", "garbage collection"),
    "faults": ("page faults", "faults", "pagefaults", "major faults", "majflt", "minflt"),
    "batch": ("batch", "batch size", "bs", "batchsize", "images", "batch n"),
    "source": (
        "source", "camera", "cam", "camera id", "cam id", "stream", "stream id", "channel", "video",
        "source id",
    ),
    "model": ("model", "network", "model name", "engine", "engine name", "net"),
    "worker": ("worker", "worker id", "thread", "thread id", "tid", "pid", "process id", "instance"),
    "frame": (
        "frame", "frame id", "frame no", "frame number", "frame index", "frame idx", "frame num", "index", "idx", "id",
        "iter", "iteration", "i", "n", "no", "seq", "sequence", "step", "request", "request id", "req id", "frames",
        "count", "unnamed 0",
    ),
    "dropped": ("dropped", "drop", "skipped", "is dropped", "lost", "frame dropped"),
    "failed": ("failed", "error", "errors", "is error", "fail", "exception"),
    "warmup": ("warmup", "warm up", "is warmup", "is warm up"),
}  # fmt: skip
# Stages by a word in their name.
_STAGE_TEXTS: Mapping[Role, str] = {
    "decode": "decode decoding grab read reading capture load loading fetch demux",
    "queue": "queue queued queueing queuing wait waiting pending backlog",
    "prepare": "preprocess preprocessing pre preproc prepare preparation resize letterbox normalize normalise",
    "finish": "postprocess postprocessing post postproc nms draw drawing render rendering encode encoding write "
    "writing save saving track tracking tracker log logging publish display show output finish send",
    "h2d": "h2d htod upload",
    "d2h": "d2h dtoh download",
    "compute": "compute kernel kernels",
    "infer": "infer inference inferencing model forward predict prediction detect detection detector net network "
    "engine run execute execution enqueue",
}
_STAGE_WORDS = {word: role for role, words in _STAGE_TEXTS.items() for word in words.split()}
_EITHER = ("time", "t", "times", "timing")  # a moment or a duration: their values say which
_ROLE_OF: Mapping[str, tuple[Role, int]] = {
    name: (role, rank) for role, names in _WHOLE.items() for rank, name in enumerate(names)
}
_CLOCK_ROLES = ("sm_clock", "memory_clock", "cpu_clock")
_CLOCK_UNITS = ("hz", "khz", "mhz", "ghz")
_AMBIGUOUS_CLOCKS = ("gpu", "cpu", "freq", "clock")  # clocks where their unit says so


class NamedRole(NamedTuple):
    """What a name says: the role (None where it says nothing), its rank within it, the unit, and whether it is sure."""

    role: Role | None
    rank: int
    unit: str
    either: bool = False
    """A moment or a duration, as 'time_ms': its values have to say which."""


def named_role(name: str) -> NamedRole:
    """The role that a column's name stands for, and the unit in it."""
    words, unit = _words(name)
    joined = " ".join(words)
    if joined in _EITHER:
        return NamedRole("time", 0, unit, either=True)
    if joined in _ROLE_OF:
        return _whole_name(joined, unit)
    return NamedRole(_stage(words), 0, unit, either=words[:1] in (["t"], ["time"], ["ts"]))


def unit_named(text: str) -> str:
    """The unit that a text stands for; '' for none."""
    return _UNITS.get(text.strip().lower(), "")


def _whole_name(joined: str, unit: str) -> NamedRole:
    role, rank = _ROLE_OF[joined]
    if role in _CLOCK_ROLES and joined in _AMBIGUOUS_CLOCKS and unit not in _CLOCK_UNITS and joined != "clock":
        return NamedRole(None, 0, unit)
    if role == "model" and unit in DURATIONS:
        return NamedRole("infer", 0, unit)
    if role == "frame" and unit in DURATIONS:
        return NamedRole("latency", len(_WHOLE["latency"]), unit)
    return NamedRole(role, rank, unit)


def _words(name: str) -> tuple[list[str], str]:
    """The words of a name in lower case, and its unit."""
    unit = ""
    bracketed = _BRACKETS.match(name)
    if bracketed is not None:
        name = bracketed["name"]
        unit = unit_named(bracketed["unit"])
    words = [word.lower() for word in _PARTS.split(name) if word]
    if len(words) > 1 and not unit and unit_named(words[-1]):
        unit = unit_named(words.pop())
    return words, unit


def _stage(words: list[str]) -> Role | None:
    """The stage that one of the words names; only measures of time may stand beside it, or the name of a network."""
    named = [_STAGE_WORDS[word] for word in words if word in _STAGE_WORDS]
    if not named:
        return None
    others = [word for word in words if word not in _STAGE_WORDS and word not in _MEASURES]
    if len(others) > 2 or {"rate", "count", "num", "number", "size", "score", "id"} & set(others):
        return None
    return named[0]
