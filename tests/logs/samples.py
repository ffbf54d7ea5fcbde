"""Made-up logs in the formats of tools that people use: 400 frames at 25 per second, of 12 ms, every 40th of 20 ms."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

FRAMES = 400
EVERY = 40
USUAL_MS = 12.0
LATE_MS = 20.0
STEP_MS = 40.0
BEGIN = datetime(2026, 3, 4, 5, 6, 7)
EPOCH_S = 1_772_600_767.0


class Frame(NamedTuple):
    """One frame of the made-up run: its number, when it began (ms from the first), and its stages in ms."""

    number: int
    at: float
    pre: float
    infer: float
    post: float

    @property
    def total(self) -> float:
        """The latency, ms."""
        return self.pre + self.infer + self.post

    @property
    def date(self) -> datetime:
        """When it began."""
        return BEGIN + timedelta(milliseconds=self.at)


def frames(usual: float = USUAL_MS) -> Iterator[Frame]:
    """The frames: what late ones take more is in 'post', and a little noise without chance is everywhere."""
    for number in range(FRAMES):
        noise = 0.05 * ((number * 7919) % 13 - 6) / 6
        late = LATE_MS - USUAL_MS if number % EVERY == 20 else 0.0
        yield Frame(number, number * STEP_MS, 2.0, usual - 3.0 + noise, 1.0 + late)


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def plain_csv(usual: float = USUAL_MS) -> str:
    """Names with units, moments since 1970 in seconds."""
    rows = (f"{EPOCH_S + f.at / 1e3:.4f},{f.total:.4f},{f.pre},{f.infer:.4f},{f.post}" for f in frames(usual))
    return _lines("timestamp,latency_ms,pre_ms,infer_ms,post_ms", *rows)


def european_csv() -> str:
    """Semicolons, commas for points, dates of Python's logging."""
    rows = (f"{f.date:%Y-%m-%d %H:%M:%S},{f.date.microsecond // 1000:03};{f.total:.3f};{f.post:.1f}" for f in frames())
    text = _lines("asctime;total time [ms];postprocess [ms]", *rows)
    return "\n".join(_comma_decimals(line) for line in text.splitlines()) + "\n"


def _comma_decimals(line: str) -> str:
    moment, semicolon, numbers = line.partition(";")
    return moment + semicolon + numbers.replace(".", ",")


def tabs() -> str:
    """Tabs, ISO dates with a zone, durations with their unit in the cell."""
    rows = (f"{f.date.isoformat(timespec='microseconds')}Z\t{f.total:.2f} ms\t{f.infer:.2f} ms" for f in frames())
    return _lines("datetime\te2e\tinference", *rows)


def ultralytics_csv() -> str:
    """`results.speed` of each frame, as people write it with pandas: an index without a name, no moments."""
    rows = (f"{f.number},{f.pre},{f.infer:.4f},{f.post}" for f in frames())
    return _lines(",preprocess,inference,postprocess", *rows)


def seconds_without_units() -> str:
    """time.perf_counter() and differences of it: seconds, and no name says so."""
    rows = (f"{f.number},{81234.5 + f.at / 1e3:.6f},{f.total / 1e3:.6f}" for f in frames())
    return _lines("frame,t,latency", *rows)


def epoch_ms_jsonl() -> str:
    """JSON lines with records within records, moments since 1970 in ms, and one line that was cut off."""
    rows = (
        json.dumps({"ts": int(EPOCH_S * 1e3 + f.at), "latency_ms": f.total, "stages": {"infer_ms": f.infer}})
        for f in frames()
    )
    return _lines(*rows, '{"ts": 17726')


def trtexec_times() -> str:
    """`trtexec --exportTimes`, version 8.6 and later."""
    rows = []
    for f in frames():
        begin = f.at
        compute = begin + 0.5
        end = compute + f.total - 1.0
        rows.append(
            {
                "startEnqMs": begin, "endEnqMs": begin + 0.3, "startH2dMs": begin, "endH2dMs": compute,
                "startComputeMs": compute, "endComputeMs": end, "startD2hMs": end, "endD2hMs": end + 0.5,
                "enqMs": 0.3, "h2dMs": 0.5, "computeMs": f.total - 1.0, "d2hMs": 0.5, "latencyMs": f.total,
            }
        )  # fmt: skip
    return json.dumps(rows)


def old_trtexec_times() -> str:
    """The same of version 7."""
    rows = [
        {
            "startInMs": f.at, "endInMs": f.at + 0.5,
            "startComputeMs": f.at + 0.5, "endComputeMs": f.at + f.total - 0.5,
            "startOutMs": f.at + f.total - 0.5, "endOutMs": f.at + f.total, "inMs": 0.5, "computeMs": f.total - 1.0,
            "outMs": 0.5, "latencyMs": f.total, "endToEndMs": f.total + 9.0,
        }
        for f in frames()
    ]  # fmt: skip
    return json.dumps(rows)


def perf_analyzer_requests() -> str:
    """`perf_analyzer --profile-export-file`: ns since 1970."""
    begin = int(EPOCH_S) * 10**9
    requests = [
        {"timestamp": begin + int(f.at * 1e6), "response_timestamps": [begin + int((f.at + f.total) * 1e6)]}
        for f in frames()
    ]
    experiment = {"experiment": {"mode": "request_rate", "value": 25}, "requests": requests, "window_boundaries": []}
    return json.dumps({"version": "2.0", "service_kind": "triton", "endpoint": "", "experiments": [experiment]})


def onnxruntime_profile() -> str:
    """ONNX Runtime's profile: a span of each run, and those of its nodes within."""
    events = [
        {"cat": "Session", "pid": 1, "tid": 1, "dur": 90000, "ts": 3, "ph": "X", "name": "session_initialization"}
    ]
    for f in frames():
        at = int(100_000 + f.at * 1e3)
        events.append(_span("Session", "model_run", at, f.total))
        events.append(_span("Node", "/conv/Conv_kernel_time", at + 10, f.total - 1))
    return json.dumps(events)


def _span(cat: str, name: str, at: int, ms: float) -> dict[str, object]:
    return {"cat": cat, "pid": 1, "tid": 1, "dur": int(ms * 1e3), "ts": at, "ph": "X", "name": name, "args": {}}


def torch_profile() -> str:
    """PyTorch's profile with a step per frame."""
    events = [_span("user_annotation", f"ProfilerStep#{f.number}", int(f.at * 1e3), f.total) for f in frames()]
    return json.dumps({"schemaVersion": 1, "traceEvents": events})


def key_values() -> str:
    """Lines of a service: a date, a level and name=value pairs."""
    rows = (
        f"{f.date:%Y-%m-%d %H:%M:%S},{f.date.microsecond // 1000:03} INFO worker=w{f.number % 2} frame={f.number} "
        f"latency={f.total:.2f}ms infer={f.infer:.2f}ms"
        for f in frames()
    )
    return _lines("service started", *rows)


def with_device() -> str:
    """Frames beside what nvidia-smi says, its units in the cells as it writes them."""
    rows = (
        f"{f.date:%Y/%m/%d %H:%M:%S}.{f.date.microsecond // 1000:03}, {f.total:.3f}, 1590 MHz, {40 + f.number // 100}, "
        f"{30.5} W, 31 %, [N/A]"
        for f in frames()
    )
    head = "timestamp, latency_ms, clocks.current.sm [MHz], temperature.gpu, power.draw [W], utilization.gpu [%], fan"
    return _lines(head, *rows)


def spaces() -> str:
    """Columns of a terminal, their names in a comment."""
    rows = (f"  {f.number:6d}  {f.at / 1e3:10.3f} {f.total:8.3f}" for f in frames())
    return _lines("# written by benchmark.sh", "#  iter   time_s   latency_ms", *rows)


FORMATS: dict[str, tuple[str, Callable[[], str]]] = {
    "plain": ("log.csv", plain_csv),
    "semicolons and decimal commas": ("log.csv", european_csv),
    "tabs and ISO dates": ("log.tsv", tabs),
    "ultralytics": ("speed.csv", ultralytics_csv),
    "seconds without units": ("log.csv", seconds_without_units),
    "JSON lines": ("log.jsonl", epoch_ms_jsonl),
    "trtexec": ("times.json", trtexec_times),
    "trtexec 7": ("times.json", old_trtexec_times),
    "perf_analyzer": ("requests.json", perf_analyzer_requests),
    "ONNX Runtime": ("profile.json", onnxruntime_profile),
    "PyTorch": ("trace.json", torch_profile),
    "name=value": ("service.log", key_values),
    "with nvidia-smi": ("log.csv", with_device),
    "spaces": ("log.txt", spaces),
}
"""File name and contents by format."""
