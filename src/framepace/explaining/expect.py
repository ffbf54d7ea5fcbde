"""Other tools' numbers: what each of them counts and under which load, and that load run by framepace's own engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from framepace.analyze.expect import Counts, expected
from framepace.errors import FramepaceError, UsageError, unknown
from framepace.explaining.evidence import Evidence
from framepace.facts.finding import Expectation
from framepace.facts.loads import LoadPoint
from framepace.facts.settings import Case, apply
from framepace.facts.settings import text as settings_text
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Warmup
from framepace.lab.lab import Lab
from framepace.logs.loads import read_loads
from framepace.logs.reading import is_log
from framepace.units import NS_PER_S, parse_duration

_FASTEST_FPS = 1e9
_OF_FILES = "perf_analyzer"
_LONGEST_S = 2.0
_SHORTEST_S = 0.5
_WARMUP = Warmup(seconds_max=1.0)
_GPU_REQUESTS = 4  # benchmark_app on a GPU: two streams of two requests each

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Tool:
    """What a tool's latency counts, and the load and settings under which it measures it.

    Attributes:
        counts: the part of a request that the number covers.
        ahead: requests in flight on each of its workers.
        settings: what it does on a GPU, whatever the plan says.
        spread: its default is throughput, with as many requests in flight as the machine has room for.
        note: printed beside its number.
    """

    counts: Counts
    ahead: int = 1
    settings: Settings = field(default_factory=dict)
    spread: bool = False
    note: str = ""


_STREAM: Settings = {"slots": 2, "stream": "own", "sms": None}

TOOLS: Mapping[str, Tool] = {
    # NVIDIA/TensorRT, samples/common (release/8.6 to release/10.13): 'Latency' is h2d + compute + d2h of CUDA events
    # (sampleReporting.h, InferenceTime::latency), from and to page-locked memory (sampleDevice.h, cudaMallocHost), with
    # one request enqueued ahead (sampleInference.cpp, mDepth), blocking events and no graph (sampleOptions.h: overlap
    # true, skipTransfers, spin and graph false).
    "trtexec-10": Tool("device", 2, {**_STREAM, "transfer": "pinned", "spinning": False, "graph": False}),
    # The same files since 771d8efd ('TensorRT 11.0 OSS Release'): includeTransfers false, spin and graph true. The two
    # events of a copy are then those of the kernels, so 'Latency' is the kernels alone (IterationBase::getTrace).
    "trtexec-11": Tool("compute", 2, {**_STREAM, "transfer": "device", "spinning": True, "graph": True}),
    # triton-inference-server/perf_analyzer: from start_time_, set where the request is sent (infer_context.cc), to its
    # last response (inference_profiler.cc, ValidLatencyMeasurement); a late send is counted as delayed, its delay is
    # not (request_rate_worker.cc). One request in flight by default, random inputs; server and network are in it.
    "perf_analyzer": Tool("sent", note="its number includes its server and network, which do not run here"),
    # openvinotoolkit/openvino, tools/benchmark_tool: median (or mean) of each request's own latency (benchmark.py), no
    # decoding, inputs filled once (parameters.py, -inference_only); asynchronous with the hint THROUGHPUT unless told
    # otherwise (main.py, set_performance_hint), so with as many requests in flight as its log says (nireq).
    "benchmark_app": Tool("call", spread=True),
    # time.time() around a call that copies, computes and waits, back to back, over the number of calls.
    "loop": Tool("call"),
}


@dataclass(frozen=True)
class ToolNumber:
    """The number that another tool printed, in ns, and how many requests it had in flight if that is known."""

    tool: str
    ns: int
    requests: int | None = None


def parse_tool_number(number: str | None, tool: str | None) -> ToolNumber | None:
    """The number in `--expect` and `--from`: '5.1ms' and 'trtexec-10', or 'benchmark_app:4' with requests in flight.

    A rate such as '190fps' is the latency of the requests in flight (one where none are given): in flight / rate.
    A file of perf_analyzer's or Model Analyzer's is the mean of its load with one request in flight, or with as
    many as `tool` says ('perf_analyzer:4'). None when both are None. Raises UsageError when one is, for a number
    that is not a duration and an unknown tool.
    """
    if number is not None and is_log(number):
        return _from_file(Path(number), tool)
    if number is None and tool is None:
        return None
    if number is None:
        raise _missing("--expect", f"--from {tool}")
    if tool is None:
        raise _missing("--from", f"--expect {number}")
    name, requests = _parse_tool(tool)
    ns = _latency(number, requests or 1)
    if ns <= 0:
        raise UsageError(
            "--expect must be above 0", got=number, expected="e.g. 5.1ms", fix="give the latency that the tool reported"
        )
    return ToolNumber(name, ns, requests)


def _from_file(path: Path, tool: str | None) -> ToolNumber:
    """The mean latency in a table of loads. Raises UsageError where it has none, or no such load."""
    name, requests = _parse_tool(tool or _OF_FILES)
    if name != _OF_FILES:
        fix = f"--from {_OF_FILES}, or {_OF_FILES}:4 for four requests in flight"
        raise UsageError("files are read of perf_analyzer and Model Analyzer alone", got=f"--from {tool}", fix=fix)
    point = _chosen(path, requests)
    flights = None
    if point.mode == "in flight" and point.load:
        flights = round(point.load)
    return ToolNumber(_OF_FILES, max(1, round(point.mean or 0.0)), flights)


def _chosen(path: Path, requests: int | None) -> LoadPoint:
    """The load with so many requests in flight; the smallest where that is not said."""
    points = [point for point in read_loads(path).points if point.mean]
    loads = [point for point in points if requests is None or (point.mode, point.load) == ("in flight", requests)]
    if loads:
        return loads[0]
    in_flight = ", ".join(f"{point.load:g}" for point in points if point.mode == "in flight") or "none"
    fix = "name one that has a mean latency: --from perf_analyzer:N (Model Analyzer: with perf_latency_avg)"
    expected = f"requests in flight: {in_flight}"
    raise UsageError(f"{path.name} has no such load", got=requests, expected=expected, fix=fix)


def _latency(number: str, requests: int) -> int:
    """The latency in ns of a duration, or of a rate with so many requests in flight (J. D. C. Little, 1961)."""
    rate = number.strip().lower().removesuffix("fps")
    if rate == number.strip().lower():
        return parse_duration(number)
    try:
        per_second = float(rate)
    except ValueError:
        per_second = math.nan
    if not 0 < per_second <= _FASTEST_FPS:
        raise UsageError(
            "not a rate", got=number, expected="a number above 0 with fps, e.g. 190fps", fix="correct the rate"
        )
    return max(1, round(requests * NS_PER_S / per_second))


def _missing(option: str, got: str) -> UsageError:
    expected = "--expect 5.1ms --from " + "|".join(TOOLS)
    fix = f"add {option}: each tool leaves out other parts"
    return UsageError(f"{option} is missing", got=got, expected=expected, fix=fix)


def _parse_tool(text: str) -> tuple[str, int | None]:
    """Name and requests in flight of 'NAME' or 'NAME:COUNT'."""
    name, colon, count = text.partition(":")
    if name not in TOOLS:
        raise unknown("tool", name, TOOLS)
    if not colon:
        return name, None
    if not (count.isdigit() and int(count)):
        raise UsageError("not a number of requests in flight", got=text, expected=f"{name} or {name}:4")
    return name, int(count)


def check_model(case: Case) -> None:
    """Raise UsageError unless the case has one model: another tool's number is about one."""
    if len(case.plan.models) > 1:
        names = ", ".join(model.name for model in case.plan.models)
        raise UsageError("--expect takes the number of one model", got=names, fix="explain that model alone")


def compare(lab: Lab, evidence: Evidence, number: ToolNumber) -> Expectation:
    """Run the tool's load with its settings and with the plan's, where they differ, and account for the difference.

    Raises Interrupted after Ctrl-C.
    """
    comparison = _Comparison(TOOLS[number.tool], number, evidence)
    comparison.run(lab)
    return expected(number.tool, comparison.tool.counts, number.ns, comparison.runs, comparison.explanations())


class _Comparison:
    """The runs that stand between a tool's number and the case; `runs` are those of the evidence and the tool's."""

    def __init__(self, tool: Tool, number: ToolNumber, evidence: Evidence) -> None:
        self.tool = tool
        self.runs = dict(evidence.traces)
        self._name = number.tool
        self._evidence = evidence
        requests = number.requests or _usual_requests(tool, evidence)
        self._settings = _differing(evidence.case, _tool_settings(tool, evidence, requests))
        self._flights = requests * tool.ahead
        self._workers = evidence.case.plan.engine.workers
        self._failed: list[str] = []

    def run(self, lab: Lab) -> None:
        """Measure what is needed; what does not run here is noted."""
        for name, changes in self._needed().items():
            settings = settings_text(changes)
            lab.say(f"measuring what {self._name} measures: {settings}, {self._flights} in flight")
            try:
                self.runs[name] = _run(lab, self._evidence.case, changes, self._flights, name)
            except FramepaceError as error:
                self._failed.append(f"{settings} does not run here ({str(error).splitlines()[0]})")

    def explanations(self) -> dict[str, str]:
        """How the steps of the account came about, by step."""
        setup = [self.tool.note, *self._failed]
        if self.tool.counts in ("device", "compute") and not self._evidence.on_gpu:
            setup.append("no CUDA events here: the whole call is used")
        settings = settings_text(self._settings)
        load = f"{self._flights} in flight there, {self._workers} here"
        if self.tool.spread:
            return {"set-up": _joined(setup, "; "), "load": _joined((settings, load), ", ")}
        return {"set-up": _joined(setup, "; "), "settings": f"{settings} there", "load": load}

    def _needed(self) -> dict[str, Settings]:
        """The runs that are needed (see analyze.expect), with their changes to the plan.

        Where the tool's settings are how it makes its load, both are one step.
        """
        other_load = self._flights != self._workers
        needed: dict[str, Settings] = {}
        if self.tool.spread:
            if self._settings or other_load:
                needed["ahead"] = self._settings
            return needed
        if other_load:
            needed["ahead"] = {}
        if self._settings:
            needed["tool"] = self._settings
        return needed


def _joined(texts: Sequence[str], separator: str) -> str:
    return separator.join(text for text in texts if text)


def _usual_requests(tool: Tool, evidence: Evidence) -> int:
    """Requests in flight by the tool's default."""
    if not tool.spread:
        return 1
    return _GPU_REQUESTS if evidence.on_gpu else evidence.cores


def _tool_settings(tool: Tool, evidence: Evidence, requests: int) -> Settings:
    """The settings that stand for what the tool does: its workers, and on a GPU those of its device."""
    settings: dict[str, Any] = {"heartbeat-ms": None, "keeper": False}
    if tool.spread:
        settings["workers"] = requests
        if not evidence.on_gpu:
            settings["threads"] = max(1, evidence.cores // requests)
    elif evidence.on_gpu and tool.settings:
        settings |= {"workers": requests, **tool.settings}
    return settings


def _differing(case: Case, settings: Settings) -> dict[str, Any]:
    """The settings that differ from the case's."""
    return {name: value for name, value in settings.items() if apply(case, {name: value}) != case}


def _run(lab: Lab, case: Case, settings: Settings, flights: int, name: str) -> Trace:
    scoped = apply(case, {"scope": "model", **settings})
    scoped = replace(scoped, workload=replace(scoped.workload, load=Closed(concurrency=flights)))
    return lab.run(scoped, min(_LONGEST_S, max(_SHORTEST_S, lab.left / 20)), name=name, warmup=_WARMUP)
