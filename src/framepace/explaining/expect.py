"""Other tools' numbers: what each of them counts and under which load, and that load run by framepace's own engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from framepace.analyze.expect import Counts, expected
from framepace.errors import FramepaceError, UsageError, unknown
from framepace.explaining.evidence import Situation
from framepace.facts.finding import Expectation
from framepace.facts.settings import Case, apply
from framepace.facts.settings import text as settings_text
from framepace.facts.trace import Trace
from framepace.facts.workload import Closed, Warmup
from framepace.lab.lab import Lab
from framepace.units import parse_duration

_SECONDS = 2.0
_WARMUP = Warmup(seconds_max=1.0)
_GPU_REQUESTS = 4  # benchmark_app on a GPU: two streams of two requests each

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Tool:
    """What a tool's latency is, and how it makes it.

    `ahead` requests are in flight on each of its workers; `settings` hold what it does on a GPU whatever the plan says;
    `spread`: its default is throughput, with as many requests in flight as the machine has room for. `note` is
    told beside its number.
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
    "perf_analyzer": Tool("sent", note="its server and network are in it, and not here"),
    # openvinotoolkit/openvino, tools/benchmark_tool: median (or mean) of each request's own latency (benchmark.py), no
    # decoding, inputs filled once (parameters.py, -inference_only); asynchronous with the hint THROUGHPUT unless told
    # otherwise (main.py, set_performance_hint), so with as many requests in flight as its log says (nireq).
    "benchmark_app": Tool("call", spread=True),
    # time.time() around a call that copies, computes and waits, back to back, over the number of calls.
    "loop": Tool("call"),
}


@dataclass(frozen=True)
class Said:
    """What another tool said: its number in ns, and how many requests it had in flight if that was told."""

    tool: str
    ns: int
    requests: int | None = None


def said(number: str | None, tool: str | None) -> Said | None:
    """What `--expect` and `--from` say: '5.1ms' and 'trtexec-10', or 'benchmark_app:4' with its requests in flight.

    None when both are None. Raises UsageError when one is, for a number that is no duration and an unknown tool.
    """
    if number is None and tool is None:
        return None
    if number is None or tool is None:
        missing, given = ("--expect", f"--from {tool}") if number is None else ("--from", f"--expect {number}")
        expected = "--expect 5.1ms --from " + "|".join(TOOLS)
        fix = f"add {missing}: numbers of different tools leave out different things"
        raise UsageError(f"{missing} is missing", got=given, expected=expected, fix=fix)
    name, colon, count = tool.partition(":")
    if name not in TOOLS:
        raise unknown("tool", name, TOOLS)
    if colon and not (count.isdigit() and int(count)):
        raise UsageError("not a number of requests in flight", got=tool, expected=f"{name} or {name}:4")
    ns = parse_duration(number)
    if ns <= 0:
        raise UsageError("--expect must be above 0", got=number, expected="e.g. 5.1ms")
    return Said(name, ns, int(count) if colon else None)


def check_model(case: Case) -> None:
    """Pass when the case has the one model that another tool's number is about. Raises UsageError."""
    if len(case.plan.models) > 1:
        names = ", ".join(model.name for model in case.plan.models)
        raise UsageError("another tool's number is about one model", got=names, fix="explain that model alone")


def compare(lab: Lab, known: Situation, what: Said) -> Expectation:
    """Run the tool's load with its settings and with the plan's, where they differ, and account for the difference.

    Raises Interrupted after Ctrl-C.
    """
    tool = TOOLS[what.tool]
    requests = what.requests or _requests(tool, known)
    settings = _differing(known.case, _settings(tool, known, requests))
    flights, own = requests * tool.ahead, known.case.plan.engine.workers
    runs, failed = dict(known.traces), list[str]()
    for name, changes in _wanted(tool, settings, flights != own).items():
        lab.say(f"measuring what {what.tool} measures: {settings_text(changes)}, {flights} in flight")
        try:
            runs[name] = _run(lab, known.case, changes, flights, name)
        except FramepaceError as error:
            failed.append(f"{settings_text(changes)} does not run here ({str(error).splitlines()[0]})")
    if tool.counts in ("device", "compute") and not known.on_gpu:
        failed.append("no CUDA events here: the whole call is taken")
    told = {
        "set-up": "; ".join(filter(None, (tool.note, *failed))),
        **_told(tool, settings, f"{flights} in flight there, {own} here"),
    }
    return expected(what.tool, tool.counts, what.ns, runs, told)


def _wanted(tool: Tool, settings: Settings, other_load: bool) -> dict[str, Settings]:
    """The runs that are needed (see analyze.expect), with their changes to the plan.

    Where the tool's settings are how it makes its load, both are one step.
    """
    if tool.spread:
        return {"ahead": settings} if settings or other_load else {}
    return ({"ahead": {}} if other_load else {}) | ({"tool": settings} if settings else {})


def _told(tool: Tool, settings: Settings, load: str) -> dict[str, str]:
    words = settings_text(settings)
    if tool.spread:
        return {"load": ", ".join(filter(None, (words, load)))}
    return {"settings": f"{words} there", "load": load}


def _requests(tool: Tool, known: Situation) -> int:
    if not tool.spread:
        return 1
    return _GPU_REQUESTS if known.on_gpu else known.cores


def _settings(tool: Tool, known: Situation, requests: int) -> Settings:
    """The settings that stand for what the tool does: its workers, and on a GPU those of its device."""
    always: dict[str, Any] = {"heartbeat-ms": None, "keeper": False}
    if tool.spread:
        threads = {} if known.on_gpu else {"threads": max(1, known.cores // requests)}
        return {**always, "workers": requests, **threads}
    if not known.on_gpu or not tool.settings:
        return always
    return {**always, "workers": requests, **tool.settings}


def _differing(case: Case, settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if apply(case, {name: value}) != case}


def _run(lab: Lab, case: Case, settings: Settings, flights: int, name: str) -> Trace:
    scoped = apply(case, {"scope": "model", **settings})
    scoped = replace(scoped, workload=replace(scoped.workload, load=Closed(concurrency=flights)))
    return lab.run(scoped, min(_SECONDS, max(0.5, lab.left / 20)), name=name, warmup=_WARMUP)
